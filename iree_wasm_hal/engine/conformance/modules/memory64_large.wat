;; Loads, stores and fills with 64-bit addresses in a memory of up to 5 GiB.
(module
  (import "env" "memory" (memory i64 1 81920))
  (func (export "load32") (param i64) (result i32) (i32.load (local.get 0)))
  (func (export "store32") (param i64 i32) (i32.store (local.get 0) (local.get 1)))
  (func (export "fill") (param i64 i32 i64)
    (memory.fill (local.get 0) (local.get 1) (local.get 2)))
  (func (export "page_count") (result i64) memory.size))
