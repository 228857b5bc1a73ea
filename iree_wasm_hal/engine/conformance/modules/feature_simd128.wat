;; Export "run" gives 42 by means of simd128.
(module
  (import "env" "memory" (memory 1 65536))
  (func (export "run") (result i32)
    (i32x4.extract_lane 3 (i32x4.add (i32x4.splat (i32.const 40)) (i32x4.splat (i32.const 2))))))
