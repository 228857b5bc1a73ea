"""The first 64 KiB of a device's memory are unused, and no pointer of a kernel leads there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from low_memory import PatternedEngine, low_memory_unused

from iree_wasm_hal.engine import LOW_MEMORY_BYTE_LENGTH, Feature
from iree_wasm_hal.engine.known_engines import KNOWN_ENGINES
from iree_wasm_hal.errors import LimitError
from iree_wasm_hal.hal.device import Device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

U32 = np.dtype("<u4")

# Each kernel writes the pointers that it got to its first binding: environment, constants of it,
# dispatch state, its three arrays, workgroup state, workgroup-local memory, each binding, the
# stack pointer and the address of the module's static data.
_POINTERS = (
    "(local.get $env)",
    "(i32.load (local.get $env))",
    "(local.get $dispatch)",
    "(i32.load offset=24 (local.get $dispatch))",
    "(i32.load offset=28 (local.get $dispatch))",
    "(i32.load offset=32 (local.get $dispatch))",
    "(local.get $workgroup)",
    "(i32.load offset=16 (local.get $workgroup))",
    "(call $binding (local.get $dispatch) (i32.const 0))",
    "(call $binding (local.get $dispatch) (i32.const 1))",
    "(call $binding (local.get $dispatch) (i32.const 2))",
    "(i32.sub (global.get $sp) (i32.const 1048576))",  # as far as the stack may grow
    "(global.get $mb)",
)
_BODY = (
    "\n".join(
        f"(i32.store offset={4 * i} (call $binding (local.get $dispatch) (i32.const 0)) {pointer})"
        for i, pointer in enumerate(_POINTERS)
    )
    + "(i32.const 0)"
)


@pytest.fixture
def patterned(engine_name: str) -> Iterator[PatternedEngine]:
    with low_memory_unused(engine_name) as engine:
        yield engine


def _device(engine: PatternedEngine, threads: int = 1) -> Device:
    return Device(engine, threads=threads, max_memory_bytes=64 << 20)


def test_pointers_of_kernels_lie_above(
    patterned: PatternedEngine,
    engine_name: str,
    make_module: Callable[..., bytes],
    hand_kernel: Any,
) -> None:
    kernel = hand_kernel(_BODY, constant_count=1, binding_count=3, local_memory_pages=1)
    module = make_module({"pointers": kernel}, constant_count=1)
    device = _device(patterned, threads=2 if Feature.THREADS in KNOWN_ENGINES[engine_name] else 1)
    executable = device.prepare_executable("system-wasm-wasm_32", module, bytes(4))
    # An empty buffer has an address too, and the large one makes the memory grow.
    out = device.allocator.upload(np.zeros(len(_POINTERS), U32))
    empty = device.allocator.upload(np.zeros(0, U32))
    large = device.allocator.upload(np.zeros(8 << 20, np.uint8))
    for buffers in ([out, empty, large], [out, large, empty]):
        recorded = device.create_command_buffer()
        bindings = [(0, buffer, 0, buffer.byte_length) for buffer in buffers]
        recorded.dispatch(executable, 0, (3, 2, 1), [7], bindings)
        recorded.finalize()
        device.queue_execute(None, None, recorded)
        pointers = np.frombuffer(out.view(), U32)
        assert pointers.min() >= LOW_MEMORY_BYTE_LENGTH, dict(zip(_POINTERS, pointers, strict=True))
    device.close()


def test_commands_without_kernels_stay_above(patterned: PatternedEngine) -> None:
    device = _device(patterned)
    source = device.allocator.upload(np.arange(1000, dtype=U32))
    target = device.allocator.allocate_buffer(8000)
    recorded = device.create_command_buffer(binding_capacity=1)
    recorded.copy_buffer(source, 0, 0, None, 0, 0, 4000)
    recorded.fill_buffer(None, 0, 4000, 400, 0xAB, 1)
    recorded.update_buffer(b"12345678", None, 0, 4400)
    recorded.finalize()
    device.queue_execute(None, None, recorded, [(target, 0, 8000)])
    device.queue_fill(None, None, target, 4408, 92, 0xCD, 1)
    expected = np.arange(1000, dtype=U32).tobytes() + b"\xab" * 400 + b"12345678" + b"\xcd" * 92
    assert bytes(target.view()[: len(expected)]) == expected
    device.close()


def test_all_memory_but_the_first_page_can_be_had(patterned: PatternedEngine) -> None:
    device = _device(patterned)
    available = device.allocator.statistics.limit - device.allocator.statistics.used
    everything = device.allocator.upload(np.ones(available, np.uint8))
    with pytest.raises(LimitError):
        device.allocator.allocate_buffer(1)
    del everything
    device.close()


def test_a_use_of_the_first_page_is_noticed() -> None:
    with low_memory_unused("wasmtime") as engine:
        device = _device(engine)
        device._memory.view[16:20] = bytes(4)
        with pytest.raises(AssertionError, match="4 bytes were written, first 0x10"):
            engine.check()
        device.close()
