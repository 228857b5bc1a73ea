"""The verifier: every operand field at and past its bounds, type flow, descriptors, signatures."""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING, Any

import pytest

from iree_wasm_hal.errors import BytecodeError
from iree_wasm_hal.vm.archive import Archive, read_archive
from iree_wasm_hal.vm.calling_convention import Span, parse_calling_convention
from iree_wasm_hal.vm.instructions import (
    MAX_FUNCTION_INSTRUCTIONS,
    Bounds,
    decode_function,
)
from iree_wasm_hal.vm.isa import INSTRUCTION_SETS, PREFIXES, Opcode
from iree_wasm_hal.vm.module_def import Export, FunctionDescriptor, ModuleDef, ModuleState
from iree_wasm_hal.vm.typeflow import Effort, check_types
from iree_wasm_hal.vm.verifier import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Assemble = Callable[[str], bytes]

I32_COUNT, REF_COUNT = 8, 4
BOUNDS = Bounds(
    type_count=3,
    rodata_count=5,
    import_count=2,
    function_count=4,
    global_byte_length=24,
    global_ref_count=2,
)
_REF, _MOVE, _IMPORT = 0x8000, 0x4000, 0x80000000
_U16, _U32 = "<H", "<I"
_WIDTHS = {"i": 4, "f": 4, "I": 8, "F": 8}

# Per register encoding: values that pass and values that do not.
_NARROW = ((0, 7), (8, 0x7FFF, _REF, 0xFFFF))
_WIDE = ((0, 6), (1, 5, 7, 8, 0x7FFE, _REF | 2))
_REFS = (_REF, _REF | 3)
_BAD_REFS = (0, 3, _REF | 4, _REF | 0x3FFF)
_REGISTERS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "i": _NARROW,
    "f": _NARROW,
    "I": _WIDE,
    "F": _WIDE,
    "r": (_REFS, (*_BAD_REFS, _REF | _MOVE)),
    "R": ((*_REFS, _REF | _MOVE | 3), (*_BAD_REFS, _REF | _MOVE | 4, _MOVE)),
}
_ORDINALS = {
    "gr": BOUNDS.global_ref_count,
    "rodata": BOUNDS.rodata_count,
    "type": BOUNDS.type_count,
}

Field = tuple[str, tuple[int, ...], tuple[int, ...]]
"""Format, values that pass, values that do not; a list's alignment is format ``align``."""


def _fields(encoding: str, opcode: Opcode) -> list[Field]:  # noqa: PLR0911 # one per encoding
    if encoding.removeprefix(">") in _REGISTERS:
        return [(_U16, *_REGISTERS[encoding.removeprefix(">")])]
    if encoding[0] == "#":
        return [({"i": _U32, "f": _U32, "I": "<Q", "F": "<Q"}[encoding[1]], (0,), ())]
    if encoding == "g":
        width = _WIDTHS[opcode.operands[1][-1]]
        return [(_U32, (0, 24 - width), (1, 24 - width + 1, 24, 0x7FFFFFFF, 0xFFFFFFFC))]
    if encoding in _ORDINALS:
        count = _ORDINALS[encoding]
        return [(_U32, (0, count - 1), (count, 0x7FFFFFFF, 0xFFFFFFFF))]
    if encoding == "func":
        good = (0, 3, _IMPORT, _IMPORT | 1)
        return [(_U32, good, (4, 0x7FFFFFFF, _IMPORT | 2, 0xFFFFFFFF))]
    if encoding == "str":
        return [(_U16, (0,), (0xFFFF,))]
    if encoding == "pc":
        return [(_U32, (0,), (1, 2, 0x7FFFFFFF, 0xFFFFFFFF))]
    if encoding == "moves":
        source = (_U16, (0, 7), (8, 0x7FFF, _REF | 4))
        return [("align", (), ()), (_U16, (1,), (0xFFFF,)), source, (_U16, (0, 7), (8, _REF))]
    if encoding == "cases":
        return [(_U16, (0,), (0xFFFF,))]
    if encoding == "sizes":
        return [("align", (), ()), (_U16, (1,), (0xFFFF,)), (_U16, (0, 0xFFFF), ())]
    kind = encoding.removeprefix(">")[1:]
    registers = _REGISTERS[kind] if kind else (((0, 7, *_REFS)), (8, 0x7FFF, _REF | 4))
    return [("align", (), ()), (_U16, (1,), (0xFFFF,)), (_U16, *registers)]


