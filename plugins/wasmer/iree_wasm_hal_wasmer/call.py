"""The hot path: one Python call to one wasm call, through a preallocated value array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from iree_wasm_hal.errors import ArgumentError, ClosedError
from iree_wasm_hal_wasmer.c_api import ffi
from iree_wasm_hal_wasmer.failures import call_error, take_failure

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from iree_wasm_hal.engine import WasmFunction


class Owner(Protocol):
    """An instance, as its functions see it."""

    pointer: Any
    lock: threading.Lock


def make_function(owner: Owner, lib: Any, function: Any, name: str) -> WasmFunction:
    """Builds the Python callable for an ``iwh_wasmer_function_t*``.

    It holds no native object but the value array: the instance, which owns ``function``, is reached
    through ``owner.pointer`` each time, so that closing it frees it.
    """
    size = ffi.new("size_t *")
    bits = lib.iwh_wasmer_function_parameter_bits(function, size)
    parameter_count = int(size[0])
    masks = tuple(2 ** bits[index] - 1 for index in range(parameter_count))
    values = ffi.new("uint64_t[]", max(parameter_count, 1))
    result_bits = lib.iwh_wasmer_function_result_bits(function)
    # Values are little-endian in memory, as is every supported CPU.
    result = ffi.cast("int32_t *" if result_bits == 32 else "int64_t *", values)
    has_result = result_bits != 0
    indices_and_masks = tuple(enumerate(masks))
    null = ffi.NULL
    lock = owner.lock
    native_call: Callable[..., Any] = lib.iwh_wasmer_call

    def call_wasm(*arguments: int) -> int | None:
        pointer = owner.pointer
        if pointer is None:
            msg = f"call of {name!r} after its instance was closed"
            raise ClosedError(msg)
        if len(arguments) != parameter_count:
            msg = f"{name!r} takes {parameter_count} integers, got {len(arguments)}"
            raise ArgumentError(msg)
        with lock:
            try:
                for (index, mask), argument in zip(indices_and_masks, arguments):  # noqa: B905  # checked above
                    values[index] = argument & mask
            except TypeError as error:
                msg = f"{name!r} takes {parameter_count} integers, got {arguments!r}"
                raise ArgumentError(msg) from error
            failure = native_call(pointer, function, values)
            if failure == null:
                return result[0] if has_result else None
        raise call_error(name, take_failure(lib, failure))

    call_wasm.__name__ = call_wasm.__qualname__ = name
    return call_wasm
