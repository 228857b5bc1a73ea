;; Every assertion here is false: a runner that passes one of them checks nothing.

(module
  (memory 1)
  (data (i32.const 8) "\07")
  (func $one (export "one") (result i32) (i32.const 1))
  (func (export "nan") (result f32) (f32.const nan:0x200000))
  (func (export "zero") (result f64) (f64.const -0))
  (func (export "load") (result i32) (i32.load (i32.const 8)))
  (func (export "trap") (result i32) (unreachable))
)
(assert_return (invoke "one") (i32.const 2))
(assert_return (invoke "nan") (f32.const nan:canonical))
(assert_return (invoke "nan") (f32.const nan:arithmetic))
(assert_return (invoke "nan") (f32.const 1))
(assert_return (invoke "zero") (f64.const 0))
(assert_return (invoke "load") (i32.const 0))
(assert_return (invoke "trap") (i32.const 1))
(assert_trap (invoke "one") "unreachable")
(assert_trap (invoke "trap") "integer overflow")
(invoke "trap")

(module
  (func (export "two") (result i32 i64) (i32.const 1) (i64.const 2))
)
(assert_return (invoke "two") (i32.const 1) (i64.const 3))
(assert_return (invoke "two") (i32.const 2) (i64.const 2))

(module
  (func (export "null") (result funcref) (ref.null func))
)
(assert_return (invoke "null") (ref.func))

(module
  (func (export "vector") (result v128) (v128.const i32x4 1 2 3 4))
  (func (export "floats") (result v128) (v128.const f32x4 0 1 2 nan))
)
(assert_return (invoke "vector") (v128.const i32x4 1 2 3 5))
(assert_return (invoke "vector") (v128.const i8x16 1 0 0 0 2 0 0 0 3 0 0 0 4 0 0 1))
(assert_return (invoke "vector") (v128.const i16x8 2 0 2 0 3 0 4 0))
(assert_return (invoke "vector") (v128.const i64x2 0x200000001 0x400000004))
(assert_return (invoke "floats") (v128.const f32x4 0 1 2 3))
(assert_return (invoke "floats") (v128.const f32x4 nan:canonical 1 2 nan:canonical))
(assert_return (invoke "vector") (either (v128.const i32x4 0 2 3 4) (v128.const i32x4 1 2 3 0)))
