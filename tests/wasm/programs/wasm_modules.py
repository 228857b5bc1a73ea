"""Kernel modules written by hand: WebAssembly text plus a dylink.0 section."""

from __future__ import annotations

import wasmtime

IMPORTS = """
  (import "env" "memory" (memory 1))
  (import "env" "__indirect_function_table" (table 2 funcref))
  (import "env" "__memory_base" (global $memory_base i32))
  (import "env" "__table_base" (global $table_base i32))
"""
QUERY = """
  (func $query (export "iree_hal_executable_library_query") (param i32 i32) (result i32)
    global.get $memory_base)
"""

# Fields of the dispatch state and the workgroup state at their byte offsets in
# iree/hal/local/executable_library.h.
KERNELS = """
  (func $linear (param $state i32) (param $group i32) (result i32)
    ;; (z * count_y + y) * count_x + x
    (i32.add
      (i32.mul
        (i32.add
          (i32.mul
            (i32.load16_u offset=8 (local.get $group))
            (i32.load offset=16 (local.get $state)))
          (i32.load offset=4 (local.get $group)))
        (i32.load offset=12 (local.get $state)))
      (i32.load (local.get $group))))

  ;; Binding 0, element [workgroup] += constant 0; returns constant 1 in workgroup constant 2,
  ;; traps where constant 1 is -1.
  (func $mark (param $environment i32) (param $state i32) (param $group i32) (result i32)
    (local $at i32) (local $index i32) (local $constants i32)
    (local.set $index (call $linear (local.get $state) (local.get $group)))
    (local.set $constants (i32.load offset=24 (local.get $state)))
    (local.set $at
      (i32.add
        (i32.load (i32.load offset=28 (local.get $state)))
        (i32.shl (local.get $index) (i32.const 2))))
    (i32.store (local.get $at)
      (i32.add (i32.load (local.get $at)) (i32.load (local.get $constants))))
    (if (i32.eq (local.get $index) (i32.load offset=8 (local.get $constants)))
      (then
        (if (i32.eq (i32.load offset=4 (local.get $constants)) (i32.const -1))
          (then unreachable))
        (return (i32.load offset=4 (local.get $constants)))))
    (i32.const 0))

  ;; Binding 0: copies of the two states, the environment's address, binding 1's length, and
  ;; marks the workgroup-local memory.
  (func $show (param $environment i32) (param $state i32) (param $group i32) (result i32)
    (local $out i32)
    (local.set $out (i32.load (i32.load offset=28 (local.get $state))))
    (memory.copy (local.get $out) (local.get $state) (i32.const 36))
    (memory.copy (i32.add (local.get $out) (i32.const 64)) (local.get $group) (i32.const 24))
    (i32.store offset=128 (local.get $out) (local.get $environment))
    (i32.store offset=132 (local.get $out)
      (i32.load offset=4 (i32.load offset=32 (local.get $state))))
    (i32.store offset=136 (local.get $out) (i32.load (i32.load offset=24 (local.get $state))))
    (i32.store (i32.load offset=16 (local.get $group)) (i32.const 0x600df00d))
    (i32.const 0))
  (elem (global.get $table_base) func $mark $show)
"""
# Offsets relative to the memory base: header, exports {count, pointers, names}, strings.
LIBRARY = """
  (func (export "__wasm_apply_data_relocs")
    (i32.store offset=12 (global.get $memory_base) (i32.const 2))
    (i32.store offset=16 (global.get $memory_base)
      (i32.add (global.get $memory_base) (i32.const 128)))
    (i32.store offset=32 (global.get $memory_base)
      (i32.add (global.get $memory_base) (i32.const 136)))
    (i32.store offset=128 (global.get $memory_base) (global.get $table_base))
    (i32.store offset=132 (global.get $memory_base)
      (i32.add (global.get $table_base) (i32.const 1)))
    (i32.store offset=136 (global.get $memory_base)
      (i32.add (global.get $memory_base) (i32.const 160)))
    (i32.store offset=140 (global.get $memory_base)
      (i32.add (global.get $memory_base) (i32.const 168))))
  (data (offset global.get $memory_base i32.const 160 i32.add) "mark\\00\\00\\00\\00show\\00")
"""


def dylink(
    memory_byte_length: int = 256, table_size: int = 2, *, extra: bytes = b"", alignment: int = 4
) -> bytes:
    """A dylink.0 section: memory info and further subsections."""
    info = uleb(memory_byte_length) + uleb(alignment) + uleb(table_size) + b"\0"
    contents = b"\x08dylink.0" + b"\x01" + uleb(len(info)) + info + extra
    return b"\0" + uleb(len(contents)) + contents


def uleb(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def assemble(body: str, section: bytes | None = None) -> bytes:
    """A module from text, with a dylink.0 section in front (the default one if None)."""
    wasm = bytes(wasmtime.wat2wasm(f"(module {body})"))
    return wasm[:8] + (dylink() if section is None else section) + wasm[8:]


def kernel_module() -> bytes:
    """The module with the kernels ``mark`` and ``show``."""
    return assemble(IMPORTS + QUERY + KERNELS + LIBRARY)
