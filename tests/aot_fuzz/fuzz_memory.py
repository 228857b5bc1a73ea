"""The memory of a call: three regions whose bytes have a known meaning, and the comparison.

Page 0 is not used, as in every device's memory. Page 1 has a region of known bits, one of f32 and
one of f64; a call's addresses say at which byte the lanes of the float regions begin. Two NaNs in
the same lane of a float region are equal, whatever their bits.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from fuzz_builder import FAR_OFFSET
from fuzz_encode import NEAR_ZERO, PAGE_COUNT

if TYPE_CHECKING:
    import random

    from fuzz_kernel import Call

    Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]

__all__ = ["IMAGE_COUNT", "PAGE_START", "differing_bytes", "initial_page", "random_arguments"]

PAGE_START = 65536
_BITS, _F32, _F64 = 0x11000, 0x16000, 0x1B000
_REGION_BYTES = 0x4000
# Where addresses begin in a region: kernels go a KiB below them and 6 KiB above.
_FIRST, _LAST = 2048, 8192
IMAGE_COUNT = 4
_SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, 0.5, 1.5, 2.5, 2**31, -(2**31), 2**32, 1e-40)
_TELLING_BYTES = np.array([0, 1, 0x7F, 0x80, 0x81, 0xFE, 0xFF], np.uint8)
# How far the second address of a region may be from the first.
_DISTANCES = (0, 1, 2, 3, 4, 8, 12, 15, 16, 17, 32, 48, 64, 128, 256, 512)


def random_arguments(source: random.Random) -> tuple[int, ...]:
    """Addresses, apart or close together, aligned or not, and numbers."""
    arguments: list[int] = []
    for start, unit in ((_BITS, 1), (_F32, 4), (_F64, 8)):
        phase = source.choice((0, 0, source.randrange(16)))
        first = source.randrange(_FIRST, _LAST, 64)
        if source.random() < 0.5:
            distance = source.choice(_DISTANCES) * unit * source.choice((1, -1))
            second = min(max(first + distance % 4096, _FIRST), _LAST)
        else:
            second = source.randrange(_FIRST, _LAST, unit)
        second -= (second - first) % unit
        arguments += [start + phase + first, start + phase + second]
    count = source.choice((1, 1, 2, 3, 4, 5, 7, 8, 0))
    number = source.choice((source.getrandbits(32), source.randrange(40)))
    long = source.choice((source.getrandbits(64), source.randrange(70)))
    return (*arguments, count, number, long)


def initial_page(call: Call) -> bytes:
    """Page 1 before a call."""
    q0, r0 = call.arguments[2], call.arguments[4]
    return _page(call.image, q0 % 4, r0 % 8)


@lru_cache(maxsize=256)
def _page(image: int, f32_phase: int, f64_phase: int) -> bytes:
    source = np.random.default_rng(image)
    page = source.integers(0, 256, 65536, np.uint8)
    bits = page[_BITS - PAGE_START :][:_REGION_BYTES]
    if image % 2:
        places = source.random(_REGION_BYTES) < 0.5
        bits[places] = source.choice(_TELLING_BYTES, int(places.sum()))
    for start, phase, width in ((_F32, f32_phase, 4), (_F64, f64_phase, 8)):
        # Lanes continue to both sides of the region, into bytes that only stray kernels touch.
        first = start - PAGE_START + phase
        numbers = _numbers(source, image, _REGION_BYTES // width - 1, width)
        page[first : first + len(numbers)] = numbers
    return page.tobytes()


def _numbers(source: np.random.Generator, image: int, count: int, width: int) -> Bytes:
    """Floats: small whole numbers, all sizes, with special ones among them, or random bits."""
    kind = np.float32 if width == 4 else np.float64
    if image == 0:
        numbers = source.integers(-8, 9, count).astype(kind)
    elif image == 3:
        return source.integers(0, 256, count * width, np.uint8)
    else:
        numbers = (source.standard_normal(count) * 10.0 ** source.integers(-3, 4, count)).astype(
            kind
        )
    if image == 2:
        places = source.random(count) < 0.1
        numbers[places] = source.choice(np.array(_SPECIAL, kind), int(places.sum()))
        numbers[source.random(count) < 0.01] = np.nan
    return numbers.view(np.uint8)


def differing_bytes(call: Call, expected: bytes, got: bytes) -> list[int]:
    """Addresses whose bytes differ for a reason, at most 64 of them."""
    if expected == got:
        return []
    ours, theirs = (np.frombuffer(memory, np.uint8).copy() for memory in (expected, got))
    q0, r0 = call.arguments[2], call.arguments[4]
    for start, width, phase in ((_F32, 4, q0 % 4), (_F64, 8, r0 % 8)):
        first = start + phase
        for memory in (ours, theirs):
            lanes = memory[first : first + _REGION_BYTES - width].view(f"<f{width}")
            lanes[np.isnan(lanes)] = np.nan
    return [int(at) for at in np.flatnonzero(ours != theirs)[:64]]


assert _BITS + NEAR_ZERO + 1024 < FAR_OFFSET < _BITS + _REGION_BYTES - 8192
assert _F64 + _REGION_BYTES + 16 <= PAGE_START * PAGE_COUNT