def _opcode_bytes(opcode: Opcode) -> bytes:
    prefix = [code for code, name in PREFIXES.items() if name == opcode.instruction_set]
    return bytes([*prefix, opcode.code])


def _function_bytes(opcode: Opcode, values: list[int]) -> bytes:
    data = b"\x79" + _opcode_bytes(opcode)
    position = 0
    for encoding in opcode.operands:
        for format_, _, _ in _fields(encoding, opcode):
            if format_ == "align":
                data += b"\0" * (len(data) & 1)
            else:
                data += struct.pack(format_, values[position])
                position += 1
    if not opcode.is_terminator:
        data += b"\x5a" + b"\0" * (len(data) + 1 & 1) + b"\0\0"  # return nothing
    return data


def _decode(data: bytes, **options: Any) -> Any:
    options = {"i32_count": I32_COUNT, "ref_count": REF_COUNT, "requirements": 3, **options}
    return decode_function(memoryview(data), BOUNDS, **options)


OPCODES = [
    opcode
    for table in INSTRUCTION_SETS.values()
    for opcode in table.values()
    if opcode.mnemonic != "block" and not opcode.mnemonic.startswith("prefix")
]


def _variants(opcode: Opcode) -> Iterator[tuple[list[int], bool]]:
    fields = [
        field
        for encoding in opcode.operands
        for field in _fields(encoding, opcode)
        if field[0] != "align"
    ]
    base = [good[0] for _, good, _ in fields]
    yield base, True
    for position, (_, good, bad) in enumerate(fields):
        for value, accepted in [*((v, True) for v in good), *((v, False) for v in bad)]:
            yield [*base[:position], value, *base[position + 1 :]], accepted


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda opcode: opcode.mnemonic)
def test_every_field_at_its_bounds(opcode: Opcode) -> None:
    for values, accepted in _variants(opcode):
        data = _function_bytes(opcode, values)
        if accepted:
            block = _decode(data)[0]
            assert block.instructions[0].opcode is opcode
        else:
            with pytest.raises(BytecodeError, match=rf"at byte 1 \({opcode.mnemonic}\): "):
                _decode(data)


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda opcode: opcode.mnemonic)
def test_every_instruction_cut_short(opcode: Opcode) -> None:
    data = _function_bytes(opcode, next(_variants(opcode))[0])
    for length in range(1, len(data)):
        with pytest.raises(BytecodeError):
            _decode(data[:length])


def test_number_of_directed_cases() -> None:
    assert sum(1 for opcode in OPCODES for _ in _variants(opcode)) > 3200


def test_unassigned_opcodes_are_refused() -> None:
    for name, table in INSTRUCTION_SETS.items():
        prefix = [code for code, target in PREFIXES.items() if target == name]
        for code in set(range(256)) - set(table):
            with pytest.raises(BytecodeError, match=f"opcode {code:#04x} does not exist in {name}"):
                _decode(bytes([0x79, *prefix, code]) + bytes(64))


def test_extensions_need_their_feature() -> None:
    add = bytes([0x79, 224, 10]) + bytes(6) + b"\x5a\0\0"
    _decode(add, requirements=1)
    with pytest.raises(BytecodeError, match="uses ext_f32, which the function's requirements"):
        _decode(add, requirements=2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has no blocks"),
        (b"\x5a\0\0\0", "is not in a block"),
        (b"\x79", "last block has no terminator"),
        (b"\x79\x0c\0\0", "last block has no terminator"),
        (b"\x79\x79\x5a\0\0\0", "the block before it has no terminator"),
        (b"\x79\x5a\0\0\x5a\0\0\0", "is not in a block"),
    ],
)
def test_block_structure(data: bytes, message: str) -> None:
    with pytest.raises(BytecodeError, match=message):
        _decode(data)


def test_functions_are_bounded() -> None:
    zero = b"\x0c\0\0"
    limit = MAX_FUNCTION_INSTRUCTIONS
    tail = b"\x5a" + b"\0" * ((1 + 3 * (limit - 1) + 1) & 1) + b"\0\0"
    assert len(_decode(b"\x79" + zero * (limit - 1) + tail)[0].instructions) == limit
    with pytest.raises(BytecodeError, match="more than 65536 instructions"):
        _decode(b"\x79" + zero * limit + tail)


# Type flow, on hand-made bytecode.


