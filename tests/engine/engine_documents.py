"""Writes what the engines of this machine can do into README.md and docs/engines.md.

What they said of themselves when they were last here stands in docs/engines.json, so engines that
are not installed keep their columns. Only text between ``<!-- generated: NAME -->`` and
``<!-- end of NAME -->`` is replaced.

``python tests/engine/engine_documents.py`` brings all three files up to date.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from iree_wasm_hal.cli.engine_table import feature_rows, markdown_table, missing_features
from iree_wasm_hal.engine import EngineInfo, list_engines
from iree_wasm_hal.engine.info_document import info_from_document, info_to_document

ROOT = Path(__file__).parents[2]
DATA = ROOT / "docs" / "engines.json"
DOCUMENTS = {
    ROOT / "README.md": ("engines",),
    ROOT / "docs" / "engines.md": ("features", "missing-features"),
}
_RUNS_NOTHING = "null"


def read_data() -> dict[str, EngineInfo]:
    """The engines of docs/engines.json, by name."""
    documents: dict[str, dict[str, Any]] = json.loads(DATA.read_text())
    return {
        name: info_from_document({**document, "name": name, "library_path": ""})
        for name, document in documents.items()
    }


def format_data(infos: dict[str, EngineInfo]) -> str:
    """docs/engines.json, without what differs from machine to machine."""
    documents = {}
    for name, info in sorted(infos.items()):
        document = info_to_document(info)
        del document["name"], document["library_path"]
        documents[name] = document
    return json.dumps(documents, indent=2) + "\n"


def available_infos() -> dict[str, EngineInfo]:
    """The engines that open on this machine and run wasm."""
    return {
        record.name: record.info
        for record in list_engines()
        if record.info is not None and record.name != _RUNS_NOTHING
    }


def section(name: str, infos: dict[str, EngineInfo]) -> str:
    """The generated text of that name."""
    ordered = [infos[engine] for engine in sorted(infos)]
    if name == "missing-features":
        return "\n\n".join(_reasons(info) for info in ordered)
    versions = {"feature": "version"} | {info.name: info.version for info in ordered}
    return markdown_table([versions, *feature_rows(ordered, brief=name == "engines")])


def replace_section(text: str, name: str, body: str) -> str:
    """The text with another body between the two markers of a section."""
    begin, end = f"<!-- generated: {name} -->\n", f"<!-- end of {name} -->"
    pattern = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
    replaced, count = pattern.subn(lambda _: f"\n{body}\n\n", text)
    if count != 1:
        raise ValueError(f"section {name!r} is marked {count} times; expected once")
    return replaced


def document(path: Path, infos: dict[str, EngineInfo]) -> str:
    """A document with its sections up to date."""
    text = path.read_text()
    for name in DOCUMENTS[path]:
        text = replace_section(text, name, section(name, infos))
    return text


def _reasons(info: EngineInfo) -> str:
    lines = [f"### {info.name} {info.version}", ""]
    reasons = missing_features(info)
    for reason, features in reasons:
        named = ", ".join(f"`{feature}`" for feature in features)
        lines.append(f"- No {named}{f': {reason}' if reason else ''}.")
    return "\n".join(lines if reasons else [*lines, "Has them all."])


def main() -> None:
    """Writes the files."""
    infos = (read_data() if DATA.exists() else {}) | available_infos()
    DATA.write_text(format_data(infos))
    for path, sections in DOCUMENTS.items():
        path.write_text(document(path, infos))
        print(f"{path.relative_to(ROOT)}: {', '.join(sections)}")


if __name__ == "__main__":
    main()
