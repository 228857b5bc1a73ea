;; Export "run" gives 42 by means of sign-ext.
(module
  (import "env" "memory" (memory 1 65536))
  (func (export "run") (result i32)
    (i32.sub (i32.const 0) (i32.extend8_s (i32.const 0xd6)))))
