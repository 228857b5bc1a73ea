"""Bit sets as IREE prints them in messages: ``HOST_VISIBLE|DEVICE_LOCAL``."""

from __future__ import annotations

from iree_wasm_hal.hal.buffer import BufferUsage, MemoryType

__all__ = ["format_memory_type", "format_usage"]


def _names(holder: type) -> dict[str, int]:
    """Names that stand for a set of bits, the widest sets first."""
    names = {
        name: value
        for name, value in vars(holder).items()
        if isinstance(value, int) and name not in ("ALL", "UNIFIED")
    }
    return dict(sorted(names.items(), key=lambda item: -item[1].bit_count()))


_MEMORY_TYPES = _names(MemoryType)
_USAGES = _names(BufferUsage)


def format_memory_type(bits: int) -> str:
    """Names of ``iree_hal_memory_type_t`` bits."""
    return _format(bits, _MEMORY_TYPES)


def format_usage(bits: int) -> str:
    """Names of ``iree_hal_buffer_usage_t`` bits."""
    return _format(bits, _USAGES)


def _format(bits: int, names: dict[str, int]) -> str:
    words = []
    for name, value in names.items():
        if bits & value == value:
            words.append(name)
            bits &= ~value
    if bits:
        words.append(f"0x{bits & 0xFFFFFFFF:X}")
    return "|".join(words) or "NONE"
