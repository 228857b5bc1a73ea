"""What each instruction does, as Python statements over its operands.

``a0``, ``a1``, ... stand for the operands in encoding order: locals of registers, literals,
``T``-names of types. A template is parsed once; generated code is built from its syntax tree, so
nothing but these constants and integers ever becomes code. Instructions whose shape depends on
their operands (calls, branches, lists of registers) are in ``vm.codegen``.
"""

from __future__ import annotations

__all__ = ["MOVING_TEMPLATES", "TEMPLATES"]

_BITS = (("i32", 32), ("i64", 64))
_FLOATS = ("f32", "f64")
_LIBRARY_FUNCTIONS = (
    *("atan", "cos", "sin", "tanh", "erf", "sqrt"),
    *("exp", "exp2", "expm1", "log", "log10", "log1p", "log2"),
)


def _wrapped(target: str, expression: str, bits: int) -> str:
    """Assigns, and wraps only where the result left the range: wrapping is the rare case."""
    half = 1 << (bits - 1)
    return (
        f"{target} = {expression}\n"
        f"if not {-half} <= {target} <= {half - 1}:\n"
        f"    {target} = ({target} + {half} & {2 * half - 1}) - {half}"
    )


def _integers(table: dict[str, str]) -> None:
    for name, bits in _BITS:
        mask = (1 << bits) - 1
        half = 1 << (bits - 1)
        wrap = f"_wrap{bits}"
        u0, u1 = f"(a0 & {mask})", f"(a1 & {mask})"
        for mnemonic, operator in (("add", "+"), ("sub", "-"), ("mul", "*")):
            table[f"{mnemonic}.{name}"] = _wrapped("a2", f"a0 {operator} a1", bits)
        table[f"fma.{name}"] = _wrapped("a3", "a0 * a1 + a2", bits)
        table[f"div.{name}.s"] = _wrapped("a2", "_div_s(a0, a1)", bits)
        table[f"rem.{name}.s"] = "a2 = _rem_s(a0, a1)"
        table[f"div.{name}.u"] = f"a2 = {wrap}(_div_u({u0}, {u1}))"
        table[f"rem.{name}.u"] = f"a2 = {wrap}(_rem_u({u0}, {u1}))"
        table[f"abs.{name}"] = f"a1 = -a0 if {-half} < a0 < 0 else a0"
        table[f"not.{name}"] = "a1 = ~a0"
        for mnemonic, operator in (("and", "&"), ("or", "|"), ("xor", "^")):
            table[f"{mnemonic}.{name}"] = f"a2 = a0 {operator} a1"
        table[f"ctlz.{name}"] = f"a1 = {bits} - (a0 & {mask}).bit_length()"
        table[f"shl.{name}"] = f"a2 = {wrap}(a0 << (a1 & {bits - 1}))"
        table[f"shr.{name}.s"] = f"a2 = a0 >> (a1 & {bits - 1})"
        table[f"shr.{name}.u"] = f"a2 = {wrap}({u0} >> (a1 & {bits - 1}))"
        table[f"min.{name}.s"] = "a2 = a1 if a1 < a0 else a0"
        table[f"max.{name}.s"] = "a2 = a1 if a0 < a1 else a0"
        table[f"min.{name}.u"] = f"a2 = a1 if {u1} < {u0} else a0"
        table[f"max.{name}.u"] = f"a2 = a1 if {u0} < {u1} else a0"
        table[f"cmp.eq.{name}"] = "a2 = 1 if a0 == a1 else 0"
        table[f"cmp.ne.{name}"] = "a2 = 1 if a0 != a1 else 0"
        table[f"cmp.lt.{name}.s"] = "a2 = 1 if a0 < a1 else 0"
        table[f"cmp.lt.{name}.u"] = f"a2 = 1 if {u0} < {u1} else 0"
        table[f"cmp.nz.{name}"] = "a1 = 1 if a0 else 0"
    table["trunc.i32.i8"] = table["ext.i8.i32.u"] = "a1 = a0 & 255"
    table["trunc.i32.i16"] = table["ext.i16.i32.u"] = "a1 = a0 & 65535"
    table["ext.i8.i32.s"] = "a1 = (a0 + 128 & 255) - 128"
    table["ext.i16.i32.s"] = "a1 = (a0 + 32768 & 65535) - 32768"
    table["trunc.i64.i32"] = _wrapped("a1", "a0", 32)
    table["ext.i32.i64.s"] = "a1 = a0"
    table["ext.i32.i64.u"] = "a1 = a0 & 4294967295"


