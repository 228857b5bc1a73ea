"""All groups, in the order of the table."""

from __future__ import annotations

from simd_ops import floats, integers, lanes, loads, products

__all__ = ["SECTIONS"]

SECTIONS = {
    "Floats": floats.GROUPS,
    "Integers": integers.GROUPS,
    "Products and widths of integers": products.GROUPS,
    "Lanes": lanes.GROUPS,
    "Loads and stores": loads.GROUPS,
}
