;; c = a swizzled by b.
(module
  (import "env" "memory" (memory 1 65536))
  (func (export "swizzle") (param $a i32) (param $b i32) (param $c i32)
    (v128.store (local.get $c)
      (i8x16.relaxed_swizzle (v128.load (local.get $a)) (v128.load (local.get $b))))))
