"""The verifier: types of registers along every path, and calls against their conventions."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from vm_bytecode import (
    I32_COUNT,
    IMPORT,
    MOVE,
    OPCODES,
    REF,
    REF_COUNT,
    U16,
    U32,
    decode,
    opcode_bytes,
)

from iree_wasm_hal.errors import BytecodeError
from iree_wasm_hal.vm.calling_convention import Span, parse_calling_convention
from iree_wasm_hal.vm.typeflow import Effort, check_types


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
        data += opcode_bytes(opcode)
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
        return struct.pack(U32, int(word, 0))
    return struct.pack(U16, _register(word))


def _register(word: str) -> int:
    if word[0] in "rR":
        return REF | (MOVE if word[0] == "R" else 0) | int(word[1:])
    return int(word)


def _flow(text: str, convention: str = "0v_v", callees: tuple[str, ...] = ("0v_v",)) -> Any:
    blocks = decode(_asm(text))
    return check_types(
        blocks,
        parse_calling_convention(convention),
        lambda ordinal: parse_calling_convention(callees[ordinal & ~IMPORT]),
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
    assert flow.initial == ((0, 0.0), (2, 0), (REF | 1, None))


def test_work_is_bounded() -> None:
    effort = Effort(0)
    for _ in range(20_000_000 // (10 + 150 + 3 * 1_000)):
        effort.visit(30_000, 1_000)
    with pytest.raises(BytecodeError, match="too large to verify"):
        effort.visit(30_000, 1_000)


def test_blocks_times_registers_are_bounded() -> None:
    branch = b"\x79\x56" + struct.pack("<IH", 0, 0)
    blocks = decode(branch * 10_000, i32_count=0x7FFF)
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
