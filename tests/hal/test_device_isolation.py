"""A device is one memory: what runs on one device reaches nothing of another."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import iree_wasm_hal as iwh
from iree_wasm_hal.hal.device import Device

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STATE = """
  util.global private mutable @sum = dense<0.0> : tensor<4xf32>
  func.func @accumulate(%a: tensor<4xf32>) -> tensor<4xf32> {
    %0 = util.global.load @sum : tensor<4xf32>
    %1 = arith.addf %0, %a : tensor<4xf32>
    util.global.store %1, @sum : tensor<4xf32>
    return %1 : tensor<4xf32>
  }
"""
SCALAR = "--iree-llvmcpu-target-cpu-features="
F4 = np.arange(4, dtype=np.float32)
# Overwrites all memory above its worker's stack.
SCRIBBLE = """(memory.fill (i32.const 1114112) (i32.const 0xAB)
    (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 1114112))) (i32.const 0)"""


def scribble(device: Device, module: bytes) -> None:
    executable = device.prepare_executable("system-wasm-wasm_32", module)
    recorded = device.create_command_buffer()
    recorded.dispatch(executable, executable.lookup_function("scribble"), (1, 1, 1), (), [])
    recorded.finalize()
    with contextlib.suppress(iwh.Error):  # it may notice that its own submission is overwritten
        device.queue_execute(None, None, recorded)


def test_a_kernel_that_overwrites_its_memory_harms_no_other_device(
    engine_name: str, compile_wasm: Callable[..., Path], make_module: Any, hand_kernel: Any
) -> None:
    archive = compile_wasm(STATE, SCALAR)
    hostile = make_module({"scribble": hand_kernel(SCRIBBLE)})
    engine = iwh.open_engine(engine_name)
    victim = iwh.load(archive, engine=engine)
    together = iwh.load(archive, engine=engine)
    for module in (victim, together):
        np.testing.assert_array_equal(module.accumulate(F4), F4)
    own = Device(engine, max_memory_bytes=64 << 20)
    scribble(own, hostile)
    np.testing.assert_array_equal(victim.accumulate(F4), F4 * 2)
    # And that it is the device that protects: on the victim's own the same kernel does harm.
    scribble(together.device, hostile)
    with contextlib.suppress(iwh.Error):
        assert not np.array_equal(together.accumulate(F4), F4 * 2)
    np.testing.assert_array_equal(victim.accumulate(F4), F4 * 3)
    own.close()
    for module in (victim, together):
        module.close()
    engine.close()


def test_each_load_has_a_device_unless_it_is_given_one(
    engine_name: str, compile_wasm: Callable[..., Path]
) -> None:
    archive = compile_wasm(STATE, SCALAR)
    engine = iwh.open_engine(engine_name)
    shared = Device(engine)
    alone = [iwh.load(archive, engine=engine) for _ in range(2)]
    together = [iwh.load(archive, device=shared) for _ in range(2)]
    modules = [*alone, *together]
    assert len({id(module.device) for module in modules}) == 3
    assert {module.device for module in together} == {shared}
    # Each module has state of its own, wherever it runs.
    for index, module in enumerate(modules):
        for count in range(1, index + 2):
            np.testing.assert_array_equal(module.accumulate(F4), F4 * count)
    for module in modules:
        module.close()
    assert not shared.is_closed, "it is the user's to close"
    shared.close()
    engine.close()


def test_buffers_pass_between_modules_of_a_device_without_a_copy(
    engine_name: str, compile_wasm: Callable[..., Path]
) -> None:
    archive = compile_wasm(STATE, SCALAR)
    engine = iwh.open_engine(engine_name)
    shared = Device(engine)
    first, second = (iwh.load(archive, device=shared) for _ in range(2))
    other = iwh.load(archive, engine=engine)
    (view,) = first.accumulate.call_raw(F4)
    uploaded = shared.statistics.bytes_to_device
    np.testing.assert_array_equal(second.accumulate(view), F4)
    assert shared.statistics.bytes_to_device == uploaded, "nothing was copied to the device"
    with pytest.raises(iwh.InvocationError, match=r"another device.*memory of its own"):
        other.accumulate(view)
    np.testing.assert_array_equal(other.accumulate(second.accumulate(F4)), F4 * 2)
    for module in (first, second, other):
        module.close()
    shared.close()
    engine.close()
