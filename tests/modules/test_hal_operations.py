"""HAL operations that compiled models seldom use, called one by one.

Expected values are those of IREE's runtime 3.13 on the same module where it survives the call,
and of the operations' own definition otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import iree_wasm_hal as iwh

LoadWasm = Callable[..., iwh.Module]

SOURCE = """
util.func private @device() -> !hal.device {
  %c0 = arith.constant 0 : index
  %device = hal.devices.get %c0 : !hal.device
  util.return %device : !hal.device
}
// Buffers.
util.func public @buffer_ops(%view: !hal.buffer_view) -> (i32, i32, i64, !hal.buffer_view) {
  %c0 = arith.constant 0 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  %buffer = hal.buffer_view.buffer<%view : !hal.buffer_view> : !hal.buffer
  %a = hal.buffer.load<%buffer : !hal.buffer>[%c4] : i32
  %b = hal.buffer.load<%buffer : !hal.buffer>[%c8] : i8
  %b32 = arith.extui %b : i8 to i32
  %sub = hal.buffer.subspan<%buffer : !hal.buffer>[%c4, %c8] : !hal.buffer
  %length = hal.buffer.length<%sub : !hal.buffer> : index
  %l64 = arith.index_cast %length : index to i64
  %c77 = arith.constant 77 : i32
  hal.buffer.store<%sub : !hal.buffer>[%c0] value(%c77 : i32)
  %c2 = arith.constant 2 : index
  %type = hal.element_type<i32> : i32
  %enc = hal.encoding_type<dense_row_major> : i32
  %result = hal.buffer_view.create buffer(%sub : !hal.buffer)[%c0, %c8] shape([%c2])
      type(%type) encoding(%enc) : !hal.buffer_view
  util.return %a, %b32, %l64, %result : i32, i32, i64, !hal.buffer_view
}
util.func public @view_ops(%view: !hal.buffer_view) -> (i32, i32, i32, i64, i64) {
  %t = hal.buffer_view.element_type<%view : !hal.buffer_view> : i32
  %e = hal.buffer_view.encoding_type<%view : !hal.buffer_view> : i32
  %r = hal.buffer_view.rank<%view : !hal.buffer_view> : index
  %d0 = hal.buffer_view.dim<%view : !hal.buffer_view>[0] : index
  %d1 = hal.buffer_view.dim<%view : !hal.buffer_view>[1] : index
  %r32 = arith.index_cast %r : index to i32
  %d064 = arith.index_cast %d0 : index to i64
  %d164 = arith.index_cast %d1 : index to i64
  util.return %t, %e, %r32, %d064, %d164 : i32, i32, i32, i64, i64
}
util.func public @trace(%view: !hal.buffer_view) {
  hal.buffer_view.trace "my key" = %view : !hal.buffer_view
  util.return
}
util.func public @ownership(%view: !hal.buffer_view) -> (i32, i32, i32, i32) {
  %buffer = hal.buffer_view.buffer<%view : !hal.buffer_view> : !hal.buffer
  %t0 = hal.buffer.allocation.is_terminal<%buffer : !hal.buffer> : i1
  hal.buffer.allocation.preserve<%buffer : !hal.buffer>
  %t1 = hal.buffer.allocation.is_terminal<%buffer : !hal.buffer> : i1
  %d0 = hal.buffer.allocation.discard<%buffer : !hal.buffer> : i1
  %d1 = hal.buffer.allocation.discard<%buffer : !hal.buffer> : i1
  %0 = arith.extui %t0 : i1 to i32
  %1 = arith.extui %t1 : i1 to i32
  %2 = arith.extui %d0 : i1 to i32
  %3 = arith.extui %d1 : i1 to i32
  util.return %0, %1, %2, %3 : i32, i32, i32, i32
}
util.func public @queue_ops() -> (!hal.buffer_view, i32) {
  %device = util.call @device() : () -> !hal.device
  %affinity = arith.constant -1 : i64
  %null = util.null : !hal.fence
  %c0 = arith.constant 0 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  %c16 = arith.constant 16 : index
  %c32 = arith.constant 32 : index
  %pool = arith.constant 0 : i64
  %type_bits = hal.memory_type<"HostVisible|DeviceVisible|DeviceLocal"> : i32
  %usage_bits = hal.buffer_usage<"TransferSource|TransferTarget|Mapping"> : i32
  %memory, %q = hal.allocator.select from([(%device, %affinity : !hal.device, i64)])
      type(%type_bits) usage(%usage_bits) : !hal.device, i64
  %f0 = hal.fence.create device(%memory : !hal.device) flags("None") : !hal.fence
  %transient = hal.device.queue.alloca<%memory : !hal.device> affinity(%q) wait(%null)
      signal(%f0) pool(%pool) type(%type_bits) usage(%usage_bits) flags("None") :
      !hal.buffer{%c32}
  %f1 = hal.fence.create device(%memory : !hal.device) flags("None") : !hal.fence
  %pattern = arith.constant 305419896 : i32
  hal.device.queue.fill<%memory : !hal.device> affinity(%q) wait(%f0) signal(%f1)
      target(%transient : !hal.buffer)[%c0] length(%c32) pattern(%pattern : i32) flags("None")
  %f2 = hal.fence.create device(%memory : !hal.device) flags("None") : !hal.fence
  %data = util.buffer.constant : !util.buffer = dense<[1, 2, 3, 4]> : tensor<4xi32>
  %dl = util.buffer.size %data : !util.buffer
  hal.device.queue.update<%memory : !hal.device> affinity(%q) wait(%f1) signal(%f2)
      source(%data : !util.buffer)[%c0] target(%transient : !hal.buffer)[%c8] length(%c8)
      flags("None")
  %allocator = hal.device.allocator<%memory : !hal.device> : !hal.allocator
  %result = hal.allocator.allocate<%allocator : !hal.allocator> affinity(%q) type(%type_bits)
      usage(%usage_bits) : !hal.buffer{%c16}
  %f3 = hal.fence.create device(%memory : !hal.device) flags("None") : !hal.fence
  hal.device.queue.copy<%memory : !hal.device> affinity(%q) wait(%f2) signal(%f3)
      source(%transient : !hal.buffer)[%c4] target(%result : !hal.buffer)[%c0] length(%c16)
      flags("None")
  %f4 = hal.fence.create device(%memory : !hal.device) flags("None") : !hal.fence
  hal.device.queue.dealloca<%memory : !hal.device> affinity(%q) wait(%f3) signal(%f4)
      buffer(%transient : !hal.buffer) flags("None")
  %f5 = hal.fence.create device(%memory : !hal.device) flags("None") : !hal.fence
  %joined = hal.fence.join at([%f3, %f4]) flags("None") -> !hal.fence
  hal.device.queue.barrier<%memory : !hal.device> affinity(%q) wait(%joined) signal(%f5)
      flags("None")
  hal.device.queue.flush<%memory : !hal.device> affinity(%q)
  %timeout = arith.constant -1 : i32
  %status = hal.fence.await until([%f5]) timeout_millis(%timeout) flags("None") : i32
  %type = hal.element_type<i32> : i32
  %enc = hal.encoding_type<dense_row_major> : i32
  %view = hal.buffer_view.create buffer(%result : !hal.buffer)[%c0, %c16] shape([%c4])
      type(%type) encoding(%enc) : !hal.buffer_view
  util.return %view, %status : !hal.buffer_view, i32
}
util.func public @fences(%code: i32) -> (i32, i32, i32) {
  %device = util.call @device() : () -> !hal.device
  %f = hal.fence.create device(%device : !hal.device) flags("None") : !hal.fence
  %before = hal.fence.query<%f : !hal.fence> : i32
  %c10 = arith.constant 10 : i32
  %timeout = hal.fence.await until([%f]) timeout_millis(%c10) flags("None") : i32
  hal.fence.fail<%f : !hal.fence> status(%code)
  %after = hal.fence.query<%f : !hal.fence> : i32
  util.return %before, %timeout, %after : i32, i32, i32
}
util.func public @signal(%f: !hal.fence) -> (i32, i32) {
  %before = hal.fence.query<%f : !hal.fence> : i32
  hal.fence.signal<%f : !hal.fence>
  %after = hal.fence.query<%f : !hal.fence> : i32
  util.return %before, %after : i32, i32
}
util.func public @await(%f: !hal.fence) -> i32 {
  %timeout = arith.constant 20 : i32
  %status = hal.fence.await until([%f]) timeout_millis(%timeout) flags("None") : i32
  util.return %status : i32
}
util.func public @from_memory(%buffer: !util.buffer) -> !hal.buffer_view {
  %device = util.call @device() : () -> !hal.device
  %affinity = arith.constant -1 : i64
  %c0 = arith.constant 0 : index
  %c0_i64 = arith.constant 0 : i64
  %c2 = arith.constant 2 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  %flags = arith.constant 0 : i32
  %file = hal.ex.file.from_memory device(%device : !hal.device) affinity(%affinity) access(Read)
      buffer(%buffer : !util.buffer)[%c4 for %c8] flags(%flags) : !hal.file
  %allocator = hal.device.allocator<%device : !hal.device> : !hal.allocator
  %type_bits = hal.memory_type<"HostVisible|DeviceVisible|DeviceLocal"> : i32
  %usage_bits = hal.buffer_usage<"TransferSource|TransferTarget|Mapping"> : i32
  %target = hal.allocator.allocate<%allocator : !hal.allocator> affinity(%affinity)
      type(%type_bits) usage(%usage_bits) : !hal.buffer{%c8}
  %null = util.null : !hal.fence
  %f = hal.fence.create device(%device : !hal.device) flags("None") : !hal.fence
  hal.device.queue.read<%device : !hal.device> affinity(%affinity) wait(%null) signal(%f)
      source(%file : !hal.file)[%c0_i64] target(%target : !hal.buffer)[%c0] length(%c8)
      flags("None")
  %timeout = arith.constant -1 : i32
  %status = hal.fence.await until([%f]) timeout_millis(%timeout) flags("None") : i32
  util.status.check_ok %status, "await"
  %type = hal.element_type<i32> : i32
  %enc = hal.encoding_type<dense_row_major> : i32
  %view = hal.buffer_view.create buffer(%target : !hal.buffer)[%c0, %c8] shape([%c2])
      type(%type) encoding(%enc) : !hal.buffer_view
  util.return %view : !hal.buffer_view
}
util.func public @import(%buffer: !util.buffer) -> i32 {
  %device = util.call @device() : () -> !hal.device
  %affinity = arith.constant -1 : i64
  %c0 = arith.constant 0 : index
  %c8 = arith.constant 8 : index
  %allocator = hal.device.allocator<%device : !hal.device> : !hal.allocator
  %type_bits = hal.memory_type<"HostVisible|DeviceVisible|DeviceLocal"> : i32
  %usage_bits = hal.buffer_usage<"TransferSource|SharingImmutable"> : i32
  %ok, %imported = hal.allocator.import<%allocator : !hal.allocator>
      source(%buffer : !util.buffer)[%c0, %c8] affinity(%affinity) type(%type_bits)
      usage(%usage_bits) : i1, !hal.buffer
  %0 = arith.extui %ok : i1 to i32
  util.return %0 : i32
}
util.func public @assert_buffer(%view: !hal.buffer_view, %minimum: i32) {
  %device = util.call @device() : () -> !hal.device
  %allocator = hal.device.allocator<%device : !hal.device> : !hal.allocator
  %buffer = hal.buffer_view.buffer<%view : !hal.buffer_view> : !hal.buffer
  %length = arith.index_cast %minimum : i32 to index
  hal.buffer.assert<%buffer : !hal.buffer> message("tensor") allocator(%allocator :
      !hal.allocator)
      minimum_length(%length) type(DeviceVisible) usage(TransferSource)
  util.return
}
util.func public @query() -> (i32, i64, i32, i64, i32, i64) {
  %device = util.call @device() : () -> !hal.device
  %ok0, %v0 = hal.device.query<%device : !hal.device> key("hal.device.id" :: "*") : i1, i64
  %ok1, %v1 = hal.device.query<%device : !hal.device> key("hal.device.id" :: "vulkan") : i1, i64
  %ok2, %v2 = hal.device.query<%device : !hal.device> key("no.such" :: "thing") : i1, i64
  %0 = arith.extui %ok0 : i1 to i32
  %1 = arith.extui %ok1 : i1 to i32
  %2 = arith.extui %ok2 : i1 to i32
  util.return %0, %v0, %1, %v1, %2, %v2 : i32, i64, i32, i64, i32, i64
}
util.func public @devices() -> (i64, i32) {
  %n = hal.devices.count : index
  %n64 = arith.index_cast %n : index to i64
  %device = hal.devices.get %n : !hal.device
  %null = util.null : !hal.device
  %eq = util.cmp.eq %device, %null : !hal.device
  %eq32 = arith.extui %eq : i1 to i32
  util.return %n64, %eq32 : i64, i32
}
util.func public @assert_view(%view: !hal.buffer_view) {
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %type = hal.element_type<f32> : i32
  %enc = hal.encoding_type<dense_row_major> : i32
  hal.buffer_view.assert<%view : !hal.buffer_view> message("the input") shape([%c2, %c3])
      type(%type) encoding(%enc)
  util.return
}
util.func public @commands(%in: !hal.buffer_view) -> !hal.buffer_view {
  %device = util.call @device() : () -> !hal.device
  %affinity = arith.constant -1 : i64
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  %c16 = arith.constant 16 : index
  %buffer = hal.buffer_view.buffer<%in : !hal.buffer_view> : !hal.buffer
  %cmd = hal.command_buffer.create device(%device : !hal.device) mode("None")
      categories("Transfer|Dispatch") affinity(%affinity) bindings(%c1) : !hal.command_buffer
  hal.command_buffer.begin_debug_group<%cmd : !hal.command_buffer> label("group")
  %pattern = arith.constant 9 : i16
  hal.command_buffer.fill_buffer<%cmd : !hal.command_buffer> target(%c0 : index)[%c0, %c8]
      pattern(%pattern : i16) flags("None")
  %data = util.buffer.constant : !util.buffer = dense<[7, 8]> : tensor<2xi32>
  %dl = util.buffer.size %data : !util.buffer
  hal.command_buffer.update_buffer<%cmd : !hal.command_buffer> source(%data :
      !util.buffer{%dl})[%c4] target(%c0 : index)[%c8] length(%c4) flags("None")
  hal.command_buffer.execution_barrier<%cmd : !hal.command_buffer> source("Transfer")
      target("Transfer") flags("None")
  hal.command_buffer.copy_buffer<%cmd : !hal.command_buffer> source(%c0 : index)[%c8]
      target(%c0 : index)[%c4] length(%c4) flags("None")
  hal.command_buffer.end_debug_group<%cmd : !hal.command_buffer>
  hal.command_buffer.finalize<%cmd : !hal.command_buffer>
  %null = util.null : !hal.fence
  %f = hal.fence.create device(%device : !hal.device) flags("None") : !hal.fence
  hal.device.queue.execute.indirect<%device : !hal.device> affinity(%affinity) wait(%null)
      signal(%f) commands(%cmd) bindings([(%buffer : !hal.buffer)[%c0, %c16]]) flags("None")
  %timeout = arith.constant -1 : i32
  %status = hal.fence.await until([%f]) timeout_millis(%timeout) flags("None") : i32
  util.status.check_ok %status, "await"
  util.return %in : !hal.buffer_view
}
"""
X = np.arange(6, dtype=np.int32)


@pytest.fixture
def module(load_wasm: LoadWasm) -> iwh.Module:
    return load_wasm(SOURCE)


def test_buffers(module: iwh.Module) -> None:
    loaded, byte, length, view = module.buffer_ops(X)
    assert (loaded, byte, length) == (1, 2, 8)
    np.testing.assert_array_equal(view, [77, 2])


def test_buffer_views(module: iwh.Module) -> None:
    assert module.view_ops(X.reshape(2, 3)) == (0x11000020, 1, 2, 2, 3)
    assert module.view_ops(X.astype(np.float32))[2:] == (1, 6, 0)


def test_ownership(module: iwh.Module) -> None:
    assert module.ownership(X) == (1, 0, 0, 1)


def test_queue_operations_are_ordered_by_their_fences(module: iwh.Module) -> None:
    view, status = module.queue_ops()
    assert status == 0
    np.testing.assert_array_equal(view, [0x12345678, 1, 2, 0x12345678])


def test_fences(module: iwh.Module) -> None:
    deferred, deadline_exceeded = 17, 4
    for code in (1, 7, 15):
        assert module.fences(code) == (deferred, deadline_exceeded, code)
    fence = iwh.Fence()
    assert module.signal(fence) == (deferred, 0)
    assert fence.is_reached
    with pytest.raises(iwh.InvocationError, match="cannot be signalled"):
        module.signal(fence)


def test_await_blocks_until_another_thread_signals(module: iwh.Module) -> None:
    fence = iwh.Fence()
    assert module["await"](fence) == 4
    timer = threading.Timer(0.001, fence.signal)
    timer.start()
    fence.wait(10)
    assert module["await"](fence) == 0
    timer.join()
    failed = iwh.Fence()
    failed.fail(iwh.InvocationError("gone", status="DATA_LOSS"))
    with pytest.raises(iwh.InvocationError, match="gone"):
        module["await"](failed)


def test_device_queries(module: iwh.Module) -> None:
    assert module.query() == (1, 1, 1, 0, 0, 0)
    assert module.devices() == (1, 1)


def test_files_over_host_memory(module: iwh.Module) -> None:
    np.testing.assert_array_equal(module.from_memory(X.tobytes()), [1, 2])
    with pytest.raises(iwh.InvocationError, match="OUT_OF_RANGE"):
        module.from_memory(b"12345678")


def test_host_memory_is_never_mapped(module: iwh.Module) -> None:
    assert module["import"](bytes(8)) == 0


def test_command_buffers_with_a_binding_table(module: iwh.Module) -> None:
    result = module.commands(np.arange(4, dtype=np.int32))
    np.testing.assert_array_equal(result, [0x00090009, 8, 8, 3])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 4), np.float32), "the input: expected 2x3xf32, got 2x4xf32"),
        (np.zeros(6, np.float32), "the input: expected 2x3xf32, got 6xf32"),
        (np.float32(0), "the input: expected 2x3xf32, got f32"),
        (np.zeros((2, 3), np.int32), "the input: expected 2x3xf32, got 2x3xsi32"),
    ],
)
def test_failed_view_assertions(module: iwh.Module, array: Any, message: str) -> None:
    with pytest.raises(iwh.ArgumentError, match=message) as caught:
        module.assert_view(array)
    assert isinstance(caught.value, iwh.InvocationError)
    assert caught.value.status == "INVALID_ARGUMENT"
    assert module.assert_view(np.zeros((2, 3), np.float32)) is None


def test_failed_buffer_assertions(module: iwh.Module) -> None:
    assert module.assert_buffer(X, 24) is None
    with pytest.raises(iwh.InvocationError, match="tensor: expected a buffer of at least 25 bytes"):
        module.assert_buffer(X, 25)


def test_wrong_refs_are_refused(module: iwh.Module) -> None:
    for name in ("buffer_ops", "view_ops", "trace", "ownership", "commands", "assert_view"):
        for wrong in (iwh.Fence(), None):
            with pytest.raises(iwh.InvocationError, match=r"expected a hal\.buffer_view, got"):
                module[name](wrong)
    with pytest.raises(iwh.InvocationError, match=r"expected a hal\.fence, got"):
        module.signal(X)


def test_traces_go_to_standard_error(
    load_wasm: LoadWasm, capfd: pytest.CaptureFixture[str]
) -> None:
    load_wasm(SOURCE).trace(X.reshape(2, 3))
    assert capfd.readouterr().err == "=== my key ===\n2x3xsi32=[0 1 2][3 4 5]\n\n"


def test_traces_go_to_a_sink(load_wasm: LoadWasm) -> None:
    seen = []
    module = load_wasm(SOURCE, trace_sink=lambda key, views: seen.append((key, views)))
    module.trace(X)
    ((key, (view,)),) = seen
    assert key == "my key"
    np.testing.assert_array_equal(view.to_numpy(), X)
