;; Export "run" gives 42 by means of relaxed-simd.
(module
  (import "env" "memory" (memory 1 65536))
  (func (export "run") (result i32)
    (i8x16.extract_lane_s 5
      (i8x16.relaxed_swizzle
        (i8x16.splat (i32.const 42))
        (v128.const i8x16 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)))))
