"""Every instruction that reads or writes memory, and modules that try each at given addresses.

Spec: https://webassembly.github.io/spec/core/binary/instructions.html#memory-instructions,
https://github.com/WebAssembly/threads/blob/main/proposals/threads/Overview.md
"""

from __future__ import annotations

from dataclasses import dataclass

from iree_wasm_hal.engine import Feature, MemoryType
from iree_wasm_hal.wasm.binary import encode_name, encode_sleb128, encode_uleb128, encode_vector

__all__ = ["ACCESSES", "Access", "Form", "encode_module", "forms_of"]

_I32, _I64, _F32, _F64, _V128 = 0x7F, 0x7E, 0x7D, 0x7C, 0x7B
# An operand of each type, as an instruction: all bits set, so that a wrong store shows.
_OPERANDS = {
    _I32: b"\x41\x7f",
    _I64: b"\x42\x7f",
    _F32: b"\x43" + b"\xfe\xff\x7f\xff",
    _F64: b"\x44" + b"\xfe" + b"\xff" * 5 + b"\xef\xff",
    _V128: b"\xfd\x0c" + b"\xff" * 16,
}
# From a value to the i64 that a function returns.
_TO_I64 = {
    _I32: b"\xad",
    _I64: b"",
    _F32: b"\xbc\xad",
    _F64: b"\xbd",
    # The sum of both halves: LLVM may leave a part unread that nobody uses.
    _V128: b"\x22\x01\xfd\x1d\x00\x20\x01\xfd\x1d\x01\x7c",
}


@dataclass(frozen=True, slots=True)
class Access:
    """One instruction.

    Attributes:
        name: In the text format.
        code: The opcode.
        width: Bytes that it reads or writes.
        operands: Types of the operands after the address.
        result: Type of the result, or None.
        is_atomic: Whether its address must be aligned.
        has_lane: Whether a lane's index is its last immediate.
    """

    name: str
    code: bytes
    width: int
    operands: tuple[int, ...]
    result: int | None
    is_atomic: bool = False
    has_lane: bool = False

    @property
    def is_load(self) -> bool:
        """Whether it only reads."""
        return not self.operands or "load" in self.name

    @property
    def feature(self) -> Feature | None:
        """What an engine needs for it."""
        if self.is_atomic:
            return Feature.ATOMICS
        return Feature.SIMD128 if self.code[0] == 0xFD else None


def _scalar_accesses() -> list[Access]:
    loads = (
        ("i32.load", 4), ("i64.load", 8), ("f32.load", 4), ("f64.load", 8), ("i32.load8_s", 1),
        ("i32.load8_u", 1), ("i32.load16_s", 2), ("i32.load16_u", 2), ("i64.load8_s", 1),
        ("i64.load8_u", 1), ("i64.load16_s", 2), ("i64.load16_u", 2), ("i64.load32_s", 4),
        ("i64.load32_u", 4),
    )  # fmt: skip
    stores = (
        ("i32.store", 4), ("i64.store", 8), ("f32.store", 4), ("f64.store", 8), ("i32.store8", 1),
        ("i32.store16", 2), ("i64.store8", 1), ("i64.store16", 2), ("i64.store32", 4),
    )  # fmt: skip
    kinds = {"i32": _I32, "i64": _I64, "f32": _F32, "f64": _F64}
    return [
        Access(name, bytes([0x28 + number]), width, (), kinds[name[:3]])
        for number, (name, width) in enumerate(loads)
    ] + [
        Access(name, bytes([0x36 + number]), width, (kinds[name[:3]],), None)
        for number, (name, width) in enumerate(stores)
    ]


def _vector_accesses() -> list[Access]:
    loads = (
        ("load", 16), ("load8x8_s", 8), ("load8x8_u", 8), ("load16x4_s", 8), ("load16x4_u", 8),
        ("load32x2_s", 8), ("load32x2_u", 8), ("load8_splat", 1), ("load16_splat", 2),
        ("load32_splat", 4), ("load64_splat", 8),
    )  # fmt: skip
    accesses = [
        Access(f"v128.{name}", bytes([0xFD, number]), width, (), _V128)
        for number, (name, width) in enumerate(loads)
    ]
    accesses += [
        Access("v128.store", b"\xfd\x0b", 16, (_V128,), None),
        Access("v128.load32_zero", b"\xfd\x5c", 4, (), _V128),
        Access("v128.load64_zero", b"\xfd\x5d", 8, (), _V128),
    ]
    for number, width in enumerate((1, 2, 4, 8)):
        for verb, first, result in (("load", 0x54, _V128), ("store", 0x58, None)):
            code, name = bytes([0xFD, first + number]), f"v128.{verb}{8 * width}_lane"
            accesses.append(Access(name, code, width, (_V128,), result, has_lane=True))
    return accesses


