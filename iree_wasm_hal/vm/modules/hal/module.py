"""The ``hal`` module for one device."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ImportResolutionError
from iree_wasm_hal.hal.allocator import Allocator
from iree_wasm_hal.hal.buffer import Buffer
from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.hal.command_buffer import CommandBuffer
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.executable import Executable
from iree_wasm_hal.hal.fence import Fence
from iree_wasm_hal.hal.file import File
from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer
from iree_wasm_hal.vm.modules.formatting import format_buffer_view
from iree_wasm_hal.vm.modules.hal import (
    allocators,
    buffer_views,
    buffers,
    command_buffers,
    devices,
    executables,
    fences,
    queues,
)
from iree_wasm_hal.vm.modules.hal.channels import COLLECTIVES, Channel
from iree_wasm_hal.vm.modules.hal.table import expect
from iree_wasm_hal.vm.native import PyModule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iree_wasm_hal.vm.native import NativeFunction

__all__ = ["HAL_MODULE_VERSION", "HalModule", "TraceSink"]

HAL_MODULE_VERSION = 7
"""Highest ``minimum_version`` that a program of 3.11 (6), 3.12 or 3.13 (7) asks for."""

TraceSink = Callable[[str, "Sequence[BufferView]"], None]
"""Gets the key and the tensors of every ``hal.buffer_view.trace``."""

_FAMILIES = (
    allocators.TABLE,
    buffers.TABLE,
    buffer_views.TABLE,
    command_buffers.TABLE,
    devices.TABLE,
    executables.TABLE,
    fences.TABLE,
    queues.TABLE,
)
_TYPES: Mapping[str, type] = {
    "hal.allocator": Allocator,
    "hal.buffer": Buffer,
    "hal.buffer_view": BufferView,
    "hal.channel": Channel,
    "hal.command_buffer": CommandBuffer,
    "hal.device": Device,
    "hal.executable": Executable,
    "hal.fence": Fence,
    "hal.file": File,
}
_FORMAT_CATEGORY = "hal.executable.format"


class HalModule(PyModule):
    """Serves the ``hal`` imports on one device.

    Args:
        device: The device that programs see as number 0.
        trace_sink: Where traced tensors go; standard error by default.

    Attributes:
        refused_formats: Executable formats that the program asked for and the device does not
            take; they tell why a program found no device.
        has_accepted_format: Whether the program asked for one that the device takes.
        preferred_format: Of several formats, the only one that the program is told of; None for
            all that the device takes.
    """

    def __init__(self, device: Device, trace_sink: TraceSink | None = None) -> None:
        super().__init__("hal", HAL_MODULE_VERSION, _TYPES)
        self.refused_formats: list[str] = []
        self.has_accepted_format = False
        self.preferred_format: str | None = None
        self._device = device
        self._trace_sink = _print_trace if trace_sink is None else trace_sink
        for family in _FAMILIES:
            self._functions.update(family.functions)
        self.function("devices.count", "0v_i")(lambda: 1)
        self.function("devices.get", "0i_r")(self._devices_get)
        self.function("device.query.i64", "0rrr_iI")(self._device_query)
        self.function("buffer_view.trace", "0rCrD_v")(self._trace)

    def lookup(self, function_name: str, calling_convention: str) -> NativeFunction | None:
        """See ``NativeModule.lookup``.

        Raises:
            ImportResolutionError: For collectives, which one linear memory cannot serve.
        """
        if (function_name, calling_convention) in COLLECTIVES:
            raise ImportResolutionError(
                f"the program imports hal.{function_name}: it communicates between several "
                "devices, and a WebAssembly linear memory is one device. Compile the model for "
                "one device, without collectives"
            )
        return super().lookup(function_name, calling_convention)

    def _devices_get(self, index: int) -> Device | None:
        return self._device if index == 0 else None

    def _device_query(self, device: object, category: object, key: object) -> tuple[int, int]:
        category_text = expect(category, VmBuffer, "device.query.i64: category").text()
        key_text = expect(key, VmBuffer, "device.query.i64: key").text()
        known, value = expect(device, Device, "device.query.i64").query_i64(category_text, key_text)
        if category_text == _FORMAT_CATEGORY:
            self.has_accepted_format |= bool(value)
            self.refused_formats += [] if value else [key_text]
            if self.preferred_format not in {None, key_text}:
                value = 0
        return int(known), value

    def _trace(self, key: object, views: tuple[object, ...]) -> None:
        text = expect(key, VmBuffer, "buffer_view.trace: key").text()
        self._trace_sink(text, [expect(view, BufferView, "buffer_view.trace") for view in views])


def _print_trace(key: str, views: Sequence[BufferView]) -> None:
    lines = [f"=== {key} ===", *(format_buffer_view(view) for view in views), "", ""]
    try:
        sys.stderr.write("\n".join(lines))
    except OSError as error:
        raise invocation_error(
            StatusCode.UNAVAILABLE, f"tracing to standard error: {error}"
        ) from error
