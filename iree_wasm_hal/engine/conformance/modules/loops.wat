;; Calls that take long. Each first stores 1 at address, so that the host sees it run.
(module
  (import "env" "memory" (memory 1 65536))
  (func (export "spin_forever") (param $address i32)
    (i32.store (local.get $address) (i32.const 1))
    (loop $again (br $again)))
  (func (export "spin") (param $address i32) (param $iteration_count i64) (result i64)
    (local $x i64)
    (i32.store (local.get $address) (i32.const 1))
    (local.set $x (i64.const 88172645463325252))
    (block $done
      (loop $again
        (br_if $done (i64.eqz (local.get $iteration_count)))
        (local.set $x
          (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
        (local.set $x
          (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
        (local.set $x
          (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
        (local.set $iteration_count (i64.sub (local.get $iteration_count) (i64.const 1)))
        (br $again)))
    (local.get $x)))
