;; Integer parameters and results of every shape that the core uses.
(module
  (import "env" "memory" (memory 1 65536))
  (func (export "nothing"))
  (func (export "constant") (result i32) i32.const 42)
  (func (export "i32_identity") (param i32) (result i32) local.get 0)
  (func (export "i64_identity") (param i64) (result i64) local.get 0)
  (func (export "i32_add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
  (func (export "i64_add") (param i64 i64) (result i64)
    (i64.add (local.get 0) (local.get 1)))
  ;; a - b + c - d, with the widths alternating
  (func (export "mixed") (param i32 i64 i32 i64) (result i64)
    (i64.sub
      (i64.add
        (i64.sub (i64.extend_i32_s (local.get 0)) (local.get 1))
        (i64.extend_i32_s (local.get 2)))
      (local.get 3)))
  ;; the digits of eight parameters, first one leading
  (func (export "digits") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    local.get 0 i32.const 10 i32.mul
    local.get 1 i32.add i32.const 10 i32.mul
    local.get 2 i32.add i32.const 10 i32.mul
    local.get 3 i32.add i32.const 10 i32.mul
    local.get 4 i32.add i32.const 10 i32.mul
    local.get 5 i32.add i32.const 10 i32.mul
    local.get 6 i32.add i32.const 10 i32.mul
    local.get 7 i32.add))