def _atomic_accesses() -> list[Access]:
    shapes = (("i32", 4), ("i64", 8), ("i32", 1), ("i32", 2), ("i64", 1), ("i64", 2), ("i64", 4))
    families: list[tuple[str, int, int]] = [("load", 0x10, 0), ("store", 0x17, 1)]
    for number, name in enumerate(("add", "sub", "and", "or", "xor", "xchg")):
        families.append((f"rmw.{name}", 0x1E + 7 * number, 1))
    families.append(("rmw.cmpxchg", 0x48, 2))
    accesses = []
    for family, first, operand_count in families:
        for number, (kind, width) in enumerate(shapes):
            value = _I32 if kind == "i32" else _I64
            name = f"{kind}.atomic.{family} of {8 * width} bits"
            result = None if family == "store" else value
            code = bytes([0xFE, first + number])
            accesses.append(Access(name, code, width, (value,) * operand_count, result, True))
    return accesses


ACCESSES = (*_scalar_accesses(), *_vector_accesses(), *_atomic_accesses())


@dataclass(frozen=True, slots=True)
class Form:
    """How an access comes to its address.

    Attributes:
        constant: An address that is known when compiled, instead of a parameter.
        addend: A constant that is added to the parameter, modulo 2**32 or 2**64.
        byte_offset: The immediate of the access.
        is_dead: Whether the result is dropped.
    """

    constant: int | None = None
    addend: int = 0
    byte_offset: int = 0
    is_dead: bool = False

    def effective(self, parameter: int, bits: int) -> int:
        """The first byte accessed."""
        base = (parameter + self.addend) % 2**bits if self.constant is None else self.constant
        return base + self.byte_offset


def forms_of(access: Access, byte_lengths: tuple[int, ...]) -> list[Form]:
    """Ways to write an access, with constants for memories of some sizes."""
    width = access.width
    forms = [Form(), *(Form(byte_offset=one) for one in (16, 65536 - width, 2**32 - width))]
    forms += [
        Form(addend=addend)
        for addend in (16, 65536 - width, 65536, 65536 + width, 3 * 65536, 2**32 - 16)
    ]
    # What a compiler makes of an array at a fixed place, whose index may be negative.
    forms += [Form(addend=32, byte_offset=65536), Form(addend=65520, byte_offset=65520)]
    for byte_length in byte_lengths:
        forms += [Form(constant=byte_length - width), Form(constant=byte_length)]
        if width > 1 and not access.is_atomic:
            forms.append(Form(constant=byte_length - width + 1))
    last = byte_lengths[-1] - width
    forms += [Form(constant=16, byte_offset=last - 16), Form(constant=width, byte_offset=last)]
    forms.append(Form(constant=2**32 - width, byte_offset=2**32 - width))
    if access.result is not None:
        forms += [Form(is_dead=True), Form(byte_offset=2**32 - width, is_dead=True)]
        forms += [Form(addend=16, is_dead=True), Form(constant=byte_lengths[-1], is_dead=True)]
    return forms


def encode_module(functions: list[tuple[Access, Form]], memory: MemoryType) -> bytes:
    """A module whose function ``f<n>`` takes an address and returns an i64: what it read, or 0."""
    address = _I64 if memory.index64 else _I32
    kind = b"\x60\x01" + bytes([address]) + b"\x01\x7e"
    flags = 1 | 2 * memory.shared | 4 * memory.index64
    limits = bytes([flags]) + b"".join(
        map(encode_uleb128, (memory.min_page_count, memory.max_page_count))
    )
    exports = [
        encode_name(f"f{number}") + b"\0" + encode_uleb128(number)
        for number in range(len(functions))
    ]
    sections = (
        (1, [kind]),
        (2, [encode_name("env") + encode_name("memory") + b"\x02" + limits]),
        (3, [b"\0"] * len(functions)),
        (7, exports),
        (10, [_body(access, form, index64=memory.index64) for access, form in functions]),
    )
    module = b"\0asm\x01\0\0\0"
    for number, items in sections:
        contents = encode_vector(items)
        module += bytes([number]) + encode_uleb128(len(contents)) + contents
    return module


def _body(access: Access, form: Form, *, index64: bool) -> bytes:
    bits = 64 if index64 else 32
    constant = b"\x42" if index64 else b"\x41"

    def number(value: int) -> bytes:
        return constant + encode_sleb128((value + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1))

    code = b"\x20\0" if form.constant is None else number(form.constant)
    if form.addend:
        code += number(form.addend) + (b"\x7c" if index64 else b"\x6a")
    code += b"".join(_OPERANDS[kind] for kind in access.operands)
    alignment = access.width.bit_length() - 1 if access.is_atomic else 0
    code += access.code + bytes([alignment]) + encode_uleb128(form.byte_offset)
    code += b"\0" * access.has_lane
    if access.result is None or form.is_dead:
        code += (b"" if access.result is None else b"\x1a") + b"\x42\0"
    else:
        code += _TO_I64[access.result]
    has_vector = access.result == _V128  # needs a local
    body = (b"\x01\x01\x7b" if has_vector else b"\0") + code + b"\x0b"
    return encode_uleb128(len(body)) + body
