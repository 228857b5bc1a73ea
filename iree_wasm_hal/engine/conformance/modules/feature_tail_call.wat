;; Export "run" gives 42 by means of tail-call.
(module
  (import "env" "memory" (memory 1 65536))
  ;; 1,000,000 calls deep: only without a frame for each
  (func $down (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 42))))
    (return_call $down (i32.sub (local.get 0) (i32.const 1))))
  (func (export "run") (result i32) (call $down (i32.const 1000000))))
