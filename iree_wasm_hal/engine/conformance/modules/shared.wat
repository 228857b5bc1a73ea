;; Atomic operations on a shared memory.
(module
  (import "env" "memory" (memory 1 16 shared))
  (func (export "load32") (param i32) (result i32) (i32.atomic.load (local.get 0)))
  (func (export "store32") (param i32 i32) (i32.atomic.store (local.get 0) (local.get 1)))
  (func (export "load64") (param i32) (result i64) (i64.atomic.load (local.get 0)))
  (func (export "page_count") (result i32) memory.size)
  (func (export "increment") (param $address i32) (param $times i32)
    (block $done
      (loop $again
        (br_if $done (i32.eqz (local.get $times)))
        (drop (i64.atomic.rmw.add (local.get $address) (i64.const 1)))
        (local.set $times (i32.sub (local.get $times) (i32.const 1)))
        (br $again))))
  (func (export "compare_exchange") (param i32 i32 i32) (result i32)
    (i32.atomic.rmw.cmpxchg (local.get 0) (local.get 1) (local.get 2)))
  ;; address, expected value, time-out in nanoseconds; 0 woken, 1 not equal, 2 timed out
  (func (export "wait32") (param i32 i32 i64) (result i32)
    (memory.atomic.wait32 (local.get 0) (local.get 1) (local.get 2)))
  (func (export "notify") (param i32 i32) (result i32)
    (memory.atomic.notify (local.get 0) (local.get 1)))
  (func (export "spin_forever") (param $address i32)
    (i32.atomic.store (local.get $address) (i32.const 1))
    (loop $again (br $again))))
