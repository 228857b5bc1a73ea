"""Micro-benchmarks of SIMD instructions, each against the same engine's plain equivalent.

`cases` says what a case is, `groups` collects them (`floats`, `integers`, `products`, `lanes`,
`loads`), `program` makes wasm modules of them, `measure` times them on an engine, `tiles` does
both for the inner loop of a matrix product, and `document` writes the tables.
"""
