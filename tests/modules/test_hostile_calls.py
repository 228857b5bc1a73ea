"""Native functions called with random operands of the right kinds: errors of ours, or success."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import iree_wasm_hal as iwh
from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.hal.file import File
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer
from iree_wasm_hal.vm.calling_convention import Span, parse_calling_convention
from iree_wasm_hal.vm.list import List
from iree_wasm_hal.vm.modules.check import CheckModule
from iree_wasm_hal.vm.modules.hal.channels import COLLECTIVES
from iree_wasm_hal.vm.modules.hal.module import HalModule
from iree_wasm_hal.vm.modules.io_parameters.module import IoParametersModule
from iree_wasm_hal.vm.modules.io_parameters.source import open_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from iree_wasm_hal.engine import Engine
    from iree_wasm_hal.vm.native import PyModule

SOURCE = """
  func.func @main(%a: tensor<16xf32>) -> tensor<16xf32> {
    %0 = arith.addf %a, %a : tensor<16xf32>
    return %0 : tensor<16xf32>
  }
"""
I32 = [0, 1, 2, 3, 4, 7, 8, 16, 31, 255, -1, -2, 2**31 - 1, -(2**31), 0x21000020, 0x10000020]
I64 = [*I32[:-2], 64, 100, 4096, 2**31, 2**32 - 1, 2**32, 2**63 - 1, -(2**63)]
CALLS_PER_FUNCTION = 250
MEMORY_LIMIT = 16 << 20


@pytest.fixture
def modules(engine: Engine) -> Iterator[list[PyModule]]:
    device = iwh.Device(engine, max_memory_bytes=MEMORY_LIMIT)
    indexes = open_parameters({"s": {"a": np.arange(64, dtype=np.int8)}})
    hal = HalModule(device, trace_sink=lambda key, views: None)
    yield [hal, IoParametersModule(indexes), CheckModule()]
    device.close()


def references(hal: PyModule, kernel: bytes) -> list[Any]:
    device = hal.lookup("devices.get", "0i_r")
    assert device is not None
    made: Any = device(0)
    buffer = made.allocator.upload(np.arange(64, dtype=np.int32))
    reached, failed = iwh.Fence(), iwh.Fence()
    reached.signal()
    failed.fail(iwh.InvocationError("failed before", status="ABORTED"))
    finalized = made.create_command_buffer()
    finalized.finalize()
    spans = np.array([0, 0, 8, 4, 8, 8], np.uint64).tobytes()
    return [
        None,
        made,
        made.allocator,
        buffer,
        buffer.subspan(4, 100),
        BufferView(buffer, (4, 4), 0x21000020),
        reached,
        failed,
        finalized,
        made.create_command_buffer(binding_capacity=3),
        made.prepare_executable("system-wasm-wasm_32", kernel),
        File.from_memory(bytes(64)),
        List(None),
        VmBuffer(b"system-wasm-wasm_32"),
        VmBuffer(b"s"),
        VmBuffer(b"\xff\xfe"),
        VmBuffer(spans),
        VmBuffer(np.array([0, 1, 0, 1], np.uint32).tobytes()),
        VmBuffer(bytearray(100), writable=True),
        VmBuffer(kernel),
    ]


class Caller:
    """Draws operands for calling conventions; results join the refs that may come next."""

    def __init__(self, refs: list[Any], seed: int) -> None:
        self._random = random.Random(seed)
        self._fixed = len(refs)
        self._refs = refs

    def _value(self, kind: str) -> Any:
        draw = self._random
        if kind == "i":
            return draw.choice(I32)
        if kind == "I":
            return draw.choice(I64)
        if kind in "fF":
            return draw.choice([0.0, 1e-4, -1.0, float("inf"), float("nan")])
        return draw.choice(self._refs)

    def _span(self, types: str) -> tuple[Any, ...]:
        count = self._random.choice([0, 1, 1, 2, 3, 5])
        if len(types) == 1:
            return tuple(self._value(types) for _ in range(count))
        return tuple(tuple(self._value(kind) for kind in types) for _ in range(count))

    def call(self, function: Callable[..., object], convention: str) -> None:
        parsed = parse_calling_convention(convention)
        arguments = [
            self._span(kind.types) if isinstance(kind, Span) else self._value(kind)
            for kind in parsed.arguments
        ]
        with contextlib.suppress(iwh.Error):
            result = function(*arguments)
            if parsed.results == "r" and result is not None:
                # Few of them: buffers keep linear memory.
                del self._refs[self._fixed + 10 :]
                self._refs.insert(self._fixed, result)


def test_random_operands(modules: list[PyModule], compile_wasm: Callable[..., Path]) -> None:
    rodata = iwh.BytecodeModule.from_bytes(compile_wasm(SOURCE).read_bytes()).archive.rodata
    kernel = next(bytes(data) for data in rodata if bytes(data[:4]) == b"\0asm")
    caller = Caller(references(modules[0], kernel), seed=20240229)
    for _ in range(CALLS_PER_FUNCTION):
        for module in modules:
            for (name, convention), function in module._functions.items():
                # A wait without end for a fence that nobody signals is no error.
                if (name, convention) not in COLLECTIVES and name != "fence.await":
                    caller.call(function, convention)
