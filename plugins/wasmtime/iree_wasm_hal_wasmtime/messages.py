"""Translates wasmtime's errors and traps; each function takes over its native object."""

from __future__ import annotations

from typing import Any

from iree_wasm_hal.engine import TrapKind
from iree_wasm_hal.errors import TrapError
from iree_wasm_hal_wasmtime.c_api import ffi

# wasmtime_trap_code_enum (wasmtime/trap.h), in the spec's words.
_TRAP_KINDS = {
    0: TrapKind.STACK_EXHAUSTED,
    1: TrapKind.OUT_OF_BOUNDS_MEMORY,
    2: TrapKind.UNALIGNED_ATOMIC,
    3: TrapKind.UNDEFINED_ELEMENT,
    4: TrapKind.UNINITIALIZED_ELEMENT,
    5: TrapKind.INDIRECT_CALL_TYPE_MISMATCH,
    6: TrapKind.INTEGER_OVERFLOW,
    7: TrapKind.INTEGER_DIVIDE_BY_ZERO,
    8: TrapKind.INVALID_CONVERSION,
    9: TrapKind.UNREACHABLE,
    12: TrapKind.EXPECTED_SHARED_MEMORY,
}
_THROWN_MESSAGE = "thrown Wasm exception"


def take_error_message(lib: Any, error: Any) -> str:
    """The text of a ``wasmtime_error_t*``, which is deleted; its causes follow after colons."""
    vector = ffi.new("wasm_byte_vec_t *")
    lib.wasmtime_error_message(error, vector)
    text = _text(vector)
    lib.wasm_byte_vec_delete(vector)
    lib.wasmtime_error_delete(error)
    lines = (line.strip() for line in text.splitlines())
    return ": ".join(line for line in lines if line not in {"", "Caused by:"})


def take_trap(lib: Any, trap: Any, function_name: str) -> TrapError:
    """The error for a ``wasm_trap_t*``, which is deleted.

    Args:
        lib: cffi's namespace of the C library.
        trap: The native trap.
        function_name: Export that was called, for the message.
    """
    vector = ffi.new("wasm_byte_vec_t *")
    lib.wasm_trap_message(trap, vector)
    message = _text(vector).rstrip("\0\n")
    lib.wasm_byte_vec_delete(vector)
    code = ffi.new("uint8_t *")
    kind: str = TrapKind.UNKNOWN
    if lib.wasmtime_trap_code(trap, code):
        kind = _TRAP_KINDS.get(code[0], TrapKind.UNKNOWN)
    elif message.endswith(_THROWN_MESSAGE):  # it has no code
        kind = TrapKind.UNCAUGHT_EXCEPTION
    frames = _frames(lib, trap)
    lib.wasm_trap_delete(trap)
    reason = message.rsplit("\n", 1)[-1].strip() if kind is TrapKind.UNKNOWN else kind
    where = f" in {frames[0]!r}" if frames else ""
    return TrapError(f"{function_name!r} trapped{where}: {reason}", kind=kind, frames=frames)


def _frames(lib: Any, trap: Any) -> tuple[str, ...]:
    vector = ffi.new("wasm_frame_vec_t *")
    lib.wasm_trap_trace(trap, vector)
    names = []
    for index in range(vector.size):
        frame = vector.data[index]
        name = lib.wasmtime_frame_func_name(frame)
        names.append(_text(name) if name else f"function {lib.wasm_frame_func_index(frame)}")
    lib.wasm_frame_vec_delete(vector)
    return tuple(names)


def _text(vector: Any) -> str:
    if not vector.size:
        return ""
    return bytes(ffi.buffer(vector.data, vector.size)).decode("utf-8", "replace")


def vector_text(vector: Any) -> str:
    """The text of a borrowed ``wasm_byte_vec_t``."""
    return _text(vector)