def _asm(text: str) -> bytes:
    """``block``, then mnemonics with numbers; lists are ``[...]``, moves ``{a>b ...}``."""
    by_name = {opcode.mnemonic: opcode for opcode in OPCODES}
    data = b""
    for line in filter(None, map(str.strip, text.splitlines())):
        name, *words = line.split()
        if name == "block":
            data += b"\x79"
            continue
        opcode = by_name[name]
        data += _opcode_bytes(opcode)
        for encoding, word in zip(opcode.operands, words, strict=True):
            data += _operand(encoding, word, len(data))
    return data


def _operand(encoding: str, word: str, position: int) -> bytes:
    if word[0] in "[{":
        numbers = [_register(part) for part in word[1:-1].replace(">", ",").split(",") if part]
        count = len(numbers) // (2 if word[0] == "{" else 1)
        return b"\0" * (position & 1) + struct.pack(f"<{len(numbers) + 1}H", count, *numbers)
    if encoding[0] == "#":
        return struct.pack("<i" if encoding in ("#i", "#f") else "<q", int(word))
    if encoding in ("pc", "func", "g", "gr", "type", "rodata"):
        return struct.pack(_U32, int(word, 0))
    return struct.pack(_U16, _register(word))


def _register(word: str) -> int:
    if word[0] in "rR":
        return _REF | (_MOVE if word[0] == "R" else 0) | int(word[1:])
    return int(word)


def _flow(text: str, convention: str = "0v_v", callees: tuple[str, ...] = ("0v_v",)) -> Any:
    blocks = _decode(_asm(text))
    return check_types(
        blocks,
        parse_calling_convention(convention),
        lambda ordinal: parse_calling_convention(callees[ordinal & ~_IMPORT]),
        i32_count=I32_COUNT,
        ref_count=REF_COUNT,
        effort=Effort(len(text)),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # A slot read as another type than was written.
        ("block\nconst.i32 1 0\nadd.f32 0 0 1\nreturn []", "i0 is read as f32; it holds i32"),
        ("block\nconst.i64 1 0\nadd.i32 0 0 1\nreturn []", "i0 is read as i32; it holds i64"),
        ("block\nconst.i64 1 0\nadd.f64 0 0 2\nreturn []", "read as f64; it holds i64"),
        ("block\nconst.i64 1 0\nnot.i32 1 2\nreturn []", r"i1 is read as i32; .*upper half"),
        # Half of a pair overwritten.
        ("block\nconst.i64 1 0\nconst.i32 1 1\nnot.i64 0 2\nreturn []", "read as i64"),
        ("block\nconst.i64 1 0\nconst.i32 1 0\nnot.i64 0 2\nreturn []", "it holds i32"),
        ("block\nconst.i64 1 0\nconst.i32 1 0\nnot.i32 1 2\nreturn []", "different types"),
        # Different types on two paths.
        (
            "block\nconst.i32 1 0\ncond_br 0 28 {} 40 {}\n"
            "block\nconst.i32 1 1\nbr 52 {}\nblock\nconst.f32 1 1\nbr 52 {}\n"
            "block\nnot.i32 1 2\nreturn []",
            "i1 is read as i32; it holds",
        ),
        # Registers that start as zero are of one type.
        ("block\nnot.i32 0 1\nabs.f32 0 1\nreturn []", "as an integer and as a float before"),
        # Moves of halves.
        ("block\nconst.i64 1 0\nbr 16 {0>4}\nblock\nreturn []", "half of the 64-bit register i0"),
        ("block\nconst.i64 1 0\nbr 22 {0>4,1>6}\nblock\nreturn []", "half of the 64-bit"),
        ("block\nconst.i64 1 0\nbr 22 {0>5,1>6}\nblock\nreturn []", "i5 cannot hold a 64-bit"),
        ("block\nconst.i64 1 0\nbr 22 {1>5}\nblock\nreturn []", "upper half"),
    ],
)
def test_type_flow_refuses(text: str, message: str) -> None:
    data = _asm(text)
    # Branches name the last block; its place follows from the text.
    starts = [i for i in range(len(data)) if _is_block_start(data, i)]
    text = _retarget(text, starts)
    with pytest.raises(BytecodeError, match=message):
        _flow(text)


def _is_block_start(data: bytes, position: int) -> bool:
    return data[position] == 0x79


def _retarget(text: str, starts: list[int]) -> str:
    """Numbers the blocks that branches go to: the Nth branch operand is the Nth later block."""
    lines = text.splitlines()
    blocks = [index for index, line in enumerate(lines) if line.strip() == "block"]
    offsets = {}
    for number, index in enumerate(blocks):
        offsets[number] = len(_asm("\n".join(lines[:index])))
    if len(blocks) == 2:
        lines = [
            f"br {offsets[1]} {line.split()[2]}" if line.startswith("br ") else line
            for line in lines
        ]
    if len(blocks) == 4:
        lines = [
            line.replace("28", str(offsets[1])).replace("40", str(offsets[2]))
            if line.startswith("cond_br")
            else line.replace("52", str(offsets[3]))
            for line in lines
        ]
    return "\n".join(lines)


