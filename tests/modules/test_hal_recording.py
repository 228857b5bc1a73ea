"""Recording and queue imports called as the VM calls them, under every release's convention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

import iree_wasm_hal as iwh
from iree_wasm_hal.hal.file import File
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer
from iree_wasm_hal.vm.modules.hal.module import HalModule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from iree_wasm_hal.engine import Engine

SOURCE = """
  func.func @main(%a: tensor<256xf32>, %b: tensor<256xf32>) -> tensor<256xf32> {
    %0 = arith.addf %a, %b : tensor<256xf32>
    return %0 : tensor<256xf32>
  }
"""
DISPATCHES = ["0rriiiiICiDCiirIID_v", "0rrIiiiICiDCiirIID_v"]
INDIRECT_DISPATCHES = ["0rriirIICiDCiirIID_v", "0rrIirIICiDCiirIID_v"]
EXECUTE_INDIRECT = ("device.queue.execute.indirect", "0rIrrrICrIID_v")
A = np.arange(256, dtype=np.float32)
B = np.full(256, 0.5, np.float32)


class Hal:
    """The imports of one device by name; conventions are looked up where there is one only."""

    def __init__(self, engine: Engine, archive: Path) -> None:
        self.device = iwh.Device(engine)
        self._module = HalModule(self.device)
        rodata = iwh.BytecodeModule.from_bytes(archive.read_bytes()).archive.rodata
        self._kernel = next(bytes(data) for data in rodata if bytes(data[:4]) == b"\0asm")
        self.function_name = next(
            bytes(data) for data in rodata if bytes(data).startswith(b"main_dispatch_0")
        )

    def call(self, name: str, *arguments: Any, convention: str | None = None) -> Any:
        if convention is None:
            (convention,) = self._module.served_conventions(name)
        function = self._module.lookup(name, convention)
        assert function is not None
        return function(*arguments)

    def upload(self, array: npt.NDArray[Any]) -> Any:
        return self.device.allocator.upload(array)

    def executable(self) -> Any:
        return self.call(
            "executable.create",
            self.device,
            -1,
            VmBuffer(b"system-wasm-wasm_32"),
            VmBuffer(self._kernel),
            None,
        )

    def commands(self, slots: int = 0) -> Any:
        return self.call("command_buffer.create", self.device, 0, 3, -1, slots)

    def run(self, commands: Any, *bindings: tuple[Any, int, int]) -> None:
        self.call("command_buffer.finalize", commands)
        fence = self.call("fence.create", self.device, 0)
        if bindings:
            name, convention = EXECUTE_INDIRECT
            arguments = (self.device, -1, None, fence, commands, 0, bindings)
            self.call(name, *arguments, convention=convention)
        else:
            self.call("device.queue.execute", self.device, -1, None, fence, commands, 0)
        assert self.call("fence.await", -1, 0, (fence,)) == 0


@pytest.fixture
def hal(engine: Engine, compile_wasm: Callable[..., Path]) -> Iterator[Hal]:
    made = Hal(engine, compile_wasm(SOURCE))
    yield made
    made.device.close()


def values(buffer: Any, dtype: Any = np.float32) -> npt.NDArray[Any]:
    return np.frombuffer(buffer.read(), dtype)


@pytest.mark.parametrize("convention", DISPATCHES)
def test_dispatch(hal: Hal, convention: str) -> None:
    executable = hal.executable()
    function_id = hal.call("executable.lookup.function", executable, VmBuffer(hal.function_name))
    assert function_id == 0
    a, b, out = hal.upload(A), hal.upload(B), hal.upload(np.zeros(256, np.float32))
    commands = hal.commands()
    bindings = tuple((0, 0, buffer, 0, 1024) for buffer in (a, b, out))
    arguments = (commands, executable, function_id, 1, 1, 1, 0, (), bindings)
    hal.call("command_buffer.dispatch", *arguments, convention=convention)
    hal.call("command_buffer.execution_barrier", commands, 28, 13, 0)
    hal.run(commands)
    np.testing.assert_array_equal(values(out), A + B)


@pytest.mark.parametrize("convention", INDIRECT_DISPATCHES)
@pytest.mark.parametrize("in_table", [False, True])
def test_indirect_dispatch(hal: Hal, convention: str, in_table: bool) -> None:
    executable = hal.executable()
    a, b, out = hal.upload(A), hal.upload(B), hal.upload(np.zeros(256, np.float32))
    count = hal.upload(np.array([7, 7, 1, 1, 1], np.uint32))
    commands = hal.commands(slots=4)
    if in_table:
        bindings: tuple[Any, ...] = tuple((0, slot, None, 0, 1024) for slot in range(3))
        workgroups = (3, None)
    else:
        bindings = tuple((0, 0, buffer, 0, 1024) for buffer in (a, b, out))
        workgroups = (0, count)
    arguments = (commands, executable, 0, *workgroups, 8, 0, (), bindings)
    hal.call("command_buffer.dispatch.indirect", *arguments, convention=convention)
    table = [(buffer, 0, buffer.byte_length) for buffer in (a, b, out, count)]
    hal.run(commands, *(table if in_table else []))
    np.testing.assert_array_equal(values(out), A + B)


def test_transfers_and_hints(hal: Hal) -> None:
    buffer = hal.upload(np.zeros(8, np.int32))
    source = hal.upload(np.arange(8, dtype=np.int32))
    commands = hal.commands()
    hal.call("command_buffer.begin_debug_group", commands, VmBuffer(b"group"))
    hal.call("command_buffer.fill_buffer", commands, buffer, 0, 8, 0, 0x7F, 1, 0)
    hal.call(
        "command_buffer.update_buffer", commands, VmBuffer(b"012345678"), 1, buffer, 8, 8, 0, 0
    )
    hal.call("command_buffer.copy_buffer", commands, 0, 0, source, 4, buffer, 16, 12, 0)
    hal.call("command_buffer.advise_buffer", commands, buffer, 0, 0, 0, 0)
    for name in ("flush_buffer", "invalidate_buffer"):
        hal.call(f"command_buffer.{name}", commands, 0, buffer, 0, 32)
    hal.call("command_buffer.end_debug_group", commands)
    hal.run(commands)
    expected = b"\x7f" * 8 + b"12345678" + np.arange(1, 4, dtype=np.int32).tobytes() + bytes(4)
    assert buffer.read() == expected


def test_queue_transfers(hal: Hal, tmp_path: Path) -> None:
    buffer = hal.upload(np.arange(8, dtype=np.int32))
    path = tmp_path / "file"
    path.write_bytes(b"abcdefgh")
    with path.open("r+b") as opened:
        file = File.from_fd(opened.fileno(), access=3)
        hal.call("device.queue.write", hal.device, -1, None, None, buffer, 4, file, 2, 4, 0)
        hal.call("device.queue.read", hal.device, -1, None, None, file, 0, buffer, 0, 4, 0)
    assert path.read_bytes() == b"ab\x01\0\0\0gh"
    assert buffer.read(0, 4) == b"ab\x01\0"
    hal.call("device.queue.fill", hal.device, -1, None, None, buffer, 8, 8, 0x1234, 2, 0)
    assert buffer.read(8, 8) == b"\x34\x12" * 4
    update = (hal.device, -1, None, None, VmBuffer(b"xyz"), 1, buffer, 16, 2, 0)
    hal.call("device.queue.update", *update)
    assert buffer.read(16, 2) == b"yz"
    hal.call("device.queue.copy", hal.device, -1, None, None, buffer, 8, buffer, 20, 4, 0)
    assert buffer.read(20, 4) == b"\x34\x12" * 2
    hal.call("device.queue.flush", hal.device, -1)


def test_allocations(hal: Hal) -> None:
    wait, signal = iwh.Fence(), iwh.Fence()
    arguments = (hal.device, -1, wait, signal, 0, 48, 3, 100, 0)
    buffer = hal.call("device.queue.alloca", *arguments)
    assert buffer.byte_length == 100
    assert not signal.is_reached
    wait.signal()
    assert signal.is_reached
    hal.call("device.queue.dealloca", hal.device, -1, None, None, buffer, 0)
    with pytest.raises(iwh.InvocationError, match="after its queue dealloca"):
        buffer.read()
    with pytest.raises(iwh.InvocationError, match="unknown pool 100"):
        hal.call("device.queue.alloca", hal.device, -1, None, None, 100, 48, 3, 4, 0)
    assert hal.call("allocator.select", 48, 3, 0, ((hal.device, 5),)) == (hal.device, 5)
    with pytest.raises(iwh.InvocationError, match="no device to select from"):
        hal.call("allocator.select", 48, 3, 0, ())


def test_bad_operands_are_errors_of_the_program(hal: Hal) -> None:
    executable, commands = hal.executable(), hal.commands(slots=1)
    buffer = hal.upload(A)
    cases: list[tuple[str, tuple[Any, ...], str]] = [
        ("executable.lookup.function", (executable, VmBuffer(b"nothing")), "no function 'nothing'"),
        (
            "executable.create",
            (hal.device, -1, None, None, None),
            "a vm.buffer, got a null ref",
        ),
        ("buffer.load", (buffer, 1022, 4), "range of 4 bytes at offset 1022"),
        ("buffer.subspan", (buffer, 1000, 100), "range of 100 bytes at offset 1000"),
        ("buffer.length", (commands,), "expected a hal.buffer, got a hal.command_buffer"),
        (
            "command_buffer.fill_buffer",
            (commands, buffer, 0, 4, 0, 0, 3, 0),
            "3 bytes; expected 1,",
        ),
        (
            "command_buffer.fill_buffer",
            (commands, None, 0, 4, 9, 0, 4, 0),
            "slot 9 is out of range",
        ),
        ("device.queue.execute", (hal.device, -1, None, None, commands, 0), "before finalize"),
        (
            "device.queue.execute",
            (hal.device, -1, buffer, None, commands, 0),
            "expected a hal.fence",
        ),
        ("device.allocator", (None,), "expected a hal.device, got a null ref"),
    ]
    for name, arguments, message in cases:
        with pytest.raises(iwh.InvocationError, match=message):
            hal.call(name, *arguments)
    for bindings, message in (
        (((0, 0, commands, 0, 4),), "binding: expected a hal.buffer, got a hal.command_buffer"),
        (((0, 0, buffer, 0, 4),), "takes 0 constants and 3 bindings; got 0 and 1"),
    ):
        with pytest.raises(iwh.InvocationError, match=message):
            hal.call(
                "command_buffer.dispatch",
                *(commands, executable, 0, 1, 1, 1, 0, (), bindings),
                convention=DISPATCHES[1],
            )
    with pytest.raises(iwh.IncompatibleTargetError, match="vulkan-spirv-fb"):
        hal.call(
            "executable.create",
            *(hal.device, -1, VmBuffer(b"vulkan-spirv-fb"), VmBuffer(b""), None),
        )