def _floats(table: dict[str, str]) -> None:
    for name in _FLOATS:
        # f64 holds every f32 sum, product and quotient closely enough that rounding it once
        # more gives the f32 operation's own result.
        result = "_f32({})" if name == "f32" else "{}"
        for mnemonic, operator in (("add", "+"), ("sub", "-"), ("mul", "*")):
            table[f"{mnemonic}.{name}"] = "a2 = " + result.format(f"a0 {operator} a1")
        table[f"div.{name}"] = "a2 = " + result.format("_fdiv(a0, a1)")
        table[f"rem.{name}"] = "a2 = _frem(a0, a1)"
        # The reference multiplies and adds with two roundings.
        product = result.format("a0 * a1")
        table[f"fma.{name}"] = "a3 = " + result.format(f"{product} + a2")
        table[f"abs.{name}"] = "a1 = _fabs(a0)"
        table[f"neg.{name}"] = "a1 = -a0"
        for mnemonic in ("ceil", "floor", "round"):
            table[f"{mnemonic}.{name}"] = f"a1 = _{mnemonic}(a0)"
        table[f"round.{name}.even"] = "a1 = _round_even(a0)"
        for mnemonic in _LIBRARY_FUNCTIONS:
            table[f"{mnemonic}.{name}"] = "a1 = " + result.format(f"_{mnemonic}(a0)")
        table[f"atan2.{name}"] = "a2 = " + result.format("_atan2(a0, a1)")
        table[f"pow.{name}"] = "a2 = " + result.format("_pow(a0, a1)")
        table[f"min.{name}"] = "a2 = a1 if a1 < a0 else a0"
        table[f"max.{name}"] = "a2 = a1 if a0 < a1 else a0"
        nan = "a0 != a0 or a1 != a1"
        table[f"cmp.eq.{name}.o"] = "a2 = 1 if a0 == a1 else 0"
        table[f"cmp.eq.{name}.u"] = f"a2 = 1 if a0 == a1 or {nan} else 0"
        table[f"cmp.ne.{name}.o"] = table[f"cmp.ne.{name}.u"] = "a2 = 1 if a0 != a1 else 0"
        table[f"cmp.lt.{name}.o"] = "a2 = 1 if a0 < a1 else 0"
        table[f"cmp.lt.{name}.u"] = "a2 = 0 if a0 >= a1 else 1"
        table[f"cmp.lte.{name}.o"] = "a2 = 1 if a0 <= a1 else 0"
        table[f"cmp.lte.{name}.u"] = "a2 = 0 if a0 > a1 else 1"
        table[f"cmp.nan.{name}"] = "a1 = 1 if a0 != a0 else 0"
    table["rsqrt.f32"] = "a1 = _rsqrt_f32(a0)"
    table["rsqrt.f64"] = "a1 = _rsqrt(a0)"


def _casts(table: dict[str, str]) -> None:
    table["cast.si32.f32"] = table["cast.si64.f32"] = "a1 = _int_to_f32(a0)"
    table["cast.ui32.f32"] = "a1 = _int_to_f32(a0 & 4294967295)"
    table["cast.ui64.f32"] = "a1 = _int_to_f32(a0 & 18446744073709551615)"
    table["cast.f32.si32"] = table["cast.f32.ui32"] = "a1 = _wrap32(_lround(a0))"
    table["cast.f32.si64"] = "a1 = _lround(a0)"
    table["cast.f32.ui64"] = "a1 = _to_u64(a0)"
    table["cast.si32.f64"] = table["cast.si64.f64"] = "a1 = float(a0)"
    table["cast.ui32.f64"] = "a1 = float(a0 & 4294967295)"
    table["cast.ui64.f64"] = "a1 = float(a0 & 18446744073709551615)"
    # The reference rounds to f32 on the way from f64 to 32 bits (it calls lroundf).
    table["cast.f64.si32"] = table["cast.f64.ui32"] = "a1 = _wrap32(_lround(_f32(a0)))"
    table["cast.f64.si64"] = table["cast.f64.ui64"] = "a1 = _lround(a0)"
    table["trunc.f64.f32"] = "a1 = _f32(a0)"
    table["ext.f32.f64"] = "a1 = a0"
    table["bitcast.i32.f32"] = "a1 = _bits_to_f32(a0)"
    table["bitcast.f32.i32"] = "a1 = _f32_to_bits(a0)"
    table["bitcast.i64.f64"] = "a1 = _bits_to_f64(a0)"
    table["bitcast.f64.i64"] = "a1 = _f64_to_bits(a0)"


