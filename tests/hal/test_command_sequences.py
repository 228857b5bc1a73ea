"""Random command buffers against a model on numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_wasm_hal.hal.device import Device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine.contract import Engine
    from iree_wasm_hal.hal.command_buffer import CommandBuffer
    from iree_wasm_hal.hal.executable import Executable

U8 = np.dtype("uint8")
SIZE = 96
COUNT = 3

# Adds constant 0 to the bytes of binding 0; the workgroups take turns, byte by byte.
ADD_TO_BYTES = """(local $at i32) (local $end i32) (local $step i32)
  (local.set $step (i32.mul (i32.load16_u offset=20 (local.get $dispatch))
    (i32.mul (i32.load offset=12 (local.get $dispatch))
      (i32.load offset=16 (local.get $dispatch)))))
  (local.set $at (i32.add (i32.load (local.get $workgroup))
    (i32.mul (i32.load offset=12 (local.get $dispatch))
      (i32.add (i32.load offset=4 (local.get $workgroup))
        (i32.mul (i32.load offset=16 (local.get $dispatch))
          (i32.load16_u offset=8 (local.get $workgroup)))))))
  (local.set $at (i32.add (local.get $at)
    (call $binding (local.get $dispatch) (i32.const 0))))
  (local.set $end (i32.add (call $binding (local.get $dispatch) (i32.const 0))
    (i32.load (i32.load offset=32 (local.get $dispatch)))))
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
    (i32.store8 (local.get $at) (i32.add (i32.load8_u (local.get $at))
      (call $constant (local.get $dispatch) (i32.const 0))))
    (local.set $at (i32.add (local.get $at) (local.get $step)))
    (br $next)))
  (i32.const 0)"""

offsets = st.integers(0, SIZE - 16)
buffers = st.integers(0, COUNT - 1)


@dataclass(frozen=True)
class Fill:
    buffer: int
    word: int
    pattern: int
    width: int

    def record(self, recorded: CommandBuffer, refs: Any) -> None:
        buffer, slot = refs[self.buffer]
        recorded.fill_buffer(buffer, slot, self.word * 8, 16, self.pattern, self.width)

    def apply(self, model: np.ndarray[Any, Any]) -> None:
        words = np.full(16 // self.width, self.pattern % 256**self.width, f"<u{self.width}")
        model[self.buffer, self.word * 8 :][:16] = words.view(U8)


@dataclass(frozen=True)
class Copy:
    source: int
    source_offset: int
    target: int
    target_offset: int
    byte_length: int

    def record(self, recorded: CommandBuffer, refs: Any) -> None:
        source, source_slot = refs[self.source]
        target, target_slot = refs[self.target]
        recorded.copy_buffer(
            source,
            source_slot,
            self.source_offset,
            target,
            target_slot,
            self.target_offset,
            self.byte_length,
        )

    def apply(self, model: np.ndarray[Any, Any]) -> None:
        data = model[self.source, self.source_offset :][: self.byte_length].copy()
        model[self.target, self.target_offset :][: self.byte_length] = data


@dataclass(frozen=True)
class Update:
    target: int
    byte_offset: int
    data: bytes

    def record(self, recorded: CommandBuffer, refs: Any) -> None:
        buffer, slot = refs[self.target]
        recorded.update_buffer(self.data, buffer, slot, self.byte_offset)

    def apply(self, model: np.ndarray[Any, Any]) -> None:
        model[self.target, self.byte_offset :][: len(self.data)] = np.frombuffer(self.data, U8)


@dataclass(frozen=True)
class Dispatch:
    target: int
    byte_offset: int
    byte_length: int
    addend: int
    workgroups: tuple[int, int, int]

    def record(self, recorded: CommandBuffer, refs: Any) -> None:
        buffer, slot = refs[self.target]
        executable = executables[self.addend % 2]
        binding = (slot, buffer, self.byte_offset, self.byte_length)
        recorded.dispatch(executable, 0, self.workgroups, (self.addend,), [binding])

    def apply(self, model: np.ndarray[Any, Any]) -> None:
        if 0 not in self.workgroups:
            part = model[self.target, self.byte_offset :][: self.byte_length]
            part += np.uint8(self.addend % 256)


executables: list[Executable] = []

commands = st.one_of(
    st.builds(
        Fill,
        buffers,
        st.integers(0, SIZE // 8 - 2),
        st.integers(-(1 << 63), (1 << 63) - 1),
        st.sampled_from([1, 2, 4, 8]),
    ),
    st.builds(Copy, buffers, offsets, buffers, offsets, st.integers(0, 16)),
    st.builds(Update, buffers, offsets, st.binary(max_size=16)),
    st.builds(
        Dispatch,
        buffers,
        offsets,
        st.integers(0, 16),
        st.integers(-(1 << 31), (1 << 31) - 1),
        st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 2)),
    ),
)


@pytest.fixture(scope="module", params=[1, 2, 4])
def threaded_device(
    request: pytest.FixtureRequest, engine: Engine, make_module: Any, hand_kernel: Any
) -> Iterator[Device]:
    device = Device(engine, threads=request.param, max_memory_bytes=64 << 20)
    kernels = {"add_to_bytes": hand_kernel(ADD_TO_BYTES, constant_count=1, binding_count=1)}
    executables[:] = [
        device.prepare_executable("system-wasm-wasm_32", make_module(kernels)) for _ in range(2)
    ]
    yield device
    executables.clear()
    device.close()


@settings(max_examples=400, deadline=None)
@given(
    sequence=st.lists(commands, max_size=12),
    direct=st.lists(st.booleans(), min_size=COUNT, max_size=COUNT),
    repeat=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_command_sequences_do_what_numpy_does(
    threaded_device: Device, sequence: list[Any], direct: list[bool], repeat: int, seed: int
) -> None:
    device = threaded_device
    model = np.random.default_rng(seed).integers(0, 256, (COUNT, SIZE), U8)
    hal_buffers = [device.allocator.upload(row) for row in model]
    guard = device.allocator.upload(np.zeros(4096, U8))
    recorded = device.create_command_buffer(binding_capacity=COUNT)
    refs = [(hal_buffers[i] if direct[i] else None, i) for i in range(COUNT)]
    for command in sequence:
        command.record(recorded, refs)
        recorded.execution_barrier()
    recorded.finalize()
    bindings = [(buffer, 0, SIZE) for buffer in hal_buffers]
    before = device.statistics
    for _ in range(repeat):
        device.queue_execute(None, None, recorded, bindings)
        for command in sequence:
            command.apply(model)
    for row, buffer in zip(model, hal_buffers, strict=True):
        np.testing.assert_array_equal(buffer.ndarray((SIZE,), U8), row)
    assert not guard.ndarray((4096,), U8).any()
    after = device.statistics
    assert after.submissions - before.submissions == repeat
    assert after.host_transfers == before.host_transfers
    calls = after.engine_calls - before.engine_calls
    switches = after.executable_switches - before.executable_switches
    if device.threads == 1:
        assert calls == (repeat if sequence else 0) + switches
    else:
        assert calls <= device.threads * repeat + switches
