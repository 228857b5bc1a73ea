"""What a child process is started with; kept, because it may have to be started again."""

from __future__ import annotations

import copy
import mmap
import os
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import ArgumentError
from iree_wasm_hal.isolation.requests import pack_request, unpack_request
from iree_wasm_hal.isolation.segment import Segment, memory_file
from iree_wasm_hal.runtime.source import Source, open_descriptor, open_source

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ReceivedFile", "StartRequest", "read_options"]


class StartRequest:
    """An archive and the options of ``load``, in files that any number of children map.

    The archive and arrays among the options are in memory once, however many processes use them.

    Args:
        source: As for ``load``. A path is opened now: it is this file that every child loads.
        options: As for ``load``, copied now.

    Raises:
        LoadError: The archive cannot be opened.
        ArgumentError: An option cannot be given to another process.
        LimitError: There is no memory for it.

    Attributes:
        name: Of the archive, for messages.
    """

    def __init__(self, source: Source, options: Mapping[str, Any]) -> None:
        try:
            body, tensors = pack_request(_portable(options))
        except ArgumentError as error:
            raise ArgumentError(f"an option of load {error}") from error
        self._archive, self.name = _archive_descriptor(source)
        self._options = Segment()
        self._finalizer = weakref.finalize(self, _close, self._archive, self._options)
        self._place = tensors.write(self._options, body)
        # A child that was taken over must not write what its successors and siblings unpickle.
        self._options.seal()

    @property
    def descriptors(self) -> tuple[int, int]:
        """Of the archive and of the options, for the child to inherit."""
        return self._archive, self._options.descriptor

    @property
    def arguments(self) -> Sequence[object]:
        """What the child has to know beside the descriptors."""
        return [self.name, *self._place]

    def share(self) -> StartRequest:
        """The same for another module; each is closed on its own."""
        other = copy.copy(self)
        other._archive = os.dup(self._archive)
        other._options = Segment(os.dup(self._options.descriptor))
        other._finalizer = weakref.finalize(other, _close, other._archive, other._options)
        return other

    def close(self) -> None:
        """Gives the descriptors up. Idempotent."""
        self._finalizer()


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """An archive in the child: a source for ``load``."""

    descriptor: int
    name: str

    def fileno(self) -> int:
        """Its descriptor."""
        return self.descriptor

    def read(self) -> bytes:
        """Its bytes, as of any binary file."""
        with os.fdopen(os.dup(self.descriptor), "rb") as file:
            return file.read()


def read_options(descriptor: int, start: int, end: int) -> dict[str, Any]:
    """The options that a child was given.

    Their arrays are this process's own: pages that it writes to are copied.
    """
    memory = mmap.mmap(descriptor, end, access=mmap.ACCESS_COPY)
    options: dict[str, Any] = unpack_request(memory[start:end], memory)
    return options


def _close(archive: int, options: Segment) -> None:
    os.close(archive)
    options.close()


def _archive_descriptor(source: Source) -> tuple[int, str]:
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        return open_descriptor(path), path
    data, name = open_source(source)
    try:
        return os.dup(source.fileno()), name  # type: ignore[union-attr]  # bytes have none
    except (AttributeError, OSError):  # no file of the system's
        return memory_file(data), name


def _portable(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that mean the same in a process that starts later and elsewhere."""
    parameters = options.get("parameters") or {}
    return {
        **options,
        "parameters": {scope: _portable_source(value) for scope, value in parameters.items()},
    }


def _portable_source(value: object) -> object:
    if isinstance(value, str | os.PathLike):
        return os.path.abspath(value)
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping):
        return [_portable_source(one) for one in value]
    return value
