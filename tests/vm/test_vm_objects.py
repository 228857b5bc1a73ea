"""Opcodes on globals, buffers, lists and refs against IREE's VM, failures included."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

_PROGRAM = Path(__file__).parent / "programs" / "objects.vmasm"
"""The functions without one variant per type; `SOURCE` puts the generated ones before them."""

RODATA = bytes(range(1, 25))
_TYPES = {"i32": "i32", "i64": "i64", "f32": "i32", "f64": "i64", "i8": "i32", "i16": "i32"}
_KINDS = ("i32", "i64", "f32", "f64")
_EDGES32 = (0, 1, -1, 127, 128, 255, 256, 32768, 65535, -32769, 2**31 - 1, -(2**31))
_EDGES64 = (*_EDGES32, 2**31, 2**32 - 1, 2**40 + 7, 2**63 - 1, -(2**63))


def _bits(value: float, format_: str) -> int:
    code = {"f": "i", "d": "q"}[format_]
    bits: int = struct.unpack(code, struct.pack(format_, value))[0]
    return bits


_VALUES = {
    "i32": _EDGES32,
    "i64": _EDGES64,
    "f32": tuple(_bits(v, "f") for v in (0.0, -0.0, 1.5, -3.25, 1e-40, float("inf"), 3.4e38)),
    "f64": tuple(_bits(v, "d") for v in (0.0, -0.0, 1.5, -3.25, 5e-324, float("inf"), 1e308)),
}


def _value(kind: str, position: int) -> str:
    return f"%i{position}:{position + 1}" if kind in ("i64", "f64") else f"%i{position}"


def _function(name: str, arguments: str, result: str, body: str) -> str:
    lines = "\n".join(f"  {line.strip()}" for line in body.strip().splitlines())
    return f"vm.export @{name}\nvm.func @{name}({arguments}) -> ({result}) {{\n^bb0:\n{lines}\n}}\n"


def _to_float(kind: str, register: str) -> str:
    source = {"f32": "i32", "f64": "i64"}.get(kind)
    return f"{register} = vm.bitcast.{source}.{kind} {register}" if source else ""


def _from_float(kind: str, register: str) -> str:
    target = {"f32": "i32", "f64": "i64"}.get(kind)
    return f"{register} = vm.bitcast.{kind}.{target} {register}" if target else ""


def _globals(kind: str) -> str:
    value = _value(kind, 0)
    plain = f"""
        {_to_float(kind, value)}
        vm.global.store.{kind} {value}, .rwdata[16]
        {value} = vm.const.{kind}.zero
        {value} = vm.global.load.{kind} .rwdata[16]
        {_from_float(kind, value)}
        vm.return %i0
    """
    indirect = f"""
        {_to_float(kind, value)}
        vm.global.store.indirect.{kind} %i2, {value}
        {value} = vm.global.load.indirect.{kind} %i2
        {_from_float(kind, value)}
        vm.return %i0
    """
    second = "%i1: i32, " if kind in ("i32", "f32") else ""
    # In a frame (value, padding, offset) the offset is register 2 for every width.
    return _function(f"global_{kind}", f"{value}: {_TYPES[kind]}", _TYPES[kind], plain) + _function(
        f"global_indirect_{kind}",
        f"{value}: {_TYPES[kind]}, {second}%i2: i32",
        _TYPES[kind],
        indirect,
    )


def _buffers(kind: str) -> str:
    """Store at an index of a cloned buffer, load it back and hash the whole."""
    value = _value(kind, 4)
    store = f"""
        %r0 = vm.const.ref.rodata 0
        %i8:9 = vm.buffer.length %r0
        %i10:11 = vm.const.i64.zero
        %i12 = vm.const.i32 16
        %r0 = vm.buffer.clone %r0, %i10:11, %i8:9, %i12
        {_to_float(kind, value)}
    """
    hashed = "%i0:1 = vm.buffer.hash %r0, %i10:11, %i8:9\nvm.return %i0"
    load = f"""
        %r0 = vm.const.ref.rodata 0
        %i2:3 = vm.const.{kind}.zero
        %i2:3 = vm.buffer.load.{kind} %r0, %i0:1
        {_from_float(kind, "%i2:3")}
        vm.return %i2
    """
    if kind in ("i32", "f32"):
        load = load.replace("%i2:3", "%i2")
    argument = f"%i0:1: i64, %i2:3: i64, {value}: {_TYPES[kind]}"
    return (
        _function(f"load_{kind}", "%i0:1: i64", _TYPES[kind], load)
        + _function(
            f"store_{kind}",
            argument,
            "i64",
            f"{store}\nvm.buffer.store.{kind} {value}, %r0, %i0:1\n{hashed}",
        )
        + _function(
            f"fill_{kind}",
            argument,
            "i64",
            f"{store}\nvm.buffer.fill.{kind} %r0, %i0:1, %i2:3, {value}\n{hashed}",
        )
    )


def _narrow_buffers(width: str) -> str:
    text = ""
    for sign in "su":
        body = f"""
            %r0 = vm.const.ref.rodata 0
            %i2 = vm.buffer.load.{width}.{sign} %r0, %i0:1
            vm.return %i2
        """
        text += _function(f"load_{width}_{sign}", "%i0:1: i64", "i32", body)
    return text + _buffers(width).replace(_buffers(width).partition("vm.export @store")[0], "")


def _lists(element: str, kind: str) -> str:
    """Write one item of a list as one type, read it as another."""
    text = ""
    for other in ("i32", "i64", "f32", "f64"):
        source, target = _value(kind, 0), _value(other, 4)
        body = f"""
            %i6 = vm.const.i32 3
            %r0 = vm.list.alloc %i6 : !vm.list<{element}>
            vm.list.resize %r0, %i6
            {_to_float(kind, source)}
            vm.list.set.{kind} %r0, %i2, {source}
            {target} = vm.list.get.{other} %r0, %i3
            {_from_float(other, target)}
            vm.return %i4
        """
        padding = "%i1: i32, " if kind in ("i32", "f32") else ""
        arguments = f"{source}: {_TYPES[kind]}, {padding}%i2: i32, %i3: i32"
        name = element.replace("!vm.opaque", "any")
        text += _function(f"list_{name}_{kind}_{other}", arguments, _TYPES[other], body)
    return text


SOURCE = (
    "vm.module @objects version 0\n"
    "vm.type i32\nvm.type !vm.buffer\nvm.type !vm.list<i8>\n"
    f"vm.rodata[0] = {RODATA.hex()}\n"
    "vm.rodata[1] = 000102030405060708090A0B\nvm.rodata[2] = 0102030405060708FF\n"
    + "".join(_globals(kind) + _buffers(kind) for kind in _KINDS)
    + "".join(_narrow_buffers(width) for width in ("i8", "i16"))
    + "".join(
        _lists(element, kind)
        for element in ("i8", "i16", "i32", "i64", "f32", "f64", "!vm.opaque")
        for kind in _KINDS
    )
    + _PROGRAM.read_text(encoding="utf-8")
)

_OFFSETS = (0, 1, 2, 3, 5, 11, 12, 23, 24, 25, 1 << 20, 1 << 40)
_LENGTHS = (0, 1, 2, 3, 8, 12, 13, 24, 25, 1 << 33)
_ALIGNMENTS = (0, 1, 2, 3, 16, 64, 100, 4096)


def _cases() -> dict[str, list[tuple[int, ...]]]:
    cases: dict[str, list[tuple[int, ...]]] = {
        "alloc": list(itertools.product((0, 1, 7, 64), _ALIGNMENTS)),
        "clone": list(itertools.product((0, 3, 24, 25), (0, 5, 24, 1 << 33), _ALIGNMENTS)),
        "hash": list(itertools.product(_OFFSETS, _LENGTHS)),
        "copy": list(itertools.product((0, 3, 24), (0, 9, 16, 17), _LENGTHS)),
        "compare": list(itertools.product((0, 1, 8, 12), (0, 1, 7, 8), _LENGTHS)),
        "store_readonly": [(0, 1), (100, 1)],
        "fill_readonly": [(0, 1), (100, 1)],
        "list_sizes": list(itertools.product((0, 1, 100), (0, 65), (0, 1, 200))),
        "list_shrink": list(itertools.product((0, 3, 5, 9), (0, 4, 5, 100))),
        "list_refs": list(itertools.product((0, 1, 2, -1), (0, 1, 2, -1))),
        "list_refs_moved": list(itertools.product((0, 1, 2), (0, 1, 2))),
        "null_buffer": [(0,)],
        "select_ref": [(0,), (1,), (-5,)],
        "global_indirect_ref": [(0,), (1,), (2,), (3,), (-1,), (1 << 30,)],
    }
    for name in ("assign_ref", "global_ref", "global_ref_of_other_type", "wide_constants"):
        cases[name] = [()]
    for name in (
        *("list_ref_of_other_type", "list_of_buffers_takes_list", "list_of_numbers_takes_ref"),
        *("number_from_list_of_refs", "ref_where_variant_holds_number", "null_list"),
        *("number_where_variant_is_empty", "list_as_buffer", "buffer_as_list"),
        *("select_ref_of_other_type", "cast_ref", "cast_ref_to_other_type"),
    ):
        cases[name] = [(0,), (1,), (2,)]
    for kind in _KINDS:
        # A byte offset past the globals, and one whose end is; the reference checks no alignment.
        offsets: tuple[int, ...] = (0, 4, 8, 5, 24, 1 << 20)
        if kind != "f64":
            # For f64 the reference checks 4 bytes and accesses 8, past the end of its storage.
            offsets += (20,)
        padding = [(0,)] if kind in ("i32", "f32") else [()]
        cases[f"global_{kind}"] = [(value,) for value in _VALUES[kind]]
        cases[f"global_indirect_{kind}"] = [
            (value, *pad, offset)
            for value in _VALUES[kind]
            for pad in padding
            for offset in offsets
        ]
        for element in ("i8", "i16", "i32", "i64", "f32", "f64", "any"):
            for other in _KINDS:
                cases[f"list_{element}_{kind}_{other}"] = [
                    (value, *pad, index, other_index)
                    for value in _VALUES[kind]
                    for pad in padding
                    for index, other_index in ((0, 0), (2, 2), (1, 2), (3, 0), (-1, 0), (0, 3))
                ]
    for name in ("load_i32", "load_i64", "load_f32", "load_f64"):
        cases[name] = [(offset,) for offset in _OFFSETS]
    for width in ("i8", "i16"):
        for sign in "su":
            cases[f"load_{width}_{sign}"] = [(offset,) for offset in _OFFSETS]
    for kind in (*_KINDS, "i8", "i16"):
        values = _VALUES.get(kind, _EDGES32)[::2]
        cases[f"store_{kind}"] = list(itertools.product(_OFFSETS, (0,), values))
        cases[f"fill_{kind}"] = list(itertools.product(_OFFSETS, _LENGTHS, values[:3]))
    return cases


CASES = _cases()


def test_every_function_has_cases(both: Callable[[str], tuple[Any, Any]]) -> None:
    _, ours = both(SOURCE)
    assert set(ours.context.functions) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_equals_reference(name: str, both: Callable[[str], tuple[Any, Any]]) -> None:
    reference, ours = both(SOURCE)
    for arguments in CASES[name]:
        expected = reference.call(name, *arguments)
        found = ours.call(name, *arguments)
        assert found == expected, f"{name}{arguments}: got {found}, IREE's VM gives {expected}"
