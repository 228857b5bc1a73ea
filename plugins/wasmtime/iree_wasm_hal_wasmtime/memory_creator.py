"""wasmtime's host memory creator: it gives out the bytes of the memories that modules define.

While ``aliasing`` is in effect on a thread, those are the bytes of an existing region. Otherwise
they are a region of their own, as for wasmtime's garbage-collected heaps and for modules that
define memories beside the imported one.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from iree_wasm_hal.engine import PAGE_SIZE
from iree_wasm_hal_wasmtime.c_api import PAGE_SIZE_LOG2, ffi
from iree_wasm_hal_wasmtime.messages import take_error_message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


class Bytes(Protocol):
    """What wasmtime asks about a memory.

    Attributes:
        base: Its first byte.
        byte_length: Its current size.
        capacity: What it can grow to without moving.
    """

    base: Any
    byte_length: int
    capacity: int

    def grow_to(self, byte_length: int) -> Any:
        """Grows; a ``wasmtime_error_t*`` if it could not, else a null pointer."""
        ...


class _OwnRegion:
    """Bytes for one memory alone, out of a shared memory, which reserves and commits them."""

    def __init__(self, lib: Any, engine_pointer: Any, byte_length: int, reserved: int) -> None:
        self._lib = lib
        page_count, max_page_count = -(-byte_length // PAGE_SIZE), reserved // PAGE_SIZE
        index64 = max_page_count > 1 << 32 - PAGE_SIZE_LOG2
        result, memory_type = ffi.new("wasmtime_sharedmemory_t **"), ffi.new("wasm_memorytype_t **")
        error = lib.wasmtime_memorytype_new(
            page_count, True, max_page_count, index64, True, PAGE_SIZE_LOG2, memory_type
        )
        if not error:
            error = lib.wasmtime_sharedmemory_new(engine_pointer, memory_type[0], result)
            lib.wasm_memorytype_delete(memory_type[0])
        if error:
            raise MemoryError(take_error_message(lib, error))
        self._pointer = ffi.gc(result[0], lib.wasmtime_sharedmemory_delete)
        self.base = lib.wasmtime_sharedmemory_data(self._pointer)
        self.byte_length = byte_length
        self.capacity = max_page_count * PAGE_SIZE

    def grow_to(self, byte_length: int) -> Any:
        """Grows by whole pages."""
        page_count = int(self._lib.wasmtime_sharedmemory_size(self._pointer))
        delta = -(-byte_length // PAGE_SIZE) - page_count
        if delta > 0:
            previous = ffi.new("uint64_t *")
            error = self._lib.wasmtime_sharedmemory_grow(self._pointer, delta, previous)
            if error:
                return error
        self.byte_length = byte_length
        return ffi.NULL


class _ThreadState(threading.local):
    """What new memories are aliases of, and what a callback could not raise."""

    aliased: Any = None
    postponed: BaseException | None = None


_state = _ThreadState()
_held: dict[int, object] = {}
"""What wasmtime refers to, by the address of its handle, until wasmtime's finalizer is called."""


@contextlib.contextmanager
def aliasing(handle: Any) -> Iterator[None]:
    """Makes new memories of this thread those of an ``ffi.new_handle`` of a ``Bytes``.

    The caller keeps the handle for as long as the memory's store.
    """
    _state.aliased = handle
    try:
        yield
    finally:
        _state.aliased = None


def postpone(error: BaseException) -> None:
    """Keeps what a signal handler raised in a callback, which cannot raise it."""
    _state.postponed = error


def raise_postponed() -> None:
    """Raises what a signal handler raised while wasmtime was asking."""
    error, _state.postponed = _state.postponed, None
    if error is not None:
        raise error


class MemoryCreator:
    """The ``wasmtime_memory_creator_t`` of one native engine. wasmtime keeps it alive.

    Attributes:
        pointer: For ``wasmtime_config_host_memory_creator_set``, which copies it.
    """

    def __init__(self, lib: Any) -> None:
        self._lib = lib
        self._engine_pointer: Any = None
        handle = ffi.new_handle(self)
        _hold(handle)
        self.pointer = ffi.new(
            "wasmtime_memory_creator_t *",
            {"env": handle, "new_memory": _new_memory_callback, "finalizer": _finalizer},
        )

    def set_engine(self, engine_pointer: Any) -> None:
        """Says whose memories it makes; all stores of that engine keep the pointer alive."""
        self._engine_pointer = weakref.ref(engine_pointer)

    def region(self, byte_length: int, reserved: int) -> _OwnRegion:
        """A new region.

        Raises:
            MemoryError: wasmtime could not make one.
        """
        return _OwnRegion(self._lib, self._engine_pointer(), byte_length, reserved)

    def new_error(self, reason: str) -> Any:
        """A ``wasmtime_error_t*``."""
        return self._lib.wasmtime_error_new(reason.encode())


def _hold(handle: Any) -> None:
    _held[int(ffi.cast("uintptr_t", handle))] = handle


def _let_go(env: Any) -> None:
    _held.pop(int(ffi.cast("uintptr_t", env)), None)


def _get_memory(env: Any, byte_length: Any, byte_capacity: Any) -> Any:
    one: Bytes = ffi.from_handle(env)
    byte_length[0] = one.byte_length
    byte_capacity[0] = one.capacity
    return one.base


def _grow_memory(env: Any, byte_length: int) -> Any:
    one: Bytes = ffi.from_handle(env)
    return one.grow_to(byte_length)


def _new_memory(
    env: Any, _type: Any, minimum: int, maximum: int, reserved: int, _guard: int, result: Any
) -> Any:
    creator: MemoryCreator = ffi.from_handle(env)
    result.get_memory, result.grow_memory = _get_memory_callback, _grow_memory_callback
    if _state.aliased is not None:
        result.env, result.finalizer = _state.aliased, ffi.NULL
        return ffi.NULL
    try:
        region = creator.region(minimum, max(minimum, min(maximum, reserved)))
    except MemoryError as error:
        return creator.new_error(str(error))
    handle = ffi.new_handle(region)
    _hold(handle)
    result.env, result.finalizer = handle, _finalizer
    return ffi.NULL


def _again(_kind: type[BaseException], error: BaseException, traceback: TracebackType) -> Any:
    """Repeats a callback that a signal handler's exception ended, such as Ctrl-C's.

    wasmtime would abort the process for want of a result. ``raise_postponed`` raises it later.
    """
    _state.postponed = error
    frame = traceback.tb_frame
    callbacks = {each.__code__: each for each in (_get_memory, _grow_memory, _new_memory)}
    names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
    return callbacks[frame.f_code](*[frame.f_locals[name] for name in names])


_get_memory_callback: Any = ffi.callback("get_memory_callback_t", _get_memory, onerror=_again)
_grow_memory_callback: Any = ffi.callback("grow_memory_callback_t", _grow_memory, onerror=_again)
_new_memory_callback: Any = ffi.callback("new_memory_callback_t", _new_memory, onerror=_again)
_finalizer: Any = ffi.callback("void(void *)", _let_go)
