"""The ``io_parameters`` module: parameters from archives and arrays into device buffers.

Every parameter is one queue operation from its file to linear memory, or one fill; all of them
wait for the same fence, and a last barrier signals the program's.

Spec: compiler/src/iree/compiler/Modules/IO/Parameters/io_parameters.imports.mlir,
runtime/src/iree/modules/io/parameters/module.c.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from iree_wasm_hal.hal.buffer import Buffer
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.fence import Fence
from iree_wasm_hal.hal.file import File
from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer
from iree_wasm_hal.vm.list import List
from iree_wasm_hal.vm.modules.hal.table import expect
from iree_wasm_hal.vm.modules.io_parameters.index import (
    DataEntry,
    Parameter,
    ParameterIndex,
    SplatEntry,
)
from iree_wasm_hal.vm.native import PyModule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["IoParametersModule"]

_KEY = struct.Struct("<II")
_SPAN = struct.Struct("<QQQ")
_MAX_FILL_PATTERN = 8


class _Span(NamedTuple):
    key: str
    parameter_offset: int
    buffer_offset: int
    byte_length: int


class IoParametersModule(PyModule):
    """Serves the parameters of each scope.

    Args:
        indexes: Parameters by scope name.
    """

    def __init__(self, indexes: Mapping[str, ParameterIndex]) -> None:
        super().__init__("io_parameters")
        self._indexes = indexes
        self.function("load", "0rIrrrIiirrr_r")(self._load)
        self.function("gather", "0rIrrrrrrr_v")(self._gather)
        self.function("scatter", "0rIrrrrrrr_v")(self._scatter)

    def _load(
        self,
        device: object,
        affinity: int,
        wait: object,
        signal: object,
        scope: object,
        target_affinity: int,
        memory_type: int,
        usage: int,
        key_table: object,
        key_data: object,
        spans: object,
    ) -> List:
        """A list of new buffers, one per span."""
        buffers = []
        with _Batch(device, wait, signal) as batch:
            for span in _spans(key_table, key_data, spans):
                parameter = self._find(scope, span)
                buffer = batch.device.queue_alloca(
                    batch.wait, None, memory_type, usage, span.byte_length
                )
                batch.read(parameter, span, buffer, 0)
                buffers.append(buffer)
        result = List(Buffer)
        result.resize(len(buffers))
        for index, buffer in enumerate(buffers):
            result.set_ref(index, buffer)
        return result

    def _gather(
        self,
        device: object,
        affinity: int,
        wait: object,
        signal: object,
        scope: object,
        target: object,
        key_table: object,
        key_data: object,
        spans: object,
    ) -> None:
        """Reads parameters into ranges of one buffer."""
        with _Batch(device, wait, signal) as batch:
            buffer = expect(target, Buffer, "io_parameters.gather: target")
            for span in _spans(key_table, key_data, spans):
                batch.read(self._find(scope, span), span, buffer, span.buffer_offset)

    def _scatter(
        self,
        device: object,
        affinity: int,
        wait: object,
        signal: object,
        source: object,
        scope: object,
        key_table: object,
        key_data: object,
        spans: object,
    ) -> None:
        """Writes ranges of one buffer to parameters."""
        with _Batch(device, wait, signal) as batch:
            buffer = expect(source, Buffer, "io_parameters.scatter: source")
            for span in _spans(key_table, key_data, spans):
                batch.write(self._find(scope, span), span, buffer)

    def _find(self, scope: object, span: _Span) -> Parameter:
        name = "" if scope is None else expect(scope, VmBuffer, "io_parameters: scope").text()
        index = self._indexes.get(name)
        if index is None:
            given = ", ".join(repr(known) for known in self._indexes) or "none"
            raise invocation_error(
                StatusCode.NOT_FOUND,
                f"the program asks for parameters of scope {name!r}; given are: {given}. Pass "
                f"parameters={{{name!r}: FILE}} to load",
            )
        parameter = index.parameters.get(span.key)
        if parameter is None:
            raise invocation_error(
                StatusCode.NOT_FOUND,
                f"scope {name!r} has no parameter {span.key!r} among its {len(index.parameters)}",
            )
        if span.parameter_offset + span.byte_length > parameter.entry.byte_length:
            raise invocation_error(
                StatusCode.OUT_OF_RANGE,
                f"parameter {span.key!r} of scope {name!r} ({parameter.source}) has "
                f"{parameter.entry.byte_length} bytes; the program asks for {span.byte_length} at "
                f"offset {span.parameter_offset}",
            )
        return parameter


class _Batch:
    """The queue operations of one call."""

    def __init__(self, device: object, wait: object, signal: object) -> None:
        self.device = expect(device, Device, "io_parameters: device")
        self.wait = None if wait is None else expect(wait, Fence, "io_parameters: wait fence")
        self._signal = (
            None if signal is None else expect(signal, Fence, "io_parameters: signal fence")
        )
        self._fences: list[Fence | None] = [self.wait]

    def read(self, parameter: Parameter, span: _Span, buffer: Buffer, buffer_offset: int) -> None:
        """Fills a range of a buffer from a parameter."""
        entry = parameter.entry
        if isinstance(entry, SplatEntry):
            self._fill(entry, span, buffer, buffer_offset)
            return
        self.device.queue_read(
            self.wait,
            self._next_fence(),
            parameter.file,
            entry.byte_offset + span.parameter_offset,
            buffer,
            buffer_offset,
            span.byte_length,
        )

    def write(self, parameter: Parameter, span: _Span, buffer: Buffer) -> None:
        """Writes a range of a buffer to a parameter."""
        entry = parameter.entry
        if not isinstance(entry, DataEntry):
            raise invocation_error(
                StatusCode.PERMISSION_DENIED, f"parameter {span.key!r} is a splat: read-only"
            )
        self.device.queue_write(
            self.wait,
            self._next_fence(),
            buffer,
            span.buffer_offset,
            parameter.file,
            entry.byte_offset + span.parameter_offset,
            span.byte_length,
        )

    def __enter__(self) -> _Batch:
        return self

    def __exit__(self, error_type: object, error: BaseException | None, trace: object) -> None:
        """Signals the program's fence once all operations are done, or fails it."""
        if error is None:
            self.device.queue_barrier(Fence.join(self._fences), self._signal)
        elif self._signal is not None:
            self._signal.fail(error)

    def _fill(self, entry: SplatEntry, span: _Span, buffer: Buffer, buffer_offset: int) -> None:
        # A pattern repeats, so that a span which begins inside one has it rotated.
        turn = span.parameter_offset % len(entry.pattern)
        pattern = entry.pattern[turn:] + entry.pattern[:turn]
        if len(pattern) > _MAX_FILL_PATTERN or span.byte_length % len(pattern):
            # No fill command has such a pattern; read it as if it were stored.
            count = -(-span.byte_length // len(pattern))
            data = File.from_memory((pattern * count)[: span.byte_length])
            self.device.queue_read(
                self.wait, self._next_fence(), data, 0, buffer, buffer_offset, span.byte_length
            )
            return
        self.device.queue_fill(
            self.wait,
            self._next_fence(),
            buffer,
            buffer_offset,
            span.byte_length,
            int.from_bytes(pattern, "little"),
            len(pattern),
        )

    def _next_fence(self) -> Fence | None:
        """A fence for one operation; none is needed where it runs at once."""
        if self.wait is None or self.wait.is_reached:
            return None
        fence = Fence()
        self._fences.append(fence)
        return fence


def _spans(key_table: object, key_data: object, spans: object) -> Iterator[_Span]:
    """Decodes the tables that a program passes: keys by (offset, length), and spans."""
    table = expect(key_table, VmBuffer, "io_parameters: key table").view
    text = expect(key_data, VmBuffer, "io_parameters: key data")
    numbers = expect(spans, VmBuffer, "io_parameters: spans").view
    if len(numbers) % _SPAN.size or len(table) < len(numbers) // _SPAN.size * _KEY.size:
        raise invocation_error(
            StatusCode.INVALID_ARGUMENT,
            f"io_parameters: {len(numbers)} bytes of spans and {len(table)} bytes of keys do not "
            "belong together",
        )
    for number, span in enumerate(_SPAN.iter_unpack(numbers)):
        offset, length = _KEY.unpack_from(table, number * _KEY.size)
        key = bytes(text.read(offset, length)).decode("utf-8", "surrogateescape")
        yield _Span(key, *span)
