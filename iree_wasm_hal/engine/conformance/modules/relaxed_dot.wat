;; c[i] += dot product of four signed bytes of a and four 7-bit bytes of b.
(module
  (import "env" "memory" (memory 1 65536))
  (func (export "dot_add") (param $a i32) (param $b i32) (param $c i32)
    (v128.store (local.get $c)
      (i32x4.relaxed_dot_i8x16_i7x16_add_s
        (v128.load (local.get $a)) (v128.load (local.get $b)) (v128.load (local.get $c))))))
