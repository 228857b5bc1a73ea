;; c[i] = a[i] * b[i] + c[i] on four f32, rounded once or twice.
(module
  (import "env" "memory" (memory 1 65536))
  (func (export "multiply_add") (param $a i32) (param $b i32) (param $c i32)
    (v128.store (local.get $c)
      (f32x4.relaxed_madd
        (v128.load (local.get $a)) (v128.load (local.get $b)) (v128.load (local.get $c))))))