def test_wide_moves_are_one_move() -> None:
    text = _retarget("block\nconst.i64 1 0\nbr 0 {0>4,1>5}\nblock\nnot.i64 4 6\nreturn []", [])
    flow = _flow(text)
    assert list(flow.moves.values()) == [((0, 4),)]
    assert flow.initial == ()


def test_registers_start_as_zero() -> None:
    flow = _flow("block\nnot.i64 2 4\nabs.f32 0 1\ncmp.nz.ref r1 6\nreturn []")
    assert flow.initial == ((0, 0.0), (2, 0), (_REF | 1, None))


def test_work_is_bounded() -> None:
    effort = Effort(0)
    for _ in range(20_000_000 // (10 + 150 + 3 * 1_000)):
        effort.visit(30_000, 1_000)
    with pytest.raises(BytecodeError, match="too large to verify"):
        effort.visit(30_000, 1_000)


def test_blocks_times_registers_are_bounded() -> None:
    branch = b"\x79\x56" + struct.pack("<IH", 0, 0)
    blocks = _decode(branch * 10_000, i32_count=0x7FFF)
    with pytest.raises(BytecodeError, match="10000 blocks of 32767 registers"):
        check_types(
            blocks,
            parse_calling_convention("0v_v"),
            lambda _: parse_calling_convention("0v_v"),
            i32_count=0x7FFF,
            ref_count=0,
            effort=Effort(0),
        )


@pytest.mark.parametrize(
    ("callee", "call", "message"),
    [
        ("0ii_v", "call 0x80000000 [0] []", "1 operands for 2 of 0ii_v"),
        ("0i_v", "call 0x80000000 [0,1] []", "2 operands for 1 of 0i_v"),
        ("0i_i", "call 0x80000000 [0] []", "0 results for 1 of 0i_i"),
        ("0r_v", "call 0x80000000 [0] []", "register i0 where a ref is expected"),
        ("0i_v", "call 0x80000000 [r0] []", "ref register 0x8000 where a 'i'"),
        ("0I_v", "call 0x80000000 [1] []", "i1 cannot hold a 64-bit"),
        ("0v_r", "call 0x80000000 [] [0]", "register i0 for a ref result"),
        ("0v_i", "call 0x80000000 [] [r0]", "ref register 0x8000 for a 'i' result"),
        ("0v_I", "call 0x80000000 [] [7]", "i7 cannot hold a 64-bit"),
        ("0CiD_v", "call 0x80000000 [0] []", "is variadic, the call has no segment sizes"),
        ("0CiD_v", "call.variadic 0x80000000 [] [0] []", "0 segment sizes for 1 arguments"),
        ("0CiD_v", "call.variadic 0x80000000 [2] [0] []", "longer than the operands"),
        ("0CiD_v", "call.variadic 0x80000000 [0] [0] []", "1 operands for 0 of"),
        ("0CirD_v", "call.variadic 0x80000000 [1] [0,1] []", "where a ref is expected"),
    ],
)
def test_calls_against_their_conventions(callee: str, call: str, message: str) -> None:
    with pytest.raises(BytecodeError, match=message):
        _flow(f"block\n{call}\nreturn []", callees=(callee,))


@pytest.mark.parametrize(
    ("convention", "text", "message"),
    [
        ("0v_i", "block\nreturn []", "returns 0 values for 1"),
        ("0v_v", "block\nreturn [0]", "returns 1 values for 0"),
        ("0r_i", "block\nreturn [r0]", "where a 'i' is expected"),
        ("0f_i", "block\nreturn [0]", "read as i32; it holds f32"),
        ("0CiD_v", "block\nreturn []", "only imports can take variadic"),
    ],
)
def test_returns_against_the_convention(convention: str, text: str, message: str) -> None:
    with pytest.raises(BytecodeError, match=message):
        _flow(text, convention)


# Whole modules: descriptors, tables, exports.

SMALL = """
vm.module @small version 0
vm.type !vm.buffer
vm.import @host.f cconv "0i_v"
vm.export @f
vm.func @f(%i0: i32) -> (i32) {
^bb0:
  %i1 = vm.add.i32 %i0, %i0
  vm.call @host.f(%i1)
  vm.return %i1
}
"""


def _altered(archive: Archive, **changes: Any) -> Archive:
    return dataclasses.replace(archive, module=dataclasses.replace(archive.module, **changes))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("bytecode_offset", -1, "bytes -1 to"),
        ("bytecode_length", 0, "of bytecode"),
        ("bytecode_length", 1 << 30, "of bytecode"),
        ("requirements", 16, "requires features 0x10"),
        ("reserved", 1, "reserved field is 1; expected 0"),
        ("block_count", 2, "1 blocks; its descriptor says 2"),
        ("block_count", 0, "1 blocks; its descriptor says 0"),
        ("i32_register_count", 1, r"register 1 of 1"),
        ("i32_register_count", -1, "-1 value registers"),
        ("ref_register_count", 0x4000, "16384 ref registers"),
    ],
)
def test_function_descriptors(field: str, value: int, message: str, assemble: Assemble) -> None:
    archive = read_archive(assemble(SMALL))
    descriptor: FunctionDescriptor = archive.module.function_descriptors[0]
    changed = dataclasses.replace(descriptor, **{field: value})
    with pytest.raises(BytecodeError, match=message):
        verify(_altered(archive, function_descriptors=(changed,)))


