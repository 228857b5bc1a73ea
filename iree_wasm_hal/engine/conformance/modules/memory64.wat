;; Loads and stores with 64-bit addresses. The maximum is below 16 GiB: V8 compiles none above.
(module
  (import "env" "memory" (memory i64 1 65536))
  (func (export "load32") (param i64) (result i32) (i32.load (local.get 0)))
  (func (export "store32") (param i64 i32) (i32.store (local.get 0) (local.get 1)))
  (func (export "page_count") (result i64) memory.size))
