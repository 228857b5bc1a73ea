"""What the cache keeps of a kernel module: the facts that relinking found, and the compiled image.

::

    facts byte length   8 bytes, little-endian
    facts               ``RelinkedModule`` without ``wasm``, by ``marshal``
    image               what ``Program.serialize`` gave

Neither is checked when it is read: that is the seal's task.
"""

from __future__ import annotations

import marshal
from dataclasses import fields
from typing import Any

from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.wasm.relink import RelinkedModule

__all__ = ["decode_image", "encode_image"]

_LENGTH_BYTE_LENGTH = 8
_NAMES = tuple(field.name for field in fields(RelinkedModule) if field.name != "wasm")


def encode_image(module: RelinkedModule, image: bytes) -> list[bytes]:
    """The parts of an entry."""
    facts: dict[str, Any] = {name: getattr(module, name) for name in _NAMES}
    facts["features"] = tuple(sorted(feature.value for feature in module.features))
    encoded = marshal.dumps(facts)
    return [len(encoded).to_bytes(_LENGTH_BYTE_LENGTH, "little"), encoded, image]


def decode_image(entry: memoryview) -> tuple[RelinkedModule, bytes]:
    """Reads what ``encode_image`` gave, in one piece and authenticated."""
    end = _LENGTH_BYTE_LENGTH + int.from_bytes(entry[:_LENGTH_BYTE_LENGTH], "little")
    facts: dict[str, Any] = marshal.loads(entry[_LENGTH_BYTE_LENGTH:end])  # ours: see above
    facts["features"] = frozenset(map(Feature, facts["features"]))
    return RelinkedModule(wasm=b"", **facts), bytes(entry[end:])
