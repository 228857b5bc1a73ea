"""``iree-wasm engines``: every installed engine, working or not."""

from __future__ import annotations

from iree_wasm_hal.cli.reporting import ExitStatus, format_table, print_json
from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.engine.listing import EngineRecord, list_engines

__all__ = ["engines"]


def engines(*, as_json: bool) -> int:
    """Prints one line per engine, or one JSON document for all."""
    records = list_engines()
    if as_json:
        print_json({"engines": [_as_document(record) for record in records]})
    elif not records:
        print("No engine is installed. Install one with: pip install 'iree-wasm-hal[wasmtime]'")
    else:
        print(format_table([_as_row(record) for record in records]))
    return ExitStatus.DONE


def _features(record: EngineRecord) -> list[str]:
    """The engine's features in the order in which the contract lists them."""
    if record.info is None:
        return []
    return [feature.value for feature in Feature if feature in record.info.features]


def _as_row(record: EngineRecord) -> dict[str, str]:
    info = record.info
    return {
        "ENGINE": record.name,
        "VERSION": info.version if info else "-",
        "PLUGIN": f"{record.distribution} {record.version}",
        "STATUS": "ok" if info else "unavailable",
        "FEATURES": " ".join(_features(record)) if info else str(record.cause),
    }


def _as_document(record: EngineRecord) -> dict[str, object]:
    info = record.info
    return {
        "name": record.name,
        "distribution": record.distribution,
        "distribution_version": record.version,
        "available": record.available,
        "cause": record.cause,
        "version": info.version if info else None,
        "library_path": info.library_path if info else None,
        "memory_model": info.memory_model.value if info else None,
        "features": _features(record),
        "notes": {feature.value: note for feature, note in info.notes.items()} if info else {},
    }
