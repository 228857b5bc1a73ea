"""Brings V8's optimising compiler for wasm into memory when the engine is opened.

It is 5 MB of the library's code, read when the first function has run for long enough. Without
this a process that loads and unloads small modules would grow by it at some later time, and the
first kernel would wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iree_wasm_hal_v8.isolate import Isolate

TEXT = """
(module
  (memory 1)
  (func (export "run") (param $count i32) (local $sum f32) (local $i i32)
    (loop $again
      (local.set $sum
        (f32.add (local.get $sum)
          (f32.mul (f32.load (i32.and (local.get $i) (i32.const 60)))
                   (f32.convert_i32_s (local.get $i)))))
      (f32.store offset=64 (i32.and (local.get $i) (i32.const 60)) (local.get $sum))
      (br_if $again
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $count))))))
"""
"""The module in the text format: a loop of what kernels do, without vectors, for any processor."""

WASM = bytes.fromhex(
    "0061736d0100000001050160017f000302010005030100010707010372756e00000a32013002017d017f034020"
    "012002413c712a02002002b2949221012002413c712001380240200241016a22022000490d000b0b0025046e61"
    "6d6502120100030005636f756e74010373756d020169030a0100010005616761696e"
)
"""The module in the binary format."""

ROUND_COUNT = 400_000
"""A millisecond. V8 optimises what has run 13 MB of code (``--wasm-tiering-budget``), and a round
is about 100 bytes."""


def warm_up(isolate: Isolate) -> None:
    """Runs the module until V8 optimises it, in the background."""
    with isolate.turn:
        isolate.stage(WASM)
        isolate.request("warmUp", ROUND_COUNT)
