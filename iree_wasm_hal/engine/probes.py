"""Tiny modules that are valid only where an engine has a feature.

Each probe stands as text and as bytes; a test assembles the text and compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.engine.contract import Feature

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PROBES", "Probe", "probe_features"]


@dataclass(frozen=True, slots=True)
class Probe:
    """A module that needs one feature (and what that feature builds on)."""

    feature: Feature
    text: str
    """The module in the WebAssembly text format."""
    wasm: bytes
    """The module in the binary format."""


def probe_features(validates: Callable[[bytes], bool]) -> frozenset[Feature]:
    """Finds the features of an engine's wasm dialect.

    Args:
        validates: Whether the engine accepts a module; must not raise.

    Returns:
        The features whose probe it accepts. The abilities of the engine itself (shared memories,
        threads, serialization, interruption) are no matter of its dialect: add those yourself.
    """
    return frozenset(probe.feature for probe in PROBES if validates(probe.wasm))


def _probe(feature: Feature, text: str, hexadecimal: str) -> Probe:
    return Probe(feature, text, bytes.fromhex(hexadecimal))


PROBES: tuple[Probe, ...] = (
    _probe(
        Feature.BULK_MEMORY,
        # memory.init and data.drop are left out: no program that reaches an engine has segments.
        """(module (memory 1)
  (func i32.const 0 i32.const 0 i32.const 0 memory.fill
        i32.const 0 i32.const 0 i32.const 0 memory.copy))""",
        "0061736d010000000104016000000302010005030100010a17011500410041004100fc0b00410041"
        "004100fc0a00000b",
    ),
    _probe(
        Feature.SIGN_EXTENSION,
        "(module (func (result i32) (i32.extend8_s (i32.const 0))))",
        "0061736d010000000105016000017f030201000a070105004100c00b",
    ),
    _probe(
        Feature.NONTRAPPING_FPTOINT,
        "(module (func (result i32) (i32.trunc_sat_f32_s (f32.const 0))))",
        "0061736d010000000105016000017f030201000a0b0109004300000000fc000b",
    ),
    _probe(
        Feature.MULTI_VALUE,
        "(module (func (result i32 i32) (i32.const 0) (i32.const 0)))",
        "0061736d010000000106016000027f7f030201000a08010600410041000b",
    ),
    _probe(
        Feature.REFERENCE_TYPES,
        "(module (func (param externref)))",
        "0061736d0100000001050160016f00030201000a040102000b",
    ),
    _probe(
        Feature.SIMD128,
        "(module (func (result v128) (i32x4.splat (i32.const 0))))",
        "0061736d010000000105016000017b030201000a080106004100fd110b",
    ),
    _probe(
        Feature.RELAXED_SIMD,
        """(module
  (func (param v128) (result v128)
    local.get 0
    i32x4.relaxed_trunc_f32x4_s
    i32x4.relaxed_trunc_f32x4_u
    i32x4.relaxed_trunc_f64x2_s_zero
    i32x4.relaxed_trunc_f64x2_u_zero
    local.get 0 i8x16.relaxed_swizzle
    local.get 0 f32x4.relaxed_min
    local.get 0 f32x4.relaxed_max
    local.get 0 f64x2.relaxed_min
    local.get 0 f64x2.relaxed_max
    local.get 0 i16x8.relaxed_q15mulr_s
    local.get 0 local.get 0 i8x16.relaxed_laneselect
    local.get 0 local.get 0 i16x8.relaxed_laneselect
    local.get 0 local.get 0 i32x4.relaxed_laneselect
    local.get 0 local.get 0 i64x2.relaxed_laneselect))""",
        "0061736d0100000001060160017b017b030201000a4c014a002000fd8102fd8202fd8302fd840220"
        "00fd80022000fd8d022000fd8e022000fd8f022000fd90022000fd910220002000fd890220002000"
        "fd8a0220002000fd8b0220002000fd8c020b",
    ),
    _probe(
        Feature.RELAXED_MADD,
        """(module
  (func (param v128) (result v128)
    local.get 0
    local.get 0 local.get 0 f32x4.relaxed_madd
    local.get 0 local.get 0 f32x4.relaxed_nmadd
    local.get 0 local.get 0 f64x2.relaxed_madd
    local.get 0 local.get 0 f64x2.relaxed_nmadd))""",
        "0061736d0100000001060160017b017b030201000a22012000200020002000fd850220002000fd86"
        "0220002000fd870220002000fd88020b",
    ),
    _probe(
        Feature.RELAXED_DOT,
        """(module
  (func (param v128) (result v128)
    local.get 0
    local.get 0 i16x8.relaxed_dot_i8x16_i7x16_s
    local.get 0 local.get 0 i32x4.relaxed_dot_i8x16_i7x16_add_s))""",
        "0061736d0100000001060160017b017b030201000a1201100020002000fd920220002000fd93020b",
    ),
    _probe(
        Feature.ATOMICS,
        "(module (memory 1 1 shared) (func (result i32) (i32.atomic.rmw.add (i32.const 0) "
        "(i32.const 1))))",
        "0061736d010000000105016000017f030201000504010301010a0c010a0041004101fe1e02000b",
    ),
    _probe(
        Feature.MEMORY64,
        "(module (memory i64 1) (func (result i32) (i32.load (i64.const 0))))",
        "0061736d010000000105016000017f0302010005030104010a0901070042002802000b",
    ),
    _probe(
        Feature.MULTI_MEMORY,
        "(module (memory 1) (memory 1))",
        "0061736d0100000005050200010001",
    ),
    _probe(
        Feature.TAIL_CALL,
        "(module (func (return_call 0)))",
        "0061736d01000000010401600000030201000a0601040012000b",
    ),
    _probe(
        Feature.EXCEPTIONS,
        "(module (tag) (func (throw 0)))",
        "0061736d01000000010401600000030201000d030100000a0601040008000b",
    ),
    _probe(
        Feature.EXTENDED_CONST,
        "(module (global i32 (i32.add (i32.const 1) (i32.const 2))))",
        "0061736d010000000609017f00410141026a0b",
    ),
)
"""One probe for each feature of the wasm dialect."""
