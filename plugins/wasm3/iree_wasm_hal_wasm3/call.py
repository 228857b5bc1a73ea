"""The hot path: one Python call to one wasm call, through a preallocated argument array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from iree_wasm_hal.errors import ArgumentError, ClosedError
from iree_wasm_hal_wasm3.c_api import ffi
from iree_wasm_hal_wasm3.traps import take_trap

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Signature, StackCheck, WasmFunction
    from iree_wasm_hal_wasm3.memory import NativeMemory
    from iree_wasm_hal_wasm3.runtime import Runtime
    from iree_wasm_hal_wasm3.validation import ModuleInfo


class RuntimeOwner(Protocol):
    """An instance, as its functions see it."""

    runtime: Runtime | None
    memory: NativeMemory
    info: ModuleInfo


def make_function(
    owner: RuntimeOwner,
    runtime: Runtime,
    function: Any,
    signature: Signature,
    thread_check: StackCheck,
) -> WasmFunction:
    """Builds the Python callable for an exported function.

    It holds the runtime through ``owner.runtime`` alone, so that closing the instance frees it.

    Args:
        owner: The instance.
        runtime: Its runtime.
        function: The ``M3Function *``.
        signature: Its type.
        thread_check: Refuses threads with small stacks.
    """
    name, memory, m3_call = signature.name, owner.memory, runtime.lib.m3_Call
    parameter_count = len(signature.parameter_bits)
    slots = ffi.new("uint64_t[]", max(parameter_count, 1))
    pointers = ffi.new("const void *[]", [slots + index for index in range(parameter_count)])
    stores = tuple((index, 2**bits - 1) for index, bits in enumerate(signature.parameter_bits))
    # wasm3 leaves the result at the bottom of the stack (m3_GetResults).
    result_type = "int32_t *" if signature.result_bits == 32 else "int64_t *"
    result = ffi.cast(result_type, runtime.pointer.stack)
    has_result = signature.result_bits is not None
    null = ffi.NULL
    del runtime

    def call_wasm(*arguments: int) -> int | None:
        runtime = owner.runtime
        if runtime is None:
            msg = f"call of {name!r} after its instance was closed"
            raise ClosedError(msg)
        if not thread_check.passed:
            thread_check.check()
        if len(arguments) != parameter_count:
            msg = f"{name!r} takes {parameter_count} integers, got {len(arguments)}"
            raise ArgumentError(msg)
        with memory.lock:
            try:
                for (index, mask), argument in zip(stores, arguments):  # noqa: B905  # checked above
                    slots[index] = argument & mask
            except TypeError as type_error:
                msg = f"{name!r} takes {parameter_count} integers, got {arguments!r}"
                raise ArgumentError(msg) from type_error
            memory.bind(runtime)
            error = m3_call(function, parameter_count, pointers)
            if error == null:
                return result[0] if has_result else None
            raise take_trap(runtime, error, name, owner.info.function_names)

    call_wasm.__name__ = call_wasm.__qualname__ = name
    return call_wasm
