;; Export "run" gives 42 by means of bulk-memory.
(module
  (import "env" "memory" (memory 1 65536))
  (func (export "run") (result i32)
    (memory.fill (i32.const 0) (i32.const 42) (i32.const 8))
    (memory.copy (i32.const 64) (i32.const 4) (i32.const 4))
    (i32.load8_u (i32.const 67))))