def _tables(module: ModuleDef) -> dict[str, tuple[dict[str, Any], str]]:
    descriptor = module.function_descriptors[0]
    export = module.exported_functions[0]
    signature = module.function_signatures[0]
    return {
        "name": ({"name": ""}, "the module has no name"),
        "features": ({"requirements": 1 << 9}, "the module requires features 0x200"),
        "signatures": ({"function_signatures": ()}, "0 signatures for 1 functions"),
        "export range": (
            {"exported_functions": (Export("f", 1),)},
            "export 'f' is function 1 of 1",
        ),
        "export sign": ({"exported_functions": (Export("f", -1),)}, "is function -1"),
        "export twice": ({"exported_functions": (export, export)}, "exported twice"),
        "export name": ({"exported_functions": (Export("", 0),)}, "export 0 has a name of 0"),
        "state": ({"module_state": ModuleState(-1, 0)}, "module state of -1 bytes"),
        "convention": (
            {"function_signatures": (dataclasses.replace(signature, calling_convention="1i_v"),)},
            "has version '1'",
        ),
        "aliases": (
            {
                "function_descriptors": (descriptor,) * 5000,
                "function_signatures": (signature,) * 5000,
            },
            r"functions of \d+ bytes share \d+ bytes",
        ),
        "length": (
            {"bytecode_data": memoryview(bytes((1 << 24) + 1))},
            r"16777217 bytes of bytecode; at most 16777216",
        ),
    }


@pytest.mark.parametrize(
    "name",
    [
        *("name", "features", "signatures", "export range", "export sign", "export twice"),
        *("export name", "state", "convention", "aliases", "length"),
    ],
)
def test_module_tables(name: str, assemble: Assemble) -> None:
    archive = read_archive(assemble(SMALL), file_name="small.vmfb")
    changes, message = _tables(archive.module)[name]
    with pytest.raises(BytecodeError, match=rf"small\.vmfb: .*{message}"):
        verify(_altered(archive, **changes))


def test_errors_name_file_function_and_byte(assemble: Assemble) -> None:
    archive = read_archive(assemble(SMALL), file_name="small.vmfb")
    changed = dataclasses.replace(archive.module.imported_functions[0], signature=None)
    with pytest.raises(BytecodeError, match=r"small\.vmfb: function 0 \(f\): at byte \d+ \(call\)"):
        verify(_altered(archive, imported_functions=(changed,)))


def test_calling_conventions() -> None:
    parsed = parse_calling_convention("0rrIiiiICiDCiirIID_v")
    assert parsed.arguments == (*"rrIiiiI", Span("i"), Span("iirII"))
    assert (parsed.results, parsed.is_variadic) == ("", True)
    assert parse_calling_convention("0v_iI").results == "iI"
    for text, message in (
        ("1i_v", "version"),
        ("0x_v", "unexpected 'x'"),
        ("0CCiD_v", "unexpected 'C'"),
        ("0CD_v", "unexpected 'D'"),
        ("0Ci_v", "span not closed"),
        ("0i_v_v", "more than one"),
        ("0i_CiD", "unexpected result 'C'"),
        ("0" + "i" * 5000, "5001 characters"),
    ):
        with pytest.raises(BytecodeError, match=message):
            parse_calling_convention(text)
