;; Export "run" gives 42 by means of multivalue.
(module
  (import "env" "memory" (memory 1 65536))
  (func $pair (result i32 i32) (i32.const 50) (i32.const 8))
  (func (export "run") (result i32) (i32.sub (call $pair))))
