"""Where the parameters of a scope come from: files, byte strings, numpy arrays.

The caller alone maps scopes to files; nothing inside a model or an archive is ever used as a
path. Files are opened read-only and must be regular files.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterable, Mapping
from typing import TypeAlias, Union

import numpy as np
import numpy.typing as npt

from iree_wasm_hal.errors import ParameterError
from iree_wasm_hal.hal.buffer import MemoryAccess
from iree_wasm_hal.hal.file import File
from iree_wasm_hal.vm.modules.io_parameters.gguf import MAGIC as GGUF_MAGIC
from iree_wasm_hal.vm.modules.io_parameters.gguf import parse_gguf
from iree_wasm_hal.vm.modules.io_parameters.index import DataEntry, Entry, ParameterIndex
from iree_wasm_hal.vm.modules.io_parameters.irpa import MAGIC as IRPA_MAGIC
from iree_wasm_hal.vm.modules.io_parameters.irpa import parse_irpa
from iree_wasm_hal.vm.modules.io_parameters.safetensors import parse_safetensors

__all__ = ["ParameterSource", "ParameterSources", "open_parameters"]

ParameterSource: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, memoryview, Mapping[str, npt.NDArray[np.generic]]
]
"""A path of an archive, an archive in memory, or arrays by key."""
ParameterSources: TypeAlias = Mapping[str, ParameterSource | Iterable[ParameterSource]]
"""Scope name (``""`` for parameters compiled without one) to its source or sources."""


def open_parameters(sources: ParameterSources) -> dict[str, ParameterIndex]:
    """Opens every source and indexes its parameters; nothing is copied.

    Args:
        sources: Scope to source, or to several sources that complete each other. Arrays must be
            C-contiguous; the program sees, and scatters into, their memory.

    Raises:
        ParameterError: A source cannot be opened, is damaged, or repeats a key.
    """
    indexes = {}
    for scope, value in sources.items():
        index = indexes[scope] = ParameterIndex(scope)
        several = isinstance(value, Iterable) and not isinstance(
            value, str | bytes | memoryview | Mapping
        )
        for source in value if several else [value]:  # type: ignore[union-attr] # checked above
            _add_source(index, source)
    return indexes


def _add_source(index: ParameterIndex, source: object) -> None:
    if isinstance(source, Mapping):
        for key, array in source.items():
            file = _array_file(key, array)
            index.add({str(key): DataEntry(0, file.byte_length)}, file, "a numpy array")
    elif isinstance(source, bytes | memoryview):
        data = memoryview(source).cast("B")
        index.add(parse_archive(data, "<bytes>"), File.from_memory(data), "<bytes>")
    elif isinstance(source, str | os.PathLike):
        _add_file(index, os.fspath(source))
    else:
        raise ParameterError(
            f"parameter scope {index.scope!r}: expected a path, bytes or a dict of numpy arrays, "
            f"got {type(source).__name__}"
        )


def parse_archive(data: memoryview, source: str) -> dict[str, Entry]:
    """Parses an archive of any known format, which its first bytes tell.

    Raises:
        ParameterError: The format is unknown or the archive damaged.
    """
    if bytes(data[:4]) == IRPA_MAGIC:
        return parse_irpa(data, source)
    if bytes(data[:4]) == GGUF_MAGIC:
        return parse_gguf(data, source)
    if bytes(data[8:9]) == b"{":
        return parse_safetensors(data, source)
    raise ParameterError(
        f"{source}: {len(data)} bytes that begin with {bytes(data[:8])!r}; expected an IREE "
        "parameter archive (.irpa), a .safetensors or a .gguf file"
    )


def _add_file(index: ParameterIndex, path: str) -> None:
    # A symbolic link is followed: the caller named it (model caches are made of them).
    # O_NONBLOCK: opening a FIFO must not hang before fstat can refuse it.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ParameterError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ParameterError(f"{path}: not a regular file")
        # Parsed through a mapping, but later read through the descriptor: a file that someone
        # cuts short meanwhile is then an error and no SIGBUS.
        if status.st_size == 0:
            parse_archive(memoryview(b""), path)
        # The mapping closes itself when the last slice of it goes, an error's traceback included.
        mapping = mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ)
        entries = parse_archive(memoryview(mapping), path)
        index.add(entries, File.from_fd(descriptor, 0, status.st_size), path)
    finally:
        os.close(descriptor)


def _array_file(key: object, array: object) -> File:
    if not isinstance(array, np.ndarray):
        raise ParameterError(f"parameter {key!r}: expected a numpy array, got {type(array)!r}")
    if not array.flags.c_contiguous:
        raise ParameterError(f"parameter {key!r}: the array must be C-contiguous")
    # Extension dtypes (bf16, 8-bit floats) have no buffer protocol; their bytes have.
    data = array.reshape(-1).view(np.uint8)
    access = MemoryAccess.ALL if data.flags.writeable else MemoryAccess.READ
    return File.from_memory(memoryview(data), access)  # type: ignore[arg-type]  # numpy's typing lacks it
