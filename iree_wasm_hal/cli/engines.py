"""``iree-wasm engines``: every installed engine, working or not."""

from __future__ import annotations

import shutil
import textwrap

from iree_wasm_hal.cli.engine_table import feature_rows, markdown_table, missing_features
from iree_wasm_hal.cli.reporting import ExitStatus, UsageError, format_table, print_json
from iree_wasm_hal.engine.info_document import info_to_document
from iree_wasm_hal.engine.listing import EngineRecord, list_engines

__all__ = ["engines"]

_MAX_WIDTH = 100


def engines(*, as_json: bool, as_markdown: bool = False) -> int:
    """Prints a table of features and a paragraph per engine, or one document for all."""
    if as_json and as_markdown:
        raise UsageError("--json and --markdown exclude each other")
    records = list_engines()
    if as_json:
        print_json({"engines": [_as_document(record) for record in records]})
    elif not records:
        print("No engine is installed. Install one with: pip install 'iree-wasm-hal[wasmtime]'")
    else:
        print("\n\n".join(part for part in _parts(records, as_markdown=as_markdown) if part))
    return ExitStatus.DONE


def _parts(records: list[EngineRecord], *, as_markdown: bool) -> list[str]:
    infos = [record.info for record in records if record.info is not None]
    rows = feature_rows(infos) if infos else []
    if as_markdown:
        return [markdown_table(rows) if infos else "", *(_as_item(record) for record in records)]
    return [format_table(rows), *(_as_paragraph(record) for record in records)]


def _as_paragraph(record: EngineRecord) -> str:
    """Versions and library, then what is missing and why, indented."""
    lines = [f"{record.name}: {_versions(record)}"]
    if record.info is None:
        lines += _wrapped(f"unavailable: {record.cause}")
    else:
        lines += [f"  library: {record.info.library_path}"] if record.info.library_path else []
        for reason, names in missing_features(record.info):
            lines += _wrapped(f"no {', '.join(names)}{f': {reason}' if reason else ''}")
    return "\n".join(lines)


def _as_item(record: EngineRecord) -> str:
    """The same as a Markdown list item, without what is particular to a machine."""
    remark = "" if record.info else f". Unavailable: {record.cause}"
    return f"- `{record.name}`: {_versions(record)}{remark}"


def _versions(record: EngineRecord) -> str:
    version = f"version {record.info.version}, " if record.info else ""
    return f"{version}plugin {record.distribution} {record.version}"


def _wrapped(text: str) -> list[str]:
    terminal = shutil.get_terminal_size((_MAX_WIDTH, 0))  # what is no terminal gets the fallback
    return textwrap.wrap(
        text,
        min(terminal.columns, _MAX_WIDTH),
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _as_document(record: EngineRecord) -> dict[str, object]:
    unknown = dict.fromkeys(("version", "library_path", "memory_model"))
    info = info_to_document(record.info) if record.info else None
    return {
        **(info or {**unknown, "features": [], "notes": {}}),
        "name": record.name,
        "distribution": record.distribution,
        "distribution_version": record.version,
        "available": record.available,
        "cause": record.cause,
    }
