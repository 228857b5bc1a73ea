;; Imports something that no program may import.
(module
  (import "env" "memory" (memory 1 65536))
  (import "env" "host" (func $host))
  (func (export "nothing") (call $host)))
