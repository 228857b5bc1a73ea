"""A ``.vmfb`` as data: the verified module definition and its constants, nothing copied.

Constants are memoryviews of the caller's bytes or of the mapped file. A mapped file that another
process truncates while it is used ends the process with SIGBUS, as with any mapping.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ArchiveError, BytecodeError
from iree_wasm_hal.vm.container import Container, parse_container
from iree_wasm_hal.vm.flatbuffer import decode
from iree_wasm_hal.vm.isa import VERSION_MAJOR, VERSION_MINOR
from iree_wasm_hal.vm.module_def import (
    FILE_IDENTIFIER,
    MODULE_TABLE,
    VERSION_TABLE,
    ModuleDef,
    RodataSegment,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Archive", "open_archive", "read_archive"]

_EMITTED_BY = "iree-base-compiler 3.11 to 3.13"


@dataclass(frozen=True, slots=True)
class Archive:
    """A decoded archive.

    Attributes:
        file_name: For messages.
        module: The module definition.
        rodata: Contents of the rodata segments, read-only views.
        byte_length: Size of the whole archive.
        flatbuffer: What ``module`` was decoded from.
    """

    file_name: str
    module: ModuleDef
    rodata: tuple[memoryview, ...]
    byte_length: int
    flatbuffer: memoryview


def open_archive(path: str | os.PathLike[str]) -> Archive:
    """Maps a file and decodes it.

    Raises:
        ArchiveError: No such file, a directory, not a vmfb, or a damaged one.
        BytecodeError: Bytecode of a version that is not served.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise ArchiveError(f"{name}: the file is empty; expected a vmfb")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as cause:
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
        raise ArchiveError(f"{name}: cannot be read: {reason}") from cause
    return read_archive(data, file_name=name)


def read_archive(
    data: bytes | bytearray | memoryview | mmap.mmap,
    *,
    file_name: str = "<bytes>",
    find: Callable[[memoryview], ModuleDef | None] | None = None,
) -> Archive:
    """Decodes an archive in memory.

    Args:
        data: The archive; kept alive by the views that are returned, and not to be changed.
        file_name: For messages.
        find: Gives what a FlatBuffer was decoded to before, or None.

    Raises:
        ArchiveError: Not a vmfb, or a damaged one.
        BytecodeError: Bytecode of a version that is not served.
    """
    view = memoryview(data).cast("B").toreadonly()
    try:
        container = parse_container(view)
        module = find(container.flatbuffer) if find else None
        if module is None:
            module = _decode(container.flatbuffer)
        rodata = tuple(
            _segment(view, container, index, segment)
            for index, segment in enumerate(module.rodata_segments)
        )
    except ArchiveError as cause:
        raise ArchiveError(f"{file_name}: {cause}") from cause
    except BytecodeError as cause:
        raise BytecodeError(f"{file_name}: {cause}") from cause
    return Archive(file_name, module, rodata, len(view), container.flatbuffer)


def _decode(flatbuffer: memoryview) -> ModuleDef:
    check_version(decode(flatbuffer, VERSION_TABLE, FILE_IDENTIFIER))
    module: ModuleDef = decode(flatbuffer, MODULE_TABLE, FILE_IDENTIFIER)
    return module


def check_version(version: int) -> None:
    """Refuses bytecode versions that the ISA table does not describe.

    Raises:
        BytecodeError: Names the version found and the ones served.
    """
    major, minor = version >> 16, version & 0xFFFF
    if major != VERSION_MAJOR or minor > VERSION_MINOR:
        raise BytecodeError(
            f"bytecode version {major}.{minor} is not served; this release serves"
            f" {VERSION_MAJOR}.0 to {VERSION_MAJOR}.{VERSION_MINOR}, which {_EMITTED_BY} emit."
            " Recompile with one of those, or update iree-wasm-hal."
        )


def _segment(
    view: memoryview, container: Container, index: int, segment: RodataSegment
) -> memoryview:
    if segment.embedded_data is not None:
        return segment.embedded_data
    start = container.rodata_offset + segment.external_data_offset
    end = start + segment.external_data_length
    if end > len(view):
        raise ArchiveError(
            f"rodata segment {index} ends at byte {end}, the file at {len(view)}: cut off"
        )
    return view[start:end]
