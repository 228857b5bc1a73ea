"""What the cache keeps of a kernel module: the facts that relinking found, and the compiled image.

Two parts: ``RelinkedModule`` without ``wasm``, by ``marshal``; and what ``Program.serialize`` gave.
Neither is checked when it is read: that is the seal's task.
"""

from __future__ import annotations

import marshal
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.wasm.relink import RelinkedModule

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["decode_image", "encode_image"]

_NAMES = tuple(field.name for field in fields(RelinkedModule) if field.name != "wasm")


def encode_image(module: RelinkedModule, image: bytes) -> list[bytes]:
    """The parts of an entry."""
    facts: dict[str, Any] = {name: getattr(module, name) for name in _NAMES}
    facts["features"] = tuple(sorted(feature.value for feature in module.features))
    return [marshal.dumps(facts), image]


def decode_image(parts: Sequence[bytes]) -> tuple[RelinkedModule, bytes]:
    """Reads what ``encode_image`` gave, authenticated."""
    encoded, image = parts
    facts: dict[str, Any] = marshal.loads(encoded)  # ours: see above
    facts["features"] = frozenset(map(Feature, facts["features"]))
    return RelinkedModule(wasm=b"", **facts), image
