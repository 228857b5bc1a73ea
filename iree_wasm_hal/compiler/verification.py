"""Reads a fresh archive back: its functions, and whether its kernels are ones that we run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import CompileError, Error
from iree_wasm_hal.vm.archive import open_archive
from iree_wasm_hal.wasm.kernel_reader import read_kernel_module
from iree_wasm_hal.wasm.profile import check_profile

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ArchiveContents", "verify_archive"]

_WASM_MAGIC = b"\0asm"


@dataclass(frozen=True, slots=True)
class ArchiveContents:
    """What ``verify_archive`` found."""

    functions: tuple[str, ...]
    """Names of the exported functions that a user calls."""
    kernel_byte_lengths: tuple[int, ...]
    """Sizes of the kernel modules."""
    features: frozenset[str]
    """Engine features that the kernels need, all modules together."""


def verify_archive(path: Path) -> ArchiveContents:
    """Checks the profile of each kernel module: no imported functions, nothing forbidden.

    Raises:
        CompileError: A module is not one that a device would accept.
    """
    try:
        archive = open_archive(path)
        kernels = [bytes(data) for data in archive.rodata if data[:4] == _WASM_MAGIC]
        features: set[str] = set()
        for kernel in kernels:
            profile = check_profile(read_kernel_module(kernel))
            features |= {feature.value for feature in profile.features}
    except Error as error:
        raise CompileError(f"the compiled archive cannot be used: {error}") from error
    if not kernels and any(
        entry.full_name == "hal.executable.create" for entry in archive.module.imported_functions
    ):
        raise CompileError(
            "the compiled archive has no WebAssembly kernels; flags that choose another target "
            "(--iree-hal-target-device, --iree-hal-target-backends) cannot be used here"
        )
    names = [export.local_name for export in archive.module.exported_functions]
    return ArchiveContents(
        functions=tuple(n for n in names if not n.startswith("__") and not n.endswith("$async")),
        kernel_byte_lengths=tuple(len(kernel) for kernel in kernels),
        features=frozenset(features),
    )
