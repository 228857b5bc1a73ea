;; Export "run" gives 42 by means of exception-handling.
(module
  (import "env" "memory" (memory 1 65536))
  (tag $thrown (param i32))
  (func (export "run") (result i32)
    (block $caught (result i32)
      (try_table (catch $thrown $caught) (throw $thrown (i32.const 42)))
      (i32.const 0))))
