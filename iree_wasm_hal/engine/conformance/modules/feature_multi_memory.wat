;; Export "run" gives 42 by means of multi-memory.
(module
  (import "env" "memory" (memory 1 65536))
  (memory $own 1 1)
  (func (export "run") (result i32)
    (i32.store8 $own (i32.const 0) (i32.const 42))
    (i32.store8 (i32.const 0) (i32.const 1))
    (i32.load8_u $own (i32.const 0))))
