;; Export "run" gives 42 by means of relaxed-madd.
(module
  (import "env" "memory" (memory 1 65536))
  (func (export "run") (result i32)
    (i32.trunc_f32_s
      (f32x4.extract_lane 2
        (f32x4.relaxed_madd
          (f32x4.splat (f32.const 5)) (f32x4.splat (f32.const 8)) (f32x4.splat (f32.const 2)))))))
