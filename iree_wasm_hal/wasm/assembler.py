"""A small structured assembler for wasm functions: locals, blocks, records.

Statements append to a `FunctionBuilder`; their operands are the `Value`s of `expressions`. Spec:
https://webassembly.github.io/spec/core/binary/instructions.html
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import InternalError
from iree_wasm_hal.wasm.binary import encode_uleb128, encode_vector
from iree_wasm_hal.wasm.expressions import (
    I32,
    I64,
    Label,
    Local,
    Signature,
    Value,
    ValueType,
    constant,
    make_local,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.wasm.stream import Struct

__all__ = ["FunctionBuilder", "Record"]

_LOAD = {(I32, 4): 0x28, (I64, 8): 0x29, (I32, 1): 0x2D, (I32, 2): 0x2F}
_STORE = {(I32, 4): 0x36, (I64, 8): 0x37, (I32, 1): 0x3A, (I32, 2): 0x3B}
_ATOMIC_LOAD, _ATOMIC_STORE, _ATOMIC_ADD, _ATOMIC_SUB = 0x10, 0x17, 0x1E, 0x25
_ATOMIC_CMPXCHG, _ATOMIC_NOTIFY, _ATOMIC_WAIT32 = 0x48, 0x00, 0x01


def _memory_argument(byte_length: int, byte_offset: int) -> bytes:
    return bytes([byte_length.bit_length() - 1]) + encode_uleb128(byte_offset)


def _atomic(opcode: int, byte_offset: int) -> bytes:
    return bytes([0xFE, opcode]) + _memory_argument(4, byte_offset)


class FunctionBuilder:
    """Builds one function body.

    Args:
        signature: Its type.
        pointer: Type of addresses.
        callees: Function index and signature by name, for `call`.
        atomics: Whether the ``atomic_`` methods emit atomic instructions or plain ones.
    """

    def __init__(
        self,
        signature: Signature,
        pointer: ValueType,
        callees: dict[str, tuple[int, Signature]],
        *,
        atomics: bool,
    ) -> None:
        self.pointer = pointer
        self.atomics = atomics
        self._signature = signature
        self._callees = callees
        self._code = bytearray()
        self._locals: list[ValueType] = [kind for _, kind in signature.parameters]
        self._depth = 0
        self._after_if = -1
        self.parameters = [make_local(i, kind) for i, kind in enumerate(self._locals)]

    def local(self, kind: ValueType, value: Value | int | None = None) -> Local:
        """A new local, set to ``value`` if given."""
        local = make_local(len(self._locals), kind)
        self._locals.append(kind)
        if value is not None:
            self.set(local, value)
        return local

    def set(self, local: Local, value: Value | int) -> None:
        """Assigns a local."""
        if isinstance(value, int):
            value = constant(local.type, value)
        if value.type is not local.type:
            raise InternalError(f"{value.type.name} assigned to {local.type.name}")
        self._code += value.code + b"\x21" + encode_uleb128(local.index)

    def load(self, kind: ValueType, address: Value, byte_offset: int = 0, width: int = 0) -> Value:
        """A load, zero-extended from ``width`` bytes."""
        width = width or (4 if kind is I32 else 8)
        argument = _memory_argument(width, byte_offset)
        return Value(kind, address.code + bytes([_LOAD[kind, width]]) + argument)

    def store(self, address: Value, byte_offset: int, value: Value, width: int = 0) -> None:
        """A store of the low ``width`` bytes."""
        width = width or (4 if value.type is I32 else 8)
        argument = _memory_argument(width, byte_offset)
        self._code += address.code + value.code + bytes([_STORE[value.type, width]]) + argument

    def record(self, struct: Struct, address: Value, byte_offset: int = 0) -> Record:
        """Fields of a structure at ``address + byte_offset``."""
        return Record(self, struct, address, byte_offset)

    def memory_copy(self, target: Value, source: Value, byte_length: Value) -> None:
        """``memory.copy``: a memmove."""
        self._code += target.code + source.code + byte_length.code + b"\xfc\x0a\x00\x00"

    def memory_fill(self, target: Value, byte: Value, byte_length: Value) -> None:
        """``memory.fill`` with the low byte of an i32."""
        self._code += target.code + byte.code + byte_length.code + b"\xfc\x0b\x00"

    def atomic_load(self, address: Value, byte_offset: int = 0) -> Value:
        """A sequentially consistent i32 load."""
        if not self.atomics:
            return self.load(I32, address, byte_offset)
        return Value(I32, address.code + _atomic(_ATOMIC_LOAD, byte_offset))

    def atomic_store(self, address: Value, byte_offset: int, value: Value) -> None:
        """A sequentially consistent i32 store."""
        if self.atomics:
            self._code += address.code + value.code + _atomic(_ATOMIC_STORE, byte_offset)
        else:
            self.store(address, byte_offset, value)

    def atomic_add(self, old: Local, address: Value, value: Value | int) -> None:
        """``old`` = i32 at ``address``, which grows by ``value``."""
        self._read_modify_write(_ATOMIC_ADD, "add", old, address, value)

    def atomic_sub(self, old: Local, address: Value, value: Value | int) -> None:
        """``old`` = i32 at ``address``, which shrinks by ``value``."""
        self._read_modify_write(_ATOMIC_SUB, "sub", old, address, value)

    def atomic_compare_exchange(
        self, old: Local, address: Value, byte_offset: int, expected: int, replacement: Value | int
    ) -> None:
        """``old`` = i32 at the address, which becomes ``replacement`` where it was ``expected``."""
        new = constant(I32, replacement) if isinstance(replacement, int) else replacement
        if self.atomics:
            code = address.code + constant(I32, expected).code + new.code
            self.set(old, Value(I32, code + _atomic(_ATOMIC_CMPXCHG, byte_offset)))
            return
        self.set(old, self.load(I32, address, byte_offset))
        with self.if_(old.eq(expected)):
            self.store(address, byte_offset, new)

    def pause(self, scratch: Local, own: Value) -> None:
        """Takes some 5 ns of compiled code on every engine, between two polls of a word.

        ``own`` is the address of an i32 that no other thread writes to, or polls.
        """
        self.atomic_add(scratch, own, 0)

    def notify_all(self, address: Value) -> None:
        """Wakes everyone who waits at ``address``."""
        self._code += address.code + constant(I32, -1).code + _atomic(_ATOMIC_NOTIFY, 0) + b"\x1a"

    def wait32(self, outcome: Local, address: Value, expected: Value, timeout_ns: int) -> None:
        """Sleeps while the i32 at ``address`` is ``expected``, at most ``timeout_ns``.

        ``outcome`` = 0 where somebody woke it, 1 where it did not sleep, 2 where the time was up.
        """
        code = address.code + expected.code + constant(I64, timeout_ns).code
        self.set(outcome, Value(I32, code + _atomic(_ATOMIC_WAIT32, 0)))

    def call(self, name: str, *arguments: Value | int) -> Value:
        """The result of calling another function of the same module (i32 if it has none)."""
        index, signature = self._callees[name]
        code = self._arguments(signature, arguments)
        kind = signature.results[0] if signature.results else I32
        return Value(kind, code + b"\x10" + encode_uleb128(index))

    def call_indirect(
        self, type_index: int, signature: Signature, table_index: Value, *arguments: Value
    ) -> Value:
        """The result of calling a function by its index in table 0."""
        code = self._arguments(signature, arguments) + table_index.code
        code += b"\x11" + encode_uleb128(type_index) + b"\x00"
        return Value(signature.results[0], code)

    def run(self, call: Value) -> None:
        """Evaluates a call that has no result."""
        self._code += call.code

    @contextmanager
    def block(self) -> Iterator[Label]:
        """A block; branching to its label leaves it."""
        with self._nested(b"\x02\x40") as label:
            yield label

    @contextmanager
    def loop(self) -> Iterator[Label]:
        """A loop; branching to its label starts it again, falling out of it ends it."""
        with self._nested(b"\x03\x40") as label:
            yield label

    @contextmanager
    def if_(self, condition: Value) -> Iterator[Label]:
        """Runs the body when ``condition`` is not zero."""
        self._code += condition.code
        with self._nested(b"\x04\x40") as label:
            yield label
        self._after_if = len(self._code)

    @contextmanager
    def else_(self) -> Iterator[None]:
        """Runs the body otherwise; directly after `if_`."""
        if self._after_if != len(self._code):
            raise InternalError("else_ does not follow an if_")
        self._code[-1] = 0x05
        self._depth += 1
        yield
        self._depth -= 1
        self._code.append(0x0B)

    def branch(self, label: Label, condition: Value | None = None) -> None:
        """Branches, if ``condition`` is given and not zero or not given at all."""
        if condition is not None:
            self._code += condition.code
        opcode = b"\x0c" if condition is None else b"\x0d"
        self._code += opcode + encode_uleb128(self._depth - label.depth)

    def return_(self, value: Value | int) -> None:
        """Returns an i32 or the value."""
        result = constant(I32, value) if isinstance(value, int) else value
        self._code += result.code + b"\x0f"

    def finish(self) -> bytes:
        """The code section entry. The function must have returned on every path."""
        declared = self._locals[len(self._signature.parameters) :]
        groups = encode_vector([b"\x01" + bytes([kind]) for kind in declared])
        tail = b"\x00" if self._signature.results else b""
        body = groups + bytes(self._code) + tail + b"\x0b"
        return encode_uleb128(len(body)) + body

    def _arguments(self, signature: Signature, arguments: tuple[Value | int, ...]) -> bytes:
        code = b""
        for (name, kind), argument in zip(signature.parameters, arguments, strict=True):
            value = constant(kind, argument) if isinstance(argument, int) else argument
            if value.type is not kind:
                raise InternalError(f"argument {name} is {value.type.name}, not {kind.name}")
            code += value.code
        return code

    def _read_modify_write(
        self, opcode: int, name: str, old: Local, address: Value, value: Value | int
    ) -> None:
        operand = constant(I32, value) if isinstance(value, int) else value
        if self.atomics:
            self.set(old, Value(I32, address.code + operand.code + _atomic(opcode, 0)))
            return
        self.set(old, self.load(I32, address))
        new = old + operand if name == "add" else old - operand
        self.store(address, 0, new)

    @contextmanager
    def _nested(self, opening: bytes) -> Iterator[Label]:
        self._code += opening
        self._depth += 1
        yield Label(self._depth)
        self._depth -= 1
        self._code.append(0x0B)


class Record:
    """A structure in linear memory, its fields read and written by name.

    The address is evaluated at every access: pass a local.
    """

    def __init__(
        self, builder: FunctionBuilder, struct: Struct, address: Value, byte_offset: int
    ) -> None:
        self._builder = builder
        self._struct = struct
        self._address = address
        self._byte_offset = byte_offset

    def get(self, name: str) -> Value:
        """A field: i64 for 8-byte ones, else i32."""
        width = self._struct.fields[name].byte_length
        kind = I64 if width == 8 else I32
        return self._builder.load(kind, self._address, self._at(name), width)

    def pointer(self, name: str) -> Value:
        """An address or length field as a pointer; of a wider one the low half."""
        return self._builder.load(self._builder.pointer, self._address, self._at(name))

    def set(self, name: str, value: Value | int) -> None:
        """Writes a field, the low bytes of ``value``."""
        width = self._struct.fields[name].byte_length
        if isinstance(value, int):
            value = constant(I64 if width == 8 else I32, value)
        self._builder.store(self._address, self._at(name), value, width)

    def address_of(self, name: str) -> Value:
        """The address of a field."""
        return self._address + self._at(name)

    def atomic_get(self, name: str) -> Value:
        """A 4-byte field, loaded sequentially consistently."""
        return self._builder.atomic_load(self._address, self._at(name))

    def atomic_set(self, name: str, value: Value | int) -> None:
        """Stores a 4-byte field sequentially consistently."""
        stored = constant(I32, value) if isinstance(value, int) else value
        self._builder.atomic_store(self._address, self._at(name), stored)

    def _at(self, name: str) -> int:
        return self._byte_offset + self._struct.offset(name)
