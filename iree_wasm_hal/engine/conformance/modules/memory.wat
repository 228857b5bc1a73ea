;; Loads, stores and one global of the instance's own.
(module
  (import "env" "memory" (memory 1 65536))
  (global $count (mut i32) (i32.const 0))
  (func (export "load32") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "store32") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
  (func (export "page_count") (result i32) memory.size)
  (func (export "count") (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (global.get $count))
  ;; fills byte_length bytes from address with a sequence that depends on seed alone
  (func (export "generate") (param $address i32) (param $byte_length i32) (param $seed i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $address) (local.get $byte_length)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $address) (local.get $end)))
        (local.set $seed
          (i32.add (i32.mul (local.get $seed) (i32.const 1664525)) (i32.const 1013904223)))
        (i32.store8 (local.get $address) (i32.shr_u (local.get $seed) (i32.const 24)))
        (local.set $address (i32.add (local.get $address) (i32.const 1)))
        (br $next)))))
