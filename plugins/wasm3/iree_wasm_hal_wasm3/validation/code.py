"""Type-checks function bodies with an operand stack and a control stack.

The operand stack holds value types. Below the operands of each open block stands a bottom: 1 while
the code is reachable, 2 when it is not and operands of any type may be taken from nothing. A
comparison with the expected type so fails at a block's edge without a look at the control stack.

Spec: https://webassembly.github.io/spec/core/appendix/algorithm.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

from iree_wasm_hal_wasm3.validation.failure import InvalidWasmError
from iree_wasm_hal_wasm3.validation.limits import FunctionUse
from iree_wasm_hal_wasm3.validation.module import I32, TYPE_NAMES
from iree_wasm_hal_wasm3.validation.opcodes import BINARY, NAMES, OPERAND, RESULT
from iree_wasm_hal_wasm3.validation.reader import Reader, read_signed, read_u32

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal_wasm3.validation.module import FunctionFacts, FunctionType, ModuleInfo

__all__ = ["ANY", "REACHABLE", "UNREACHABLE", "CodeState", "Frame"]

ANY, REACHABLE, UNREACHABLE = 0, 1, 2
_LOCAL_GET, _I32_CONST = 0x20, 0x41
_MAX_LOCAL_COUNT = 50_000  # as in other engines; wasm3's own limit comes later and is smaller
_IS_BINARY = bytes(opcode in BINARY for opcode in range(256))


class Frame(NamedTuple):
    """An open block: its opcode, result types, types that a branch takes, and stack height."""

    opcode: int
    results: bytes
    label: bytes
    height: int


class CodeState:
    """The state of the function that is being checked; ``instructions.py`` adds the rules.

    Attributes:
        module: What the module declares.
        code: The body's instructions.
        stack: Operand types and bottoms.
        frames: Open blocks, innermost last.
        locals: Types of parameters and locals.
        results: The function's result types.
        use: What the function asks of wasm3's compiler.
        handlers: For each opcode, what treats it: it takes this object and the positions of the
            opcode and of the byte after it, and returns the position of the next instruction.
    """

    handlers: ClassVar[list[Callable[[Any, int, int], int]]]

    def __init__(self, module: ModuleInfo) -> None:
        self.module = module
        self.code = b""
        self.stack: list[int] = []
        self.frames: list[Frame] = []
        self.locals: list[int] = []
        self.results = b""
        self.use = FunctionUse(0)
        self._base = 0
        self._index = 0
        self._dead_starts: dict[int, int] = {}

    def check(self, index: int, function_type: FunctionType, reader: Reader) -> FunctionFacts:
        """Checks one body.

        Args:
            index: The function's index.
            function_type: Its type.
            reader: Its locals and instructions.

        Raises:
            InvalidWasmError: Names the function, the instruction and the byte offset.
        """
        self._index, self._base = index, reader.position
        self.results = function_type.results
        self.locals = [*function_type.parameters, *_read_locals(reader)]
        self.code, self._base = reader.data[reader.position : reader.end], reader.position
        self.use = FunctionUse.of(function_type, self.locals)
        self.stack = [REACHABLE, REACHABLE]  # two, so that stack[-2] is there
        self.frames = [Frame(0x02, self.results, self.results, 2)]
        at = 0
        try:
            at = self._run()
        except IndexError:
            self.fail(len(self.code), "unexpected end of the body")
        if at != len(self.code):
            self.fail(at, f"{len(self.code) - at} bytes after the body's end")
        return self.use.facts()

    def _run(self) -> int:
        """Goes through the instructions; the position after the last one."""
        code, stack, frames, handlers = self.code, self.stack, self.frames, self.handlers
        local_types, push = self.locals, self.stack.append
        local_count, position = len(local_types), 0
        while frames:
            start = position
            opcode = code[position]
            position += 1
            if opcode == _LOCAL_GET:
                index = code[position]
                position += 1
                if index >= 0x80:
                    index, position = self.u32(start, position - 1)
                if index >= local_count:
                    self.fail(start, f"local {index} of {local_count}")
                push(local_types[index])
            elif _IS_BINARY[opcode]:
                operand = OPERAND[opcode]
                if stack[-1] == operand and stack[-2] == operand:
                    del stack[-1]
                else:
                    self.pop(operand, start)
                    self.pop(operand, start)
                    push(operand)
                stack[-1] = RESULT[opcode]
            elif opcode == _I32_CONST:
                if code[position] < 0x80:
                    position += 1
                else:
                    position = self.signed(start, position, 32)
                push(I32)
            else:
                position = handlers[opcode](self, start, position)
        return position

    def u32(self, start: int, position: int) -> tuple[int, int]:
        """An immediate operand of the instruction at ``start``, and the position after it."""
        try:
            return read_u32(self.code, position)
        except InvalidWasmError as error:
            self.fail(start, error.reason)

    def signed(self, start: int, position: int, bits: int) -> int:
        """Skips a signed constant of the instruction at ``start``."""
        try:
            return read_signed(self.code, position, bits)[1]
        except InvalidWasmError as error:
            self.fail(start, error.reason)

    def pop(self, expected: int, start: int) -> None:
        """Takes an operand of a type."""
        top = self.stack[-1]
        if top in {expected, ANY}:
            del self.stack[-1]
        elif top != UNREACHABLE:
            self.fail(start, f"expected {TYPE_NAMES[expected]}, found {TYPE_NAMES[top]}")

    def pop_any(self, start: int) -> int:
        """Takes an operand of any type; its type."""
        top = self.stack[-1]
        if top == UNREACHABLE:
            return ANY
        if top == REACHABLE:
            self.fail(start, "expected a value, found nothing")
        del self.stack[-1]
        return top

    def note_memory_grow(self, start: int) -> None:
        """Remembers the first ``memory.grow``, which is valid."""
        if self.module.grows_memory_at is None:
            self.module.grows_memory_at = self._base + start

    def set_unreachable(self, position: int) -> None:
        """Makes the rest of the innermost block unreachable, from a position."""
        height = self.frames[-1].height
        del self.stack[height:]
        if self.stack[-1] == REACHABLE:
            self._dead_starts[height] = position
            self.stack[-1] = UNREACHABLE

    def note_dead_code(self, height: int, end: int) -> None:
        """Remembers what cannot be reached in a block that ends."""
        start = self._dead_starts.pop(height)
        if start < end:
            self.module.dead_code.append((self._base + start, self._base + end))

    def fail(self, start: int, message: str) -> NoReturn:
        """Raises the error for the instruction at a position of the body."""
        name = self.module.function_names.get(self._index)
        where = f"function {self._index}" + (f" ({name})" if name else "")
        if start < len(self.code):
            opcode = self.code[start]
            where += f", {NAMES.get(opcode, f'opcode {opcode:#04x}')}"
        raise InvalidWasmError(f"{where}: {message}", self._base + start)


def _read_locals(reader: Reader) -> list[int]:
    types: list[int] = []
    for _ in range(reader.count("groups of locals", 2)):
        number = reader.u32()
        value_type = reader.u8()
        if value_type not in TYPE_NAMES or value_type < 0x7C:
            raise reader.failure(f"invalid local type {value_type:#04x}")
        if number + len(types) > _MAX_LOCAL_COUNT:
            raise reader.failure(f"more than {_MAX_LOCAL_COUNT} locals")
        types += [value_type] * number
    return types
