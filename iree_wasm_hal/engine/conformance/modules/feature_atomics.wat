;; Export "run" gives 42 by means of atomics.
(module
  (import "env" "memory" (memory 1 65536))
  (func (export "run") (result i32)
    (i32.atomic.store (i32.const 8) (i32.const 40))
    (drop (i32.atomic.rmw.add (i32.const 8) (i32.const 2)))
    (i32.atomic.load (i32.const 8))))
