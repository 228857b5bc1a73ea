;; Export "run" gives 42 by means of relaxed-dot.
(module
  (import "env" "memory" (memory 1 65536))
  (func (export "run") (result i32)
    (i32x4.extract_lane 1
      (i32x4.relaxed_dot_i8x16_i7x16_add_s
        (i8x16.splat (i32.const 2)) (i8x16.splat (i32.const 5)) (i32x4.splat (i32.const 2))))))