def _values(table: dict[str, str]) -> None:
    """What is the same for all four value types."""
    for name in ("i32", "i64", "f32", "f64"):
        zero = "0.0" if name in _FLOATS else "0"
        table[f"const.{name}"] = "a1 = a0"
        table[f"const.{name}.zero"] = f"a0 = {zero}"
        table[f"select.{name}"] = "a3 = a1 if a0 else a2"
        # G-names are views of the globals' bytes; a0 is the index of the element.
        table[f"global.load.{name}"] = f"a1 = G_{name}[a0]"
        table[f"global.store.{name}"] = f"G_{name}[a0] = a1"
        table[f"global.load.indirect.{name}"] = f"a1 = _gload_{name}(G, a0)"
        table[f"global.store.indirect.{name}"] = f"_gstore_{name}(G, a0, a1)"
        table[f"list.get.{name}"] = f"a2 = _list(a0).get_value(a1, {name!r})"
        table[f"list.set.{name}"] = f"_list(a0).set_value(a1, {name!r}, a2)"
        table[f"buffer.load.{name}"] = f"a2 = _load_{name}(a0, a1)"
        table[f"buffer.store.{name}"] = f"_store_{name}(a0, a1, a2)"
        table[f"buffer.fill.{name}"] = f"_fill_{name}(a0, a1, a2, a3)"
    for name in ("i8", "i16"):
        table[f"buffer.load.{name}.u"] = f"a2 = _load_{name}_u(a0, a1)"
        table[f"buffer.load.{name}.s"] = f"a2 = _load_{name}_s(a0, a1)"
        table[f"buffer.store.{name}"] = f"_store_{name}_u(a0, a1, a2)"
        table[f"buffer.fill.{name}"] = f"_fill_{name}_u(a0, a1, a2, a3)"


def _refs(table: dict[str, str]) -> None:
    # Types of refs are K-names (classes); list.alloc takes the T-name, which may be a value type.
    table["global.load.ref"] = "a2 = _check_ref(G_ref[a0], a1)"
    table["global.store.ref"] = "G_ref[a0] = _check_ref(a2, a1)"
    table["global.load.indirect.ref"] = "a2 = _check_ref(G_ref[_global_ref(G_ref, a0)], a1)"
    table["global.store.indirect.ref"] = "G_ref[_global_ref(G_ref, a0)] = _check_ref(a2, a1)"
    table["const.ref.zero"] = "a0 = None"
    table["const.ref.rodata"] = "a1 = a0"
    table["assign.ref"] = "a1 = a0"
    table["cast.any.ref"] = "a2 = _check_ref(a0, a1)"
    table["select.ref"] = "a4 = _check_ref(a2 if a0 else a3, a1)"
    table["cmp.eq.ref"] = "a2 = 1 if a0 is a1 else 0"
    table["cmp.ne.ref"] = "a2 = 1 if a0 is not a1 else 0"
    table["cmp.nz.ref"] = "a1 = 1 if a0 is not None else 0"
    table["list.alloc"] = "a2 = _new_list(a0, a1)"
    table["list.reserve"] = "_list(a0).reserve(a1)"
    table["list.size"] = "a1 = len(_list(a0))"
    table["list.resize"] = "_list(a0).resize(a1)"
    table["list.get.ref"] = "a3 = _list(a0).get_ref(a1, a2)"
    table["list.set.ref"] = "_list(a0).set_ref(a1, a2)"
    table["buffer.alloc"] = "a2 = _new_buffer(a0, a1)"
    table["buffer.clone"] = "a4 = _clone(a0, a1, a2, a3)"
    table["buffer.length"] = "a1 = _length(a0)"
    table["buffer.copy"] = "_copy(a0, a1, a2, a3, a4)"
    table["buffer.compare"] = "a5 = _compare(a0, a1, a2, a3, a4)"
    table["buffer.hash"] = "a3 = _hash(a0, a1, a2)"


def _build() -> dict[str, str]:
    table: dict[str, str] = {}
    for part in (_integers, _floats, _casts, _values, _refs):
        part(table)
    return table


TEMPLATES = _build()
"""Statements by mnemonic."""

MOVING_TEMPLATES = {
    "global.load.ref": "a2 = _check_ref(G_ref[a0], a1)\nG_ref[a0] = None",
    "global.load.indirect.ref": (
        "a2 = _check_ref(G_ref[_global_ref(G_ref, a0)], a1)\nG_ref[_global_ref(G_ref, a0)] = None"
    ),
    "list.get.ref": "a3 = _list(a0).get_ref(a1, a2, move=True)",
}
"""Statements where the result register has the move bit: the ref leaves where it was."""
