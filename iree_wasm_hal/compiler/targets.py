"""Compilation targets: feature levels of WebAssembly, by the names that users type."""

from __future__ import annotations

from dataclasses import dataclass

from iree_wasm_hal.errors import CompileError

__all__ = ["DEFAULT_TARGET", "TARGET_NAMES", "Target", "parse_targets"]

DEFAULT_TARGET = "wasm32-simd128"

_BASE_FEATURES = ("+sign-ext", "+nontrapping-fptoint", "+mutable-globals")
_SIMD_FEATURES = (*_BASE_FEATURES, "+bulk-memory", "+simd128")
_LEVELS: dict[str, tuple[tuple[str, ...], int]] = {
    # Level -> LLVM features, vector width in bytes that the code generator tiles for.
    "": (_BASE_FEATURES, 16),
    # Twice the register's width is the fastest over whole models (docs/compiling.md).
    "simd128": (_SIMD_FEATURES, 32),
    "simd128-relaxed": ((*_SIMD_FEATURES, "+relaxed-simd"), 32),
    # For engines that compile with LLVM, which may merge 128-bit operations into wider ones.
    "simd128-wide": (_SIMD_FEATURES, 64),
    "simd128-relaxed-wide": ((*_SIMD_FEATURES, "+relaxed-simd"), 64),
}


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of kernel module."""

    name: str
    """``wasm32`` or ``wasm64``, then the feature level: ``wasm32-simd128``."""
    pointer_bits: int
    cpu_features: tuple[str, ...]
    """LLVM subtarget features, each with its sign."""
    vector_byte_length: int
    """What the code generator takes for the width of a vector."""

    @property
    def triple(self) -> str:
        """LLVM target triple."""
        return f"wasm{self.pointer_bits}-unknown-unknown"

    @property
    def stock_format(self) -> str:
        """Executable format that iree-compile writes for every feature level."""
        return f"system-wasm-wasm_{self.pointer_bits}"

    @property
    def format(self) -> str:
        """Executable format in an archive of several targets: a device tells them apart by it."""
        level = self.name.partition("-")[2]
        return f"{self.stock_format}-{level}" if level else self.stock_format


_TARGETS = {
    (name := f"wasm{bits}-{level}" if level else f"wasm{bits}"): Target(name, bits, features, width)
    for bits in (32, 64)
    for level, (features, width) in _LEVELS.items()
}

TARGET_NAMES = tuple(_TARGETS)
"""Every name that ``parse_targets`` knows."""


def parse_targets(text: str) -> tuple[Target, ...]:
    """The targets that ``"wasm32-simd128"`` or ``"wasm32-simd128,wasm32"`` names, in that order.

    Raises:
        CompileError: A name is unknown or given twice.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in _TARGETS:
            raise CompileError(
                f"unknown target {name!r}; expected one of {', '.join(TARGET_NAMES)}"
            )
    if len(set(names)) != len(names):
        raise CompileError(f"target {text!r} names the same target twice")
    return tuple(_TARGETS[name] for name in names)
