"""``EngineInfo`` as a JSON document and back."""

from __future__ import annotations

from typing import Any

from iree_wasm_hal.engine.contract import EngineInfo, Feature, MemoryModel

__all__ = ["info_from_document", "info_to_document"]


def info_to_document(info: EngineInfo) -> dict[str, Any]:
    """A document of strings, with features in the order in which the contract lists them."""
    return {
        "name": info.name,
        "version": info.version,
        "library_path": info.library_path,
        "memory_model": info.memory_model.value,
        "features": [feature.value for feature in Feature if feature in info.features],
        "notes": {
            feature.value: info.notes[feature] for feature in Feature if feature in info.notes
        },
    }


def info_from_document(document: dict[str, Any]) -> EngineInfo:
    """What ``info_to_document`` was given.

    Raises:
        KeyError, ValueError, TypeError: It is not such a document.
    """
    return EngineInfo(
        name=str(document["name"]),
        version=str(document["version"]),
        library_path=str(document["library_path"]),
        memory_model=MemoryModel(document["memory_model"]),
        features=frozenset(Feature(value) for value in document["features"]),
        notes={Feature(value): str(note) for value, note in document["notes"].items()},
    )
