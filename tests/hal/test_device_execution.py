"""Command buffers on a real engine, compared with numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from iree_wasm_hal.errors import InvocationError
from iree_wasm_hal.hal.buffer import WHOLE_BUFFER
from iree_wasm_hal.hal.command_buffer import CommandBufferMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.hal.buffer import Buffer
    from iree_wasm_hal.hal.device import Device
    from iree_wasm_hal.hal.executable import Executable

F32 = np.dtype("float32")
U8 = np.dtype("uint8")
A = np.array([1, 2, 3, 4], F32)
B = np.array([10, 20, 30, 40], F32)

MATMUL = """
func.func @main(%a: tensor<24x40xf32>, %b: tensor<40x56xf32>) -> tensor<24x56xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<24x56xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<24x56xf32>) -> tensor<24x56xf32>
  %0 = linalg.matmul ins(%a, %b : tensor<24x40xf32>, tensor<40x56xf32>)
                     outs(%init : tensor<24x56xf32>) -> tensor<24x56xf32>
  return %0 : tensor<24x56xf32>
}
"""


def zeros(device: Device, byte_length: int) -> Buffer:
    return device.allocator.upload(np.zeros(byte_length, U8))


def add_executable(device: Device, add_kernel: bytes) -> Executable:
    return device.prepare_executable("system-wasm-wasm_32", add_kernel)


def test_reusable_command_buffer_with_a_binding_table(device: Device, add_kernel: bytes) -> None:
    executable = add_executable(device, add_kernel)
    assert [e.binding_count for e in executable.exports] == [3]
    recorded = device.create_command_buffer(binding_capacity=3)
    function = executable.lookup_function(executable.exports[0].name)
    slots = [(slot, None, 0, 16) for slot in range(3)]
    recorded.dispatch(executable, function, (1, 1, 1), (), slots)
    recorded.finalize()
    a, b = device.allocator.upload(A), device.allocator.upload(B)
    for offset in (0, 16):
        out = zeros(device, 32)
        bindings = [(a, 0, 16), (b, 0, WHOLE_BUFFER), (out, offset, 16)]
        device.queue_execute(None, None, recorded, bindings)
        result = out.ndarray((8,), F32)
        np.testing.assert_array_equal(result[offset // 4 : offset // 4 + 4], A + B)
        np.testing.assert_array_equal(result[4 - offset // 4 : 8 - offset // 4], 0)
    statistics = device.statistics
    assert statistics.submissions == statistics.engine_calls == statistics.dispatches == 2
    assert statistics.host_transfers == 0
    assert statistics.bytes_to_device == 32 + 64
    assert statistics.bytes_from_device == 0


def test_one_shot_with_direct_buffers_in_vm_form(device: Device, add_kernel: bytes) -> None:
    executable = add_executable(device, add_kernel)
    recorded = device.create_command_buffer(CommandBufferMode.ONE_SHOT)
    a, b = device.allocator.upload(A), device.allocator.upload(np.concatenate([A, B]))
    out = zeros(device, 16)
    bindings = [(0, 0, a, 0, 16), (0, 0, b, 16, WHOLE_BUFFER), (0, 0, out, 0, 16)]
    recorded.dispatch(executable, 0, (1, 1, 1), (), bindings)
    recorded.finalize()
    device.queue_execute(None, None, recorded)
    np.testing.assert_array_equal(out.ndarray((4,), F32), A + B)
    with pytest.raises(InvocationError, match="second execution of a one-shot"):
        device.queue_execute(None, None, recorded)


def test_constants_outlive_their_buffers_in_a_command_buffer(
    device: Device, add_kernel: bytes
) -> None:
    executable = add_executable(device, add_kernel)
    recorded = device.create_command_buffer(binding_capacity=1)
    a, b = device.allocator.upload(A), device.allocator.upload(B)
    direct = [(0, a, 0, 16), (0, b, 0, 16), (0, None, 0, 16)]
    recorded.dispatch(executable, 0, (1, 1, 1), (), direct)
    recorded.finalize()
    used = device.allocator.statistics.used
    del a, b, direct, executable
    assert device.allocator.statistics.used == used
    noise = [device.allocator.upload(np.full(4, 99, F32)) for _ in range(8)]
    out = zeros(device, 16)
    device.queue_execute(None, None, recorded, [(out, 0, 16)])
    np.testing.assert_array_equal(out.ndarray((4,), F32), A + B)
    del recorded, noise
    # Stream, static data and both inputs are gone; the output and two worker blocks stay.
    assert device.allocator.statistics.used < used


def test_transfer_commands_and_barriers(device: Device) -> None:
    rng = np.random.default_rng(1)
    source = rng.integers(0, 255, 256, U8)
    update = rng.integers(0, 255, 33, U8)
    recorded = device.create_command_buffer(binding_capacity=2)
    recorded.begin_debug_group("transfers")
    recorded.fill_buffer(None, 1, 0, 256, 0xAABBCCDD, 4)
    recorded.execution_barrier()
    recorded.fill_buffer(None, 1, 6, 4, -2, 2)
    recorded.copy_buffer(None, 0, 3, None, 1, 100, 50)
    recorded.update_buffer(memoryview(update.tobytes()), None, 1, 200)
    recorded.execution_barrier()
    recorded.copy_buffer(None, 1, 200, None, 1, 1, 5)
    recorded.advise_buffer(None, 1)
    recorded.end_debug_group()
    recorded.finalize()
    target = zeros(device, 256)
    source_buffer = device.allocator.upload(source)
    bindings = [(source_buffer, 0, 256), (target, 0, 256)]
    device.queue_execute(None, None, recorded, bindings)
    expected = np.full(64, 0xAABBCCDD, "<u4").view(U8).copy()
    expected[6:10] = np.full(2, 0xFFFE, "<u2").view(U8)
    expected[100:150] = source[3:53]
    expected[200:233] = update
    expected[1:6] = update[:5]
    np.testing.assert_array_equal(target.ndarray((256,), U8), expected)
    assert device.statistics.engine_calls == 1
    assert device.statistics.dispatches == 0


def test_queue_transfers(device: Device) -> None:
    a = zeros(device, 64)
    device.queue_fill(None, None, a, 8, 16, 0x0102, 2)
    device.queue_update(None, None, b"hello", a, 40)
    device.queue_copy(None, None, a, 40, a, 42, 5)  # overlaps
    device.queue_fill(None, None, a, 56, WHOLE_BUFFER, -1, 8)
    expected = np.zeros(64, U8)
    expected[8:24] = np.full(8, 0x0102, "<u2").view(U8)
    expected[40:47] = list(b"hehello")
    expected[56:] = 255
    np.testing.assert_array_equal(a.ndarray((64,), U8), expected)
    assert device.statistics.host_transfers == 4
    assert device.statistics.submissions == device.statistics.engine_calls == 0


def test_matmul(device: Device, compile_kernels: Callable[..., list[bytes]]) -> None:
    # Without distribution the whole of it is one workgroup.
    (kernel,) = compile_kernels(MATMUL, "--iree-llvmcpu-disable-distribution")
    executable = device.prepare_executable("system-wasm-wasm_32", kernel)
    rng = np.random.default_rng(2)
    a = rng.standard_normal((24, 40)).astype(F32)
    b = rng.standard_normal((40, 56)).astype(F32)
    buffers = [device.allocator.upload(x) for x in (a, b, np.zeros((24, 56), F32))]
    recorded = device.create_command_buffer(binding_capacity=3)
    bindings = [(slot, None, 0, WHOLE_BUFFER) for slot in range(3)]
    recorded.dispatch(executable, 0, (1, 1, 1), (), bindings)
    recorded.finalize()
    device.queue_execute(None, None, recorded, [(x, 0, WHOLE_BUFFER) for x in buffers])
    np.testing.assert_allclose(buffers[2].ndarray((24, 56), F32), a @ b, rtol=1e-4, atol=1e-5)


def test_indirect_dispatch_reads_the_workgroup_count_when_it_runs(
    device: Device, load_hand_made: Callable[..., Executable], hand_kernel: Any
) -> None:
    body = """(local $p i32)
      (local.set $p (call $binding (local.get $dispatch) (i32.const 0)))
      (i32.store (local.get $p) (i32.add (i32.const 1) (i32.load (local.get $p))))
      (i32.const 0)"""
    executable = load_hand_made({"count": hand_kernel(body, binding_count=1)})
    workgroups = device.allocator.upload(np.array([9, 2, 3, 4], "<u4"))
    out = zeros(device, 4)
    recorded = device.create_command_buffer(binding_capacity=2)
    recorded.dispatch_indirect(executable, 0, None, 1, 4, (), [(0, None, 0, 4)])
    recorded.execution_barrier()
    recorded.dispatch_indirect(executable, 0, workgroups, 0, 0, (), [(0, out, 0, WHOLE_BUFFER)])
    recorded.finalize()
    table = [(out, 0, WHOLE_BUFFER), (workgroups, 0, WHOLE_BUFFER)]
    device.queue_execute(None, None, recorded, table)
    assert out.load(0, 4) == 2 * 3 * 4 + 9 * 2 * 3
    workgroups.store(0, 8, 4)
    device.queue_execute(None, None, recorded, table)
    assert out.load(0, 4) == 2 * 3 * 4 + 9 * 2 * 3
    with pytest.raises(InvocationError, match="expected a multiple of 4"):
        device.create_command_buffer().dispatch_indirect(executable, 0, workgroups, 0, 2)


def test_two_executables_in_one_command_buffer(
    device: Device, add_kernel: bytes, load_hand_made: Callable[..., Executable], hand_kernel: Any
) -> None:
    adder = add_executable(device, add_kernel)
    doubler = load_hand_made(
        {
            "double": hand_kernel(
                """(local $p i32)
                (local.set $p (call $binding (local.get $dispatch) (i32.const 0)))
                (f32.store (local.get $p) (f32.mul (f32.const 2) (f32.load (local.get $p))))
                (i32.const 0)""",
                binding_count=1,
            )
        }
    )
    a, b, c = (device.allocator.upload(x) for x in (A, B, np.zeros(4, F32)))
    recorded = device.create_command_buffer()
    for _ in range(3):
        recorded.dispatch(adder, 0, (1, 1, 1), (), [(0, a, 0, 16), (0, b, 0, 16), (0, c, 0, 16)])
        recorded.execution_barrier()
        recorded.dispatch(doubler, 0, (1, 1, 1), (), [(0, c, 0, 16)])
        recorded.execution_barrier()
        recorded.copy_buffer(c, 0, 0, a, 0, 0, 16)
        recorded.execution_barrier()
    recorded.finalize()
    device.queue_execute(None, None, recorded)
    x = A.copy()
    for _ in range(3):
        x = x + B
        x[0] *= 2
    np.testing.assert_array_equal(a.ndarray((4,), F32), x)
    statistics = device.statistics
    assert statistics.submissions == 1
    assert statistics.dispatches == 6
    assert statistics.engine_calls == 1 + statistics.executable_switches == 6


def test_push_constants_workgroup_ids_and_local_memory(
    device: Device, load_hand_made: Callable[..., Executable], hand_kernel: Any
) -> None:
    body = """(local $x i32) (local $scratch i32)
      (local.set $x (i32.load (local.get $workgroup)))
      (local.set $scratch (i32.load offset=16 (local.get $workgroup)))
      (if (i32.lt_u (i32.load offset=20 (local.get $workgroup)) (i32.const 8192))
        (then (return (i32.const 3))))
      (i32.store offset=8188 (local.get $scratch)
        (i32.add (local.get $x) (call $constant (local.get $dispatch) (i32.const 1))))
      (i32.store
        (i32.add (call $binding (local.get $dispatch) (i32.const 0))
                 (i32.shl (local.get $x) (i32.const 2)))
        (i32.load offset=8188 (local.get $scratch)))
      (i32.const 0)"""
    kernel = hand_kernel(body, constant_count=2, binding_count=1, local_memory_pages=2)
    executable = load_hand_made({"ids": kernel})
    out = zeros(device, 400)
    recorded = device.create_command_buffer()
    recorded.dispatch(executable, 0, (100, 1, 1), (7, -50), [(0, out, 0, 400)])
    recorded.finalize()
    device.queue_execute(None, None, recorded)
    np.testing.assert_array_equal(
        out.ndarray((100,), np.dtype("int32")), np.arange(100, dtype=np.int32) - 50
    )


def test_specialization_constants_must_be_as_many_as_declared(
    device: Device, add_kernel: bytes
) -> None:
    with pytest.raises(Exception, match="takes 0 specialization constants, the program gave 2"):
        device.prepare_executable("system-wasm-wasm_32", add_kernel, bytes(8))


def test_wrong_bindings_are_named(device: Device, add_kernel: bytes) -> None:
    executable = add_executable(device, add_kernel)
    recorded = device.create_command_buffer(binding_capacity=3)
    recorded.dispatch(
        executable, 0, (1, 1, 1), (), [(slot, None, 4 * slot, 16) for slot in range(3)]
    )
    recorded.finalize()
    a = zeros(device, 64)
    good = (a, 0, 64)
    cases: list[tuple[list[Any], str]] = [
        ([good, good], "uses 3 binding table slots got 2"),
        ([good, good, (None, 0, 0)], "slot 2 needs a buffer of 24 bytes"),
        ([good, (a, 0, 16), good], "slot 1 has 16 bytes; the commands reach 20"),
        ([good, (a, 60, WHOLE_BUFFER), good], "slot 1 has 4 bytes"),
        ([good, (a, 60, 30), good], "range of 30 bytes at offset 60"),
        ([(a, -4, 30), good, good], "range of 30 bytes at offset -4"),
        ([(a, 65, WHOLE_BUFFER), good, good], "range of -1 bytes at offset 65"),
    ]
    for bindings, message in cases:
        with pytest.raises(InvocationError, match=message):
            device.queue_execute(None, None, recorded, bindings)
    assert device.statistics.engine_calls == 0


def test_wrong_recordings_are_refused(device: Device, add_kernel: bytes) -> None:
    executable = add_executable(device, add_kernel)
    a = zeros(device, 64)
    recorded = device.create_command_buffer(binding_capacity=1)
    direct = [(0, a, 0, 16)] * 3
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: recorded.dispatch(executable, 5, (1, 1, 1)), "function id 5 is out of range"),
        (lambda: recorded.dispatch(executable, -1, (1, 1, 1)), "function id -1 is out of range"),
        (lambda: recorded.dispatch(executable, 0, (1, 1, 1)), "got 0 and 0"),
        (
            lambda: recorded.dispatch(executable, 0, (1, 1, 1), (), [*direct[:2], (1, None, 0, 4)]),
            "slot 1 is out of range",
        ),
        (
            lambda: recorded.dispatch(executable, 0, (1, 1, 1), (), [*direct[:2], (0, a, 60, 8)]),
            "range of 8 bytes at offset 60",
        ),
        (lambda: recorded.fill_buffer(a, 0, 2, 8, 0, 4), "expected multiples of the pattern's 4"),
        (lambda: recorded.fill_buffer(a, 0, 0, 9, 0, 3), "fill pattern of 3 bytes"),
        (lambda: recorded.copy_buffer(a, 0, 0, a, 0, 60, 8), "range of 8 bytes at offset 60"),
        (recorded.end_debug_group, "without begin_debug_group"),
        (lambda: executable.lookup_function("nope"), "no function 'nope'; it has: main"),
        (lambda: device.queue_execute(None, None, recorded), "before finalize"),
    ]
    for attempt, message in cases:
        with pytest.raises(InvocationError, match=message):
            attempt()
    recorded.begin_debug_group("open")
    with pytest.raises(InvocationError, match="1 debug groups open"):
        recorded.finalize()
    recorded.end_debug_group()
    recorded.finalize()
    with pytest.raises(InvocationError, match="recording into a finalized"):
        recorded.execution_barrier()


def test_buffers_of_another_device_are_refused(
    device: Device, engine: Any, add_kernel: bytes
) -> None:
    other = type(device)(engine)
    foreign = zeros(other, 16)
    executable = add_executable(device, add_kernel)
    recorded = device.create_command_buffer(binding_capacity=1)
    direct = [(0, foreign, 0, 16)] * 3
    with pytest.raises(InvocationError, match="another device"):
        recorded.dispatch(executable, 0, (1, 1, 1), (), direct)
    with pytest.raises(InvocationError, match=r"executable '.*' of another device"):
        other.create_command_buffer().dispatch(executable, 0, (1, 1, 1), (), direct)
    recorded.fill_buffer(None, 0, 0, 16, 0, 4)
    recorded.finalize()
    with pytest.raises(InvocationError, match="another device"):
        device.queue_execute(None, None, recorded, [(foreign, 0, 16)])
    other.close()
