;; Does not fit a memory of one page.
(module
  (import "env" "memory" (memory 2 65536))
  (func (export "nothing")))
