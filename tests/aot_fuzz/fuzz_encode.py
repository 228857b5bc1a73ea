"""Writes kernels as one wasm module: function ``k0`` is the first kernel, and so on.

Spec: https://webassembly.github.io/spec/core/binary/modules.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuzz_kernel import PARAMETERS, If, Instruction, Kernel, Loop
from fuzz_ops import OPS, VALUE_TYPE

from iree_wasm_hal.wasm.binary import encode_name, encode_sleb128, encode_uleb128, encode_vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz_kernel import Operand, Statement

__all__ = ["NEAR_ZERO", "PAGE_COUNT", "encode_module"]

PAGE_COUNT = 2
NEAR_ZERO = 128
"""``near zero`` gives numbers from minus this up to this."""
_ADD, _MUL, _AND, _SHL, _EQZ, _GE_U, _LT_U, _SUB = (
    b"\x6a",
    b"\x6c",
    b"\x71",
    b"\x74",
    b"\x45",
    b"\x4f",
    b"\x49",
    b"\x6b",
)
_EXTEND8_S = b"\xc0"
_END = b"\x0b"
_F32_EQ, _F64_EQ = b"\xfd\x41", b"\xfd\x47"
_BITSELECT = b"\xfd\x52"
_F32_NAN, _F64_NAN = b"\0\0\xc0\x7f", b"\0\0\0\0\0\0\xf8\x7f"


def encode_module(kernels: Sequence[Kernel], *, shared: bool = False) -> bytes:
    """A module that imports ``env.memory`` of ``PAGE_COUNT`` pages, shared or not."""
    parameters = encode_vector([bytes([VALUE_TYPE[name[0]]]) for name in PARAMETERS])
    types = [b"\x60" + parameters + b"\x01" + bytes([kind]) for kind in (0x7F, 0x7E)]
    limits = bytes([3 if shared else 1, PAGE_COUNT, PAGE_COUNT])
    memory = encode_name("env") + encode_name("memory") + b"\x02" + limits
    functions = [bytes([kernel.result[0] == "l"]) for kernel in kernels]
    exports = [
        encode_name(f"k{index}") + b"\0" + encode_uleb128(index) for index in range(len(kernels))
    ]
    sections = (
        (1, types),
        (2, [memory]),
        (3, functions),
        (7, exports),
        (10, [_Body(kernel).encode() for kernel in kernels]),
    )
    module = b"\0asm\x01\0\0\0"
    for number, items in sections:
        contents = encode_vector(items)
        module += bytes([number]) + encode_uleb128(len(contents)) + contents
    return module


class _Body:
    """One function body."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._code = bytearray()
        self._number: dict[str, int] = {name: at for at, name in enumerate(PARAMETERS)}
        self._groups: list[bytes] = []
        self._declare()

    def encode(self) -> bytes:
        self._statements(self._kernel.body)
        self._get(self._kernel.result)
        body = encode_vector(self._groups) + bytes(self._code) + _END
        return encode_uleb128(len(body)) + body

    def _declare(self) -> None:
        """Locals in groups of one type."""
        names = dict.fromkeys(_registers(self._kernel.body))
        names[self._kernel.result] = None
        by_type: dict[int, list[str]] = {}
        for name in names:
            if name not in self._number:
                by_type.setdefault(VALUE_TYPE[name[0]], []).append(name)
        for kind, members in by_type.items():
            self._groups.append(encode_uleb128(len(members)) + bytes([kind]))
            for name in members:
                self._number[name] = len(self._number)

    def _get(self, operand: Operand, kind: str = "i") -> None:
        if isinstance(operand, int):
            bits = 64 if kind == "l" else 32
            value = (operand + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
            self._code += (b"\x42" if kind == "l" else b"\x41") + encode_sleb128(value)
        else:
            self._code += b"\x20" + encode_uleb128(self._number[operand])

    def _set(self, name: str) -> None:
        self._code += b"\x21" + encode_uleb128(self._number[name])

    def _statements(self, body: list[Statement]) -> None:
        for statement in body:
            if isinstance(statement, Loop):
                self._loop(statement)
            elif isinstance(statement, If):
                self._get(statement.condition)
                self._code += b"\x04\x40"
                self._statements(statement.then)
                self._code += b"\x05"
                self._statements(statement.otherwise)
                self._code += _END
            else:
                self._instruction(statement)

    def _loop(self, loop: Loop) -> None:
        """A block that an empty loop leaves, and in it the loop."""
        down = loop.form == "down"
        self._get(loop.count if down else 0)
        self._set(loop.counter)
        self._code += b"\x02\x40"
        if not isinstance(loop.count, int) and loop.form != "while":
            self._get(loop.count)
            self._code += _EQZ + b"\x0d\0"
        self._code += b"\x03\x40"
        if loop.form == "while":
            self._get(loop.counter)
            self._get(loop.count)
            self._code += _GE_U + b"\x0d\x01"
        self._statements(loop.body)
        self._get(loop.counter)
        self._get(1)
        self._code += _SUB if down else _ADD
        self._set(loop.counter)
        if loop.form == "while":
            self._code += b"\x0c\0"
        else:
            self._get(loop.counter)
            if not down:
                self._get(loop.count)
                self._code += _LT_U
            self._code += b"\x0d\0"
        self._code += _END + _END

    def _instruction(self, instruction: Instruction) -> None:
        op = OPS[instruction.op]
        if op.group in ("made up", "address"):
            name = instruction.op.partition(":")[0].replace(".", "_").replace(" ", "_")
            getattr(self, f"_{name}")(instruction)
        else:
            for operand, kind in zip(instruction.operands, op.operands, strict=True):
                self._get(operand, kind)
            self._code += op.code + self._immediate(instruction)
        if instruction.result:
            self._set(instruction.result)

    def _immediate(self, instruction: Instruction) -> bytes:
        op = OPS[instruction.op]
        if op.immediate.startswith("memory"):
            hint = op.width.bit_length() - 1 if self._kernel.hints else 0
            offset, *lane = instruction.immediate
            return bytes([hint]) + encode_uleb128(offset) + bytes(lane)
        return bytes(instruction.immediate)

    def _f32x4_bits(self, instruction: Instruction) -> None:
        self._canonical_vector(instruction, _F32_NAN * 4, _F32_EQ)

    def _f64x2_bits(self, instruction: Instruction) -> None:
        self._canonical_vector(instruction, _F64_NAN * 2, _F64_EQ)

    def _canonical_vector(self, instruction: Instruction, nan: bytes, equal: bytes) -> None:
        (operand,) = instruction.operands
        self._get(operand)
        self._code += b"\xfd\x0c" + nan
        self._get(operand)
        self._get(operand)
        self._code += equal + _BITSELECT

    def _f32_bits(self, instruction: Instruction) -> None:
        self._canonical_scalar(instruction, b"\x43" + _F32_NAN, b"\x5b", b"\xbc")

    def _f64_bits(self, instruction: Instruction) -> None:
        self._canonical_scalar(instruction, b"\x44" + _F64_NAN, b"\x61", b"\xbd")

    def _canonical_scalar(
        self, instruction: Instruction, nan: bytes, equal: bytes, reinterpret: bytes
    ) -> None:
        (operand,) = instruction.operands
        self._get(operand)
        self._code += nan
        self._get(operand)
        self._get(operand)
        self._code += equal + b"\x1b" + reinterpret

    def _move(self, instruction: Instruction) -> None:
        (base,) = instruction.operands
        self._get(base)
        self._get(instruction.immediate[0])
        self._code += _ADD

    def _scale(self, instruction: Instruction) -> None:
        base, counter = instruction.operands
        (factor,) = instruction.immediate
        power = factor.bit_length() - 1
        self._get(base)
        self._get(counter)
        self._get(power if factor == 1 << power else factor)
        self._code += (_SHL if factor == 1 << power else _MUL) + _ADD

    def _index(self, instruction: Instruction) -> None:
        base, index = instruction.operands
        self._get(base)
        self._get(index)
        self._get(instruction.immediate[0])
        self._code += _AND + _ADD

    def _near_zero(self, instruction: Instruction) -> None:
        (number,) = instruction.operands
        self._get(number)
        self._code += _EXTEND8_S


def _registers(body: list[Statement]) -> list[str]:
    names: list[str] = []
    for statement in body:
        operands: tuple[Operand, ...]
        if isinstance(statement, Loop):
            operands = (statement.counter, statement.count)
            inner = _registers(statement.body)
        elif isinstance(statement, If):
            operands = (statement.condition,)
            inner = _registers(statement.then) + _registers(statement.otherwise)
        else:
            operands = (statement.result, *statement.operands)
            inner = []
        names += [one for one in operands if isinstance(one, str) and one] + inner
    return names
