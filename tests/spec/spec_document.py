"""The section of ``docs/engines.md`` on the official tests."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine_documents import replace_section
from spec_differences import DIFFERENCES
from spec_scripts import GROUPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spec_execution import Outcome
    from spec_scripts import Script

__all__ = [
    "DOCUMENT",
    "Cell",
    "check_section",
    "count_groups",
    "documented_version",
    "write_section",
]

DOCUMENT = Path(__file__).parents[2] / "docs" / "engines.md"
_NAME = "spec-tests"
_CORNER = "group"
_UNSUPPORTED = "not supported"
_INTRODUCTION = """\
Commands of the official test suite that end as they should, of those that the engine has the \
features for; modules that must be refused count too. Every command runs through the engine \
contract ([how](../tests/spec/README.md)), and any change of these numbers or of the differences \
below fails a test."""


@dataclass(slots=True)
class Cell:
    """What became of a group's commands on one engine."""

    passed: int = 0
    failed: int = 0
    unsupported: int = 0
    refused: int = 0
    """Those of ``passed`` that are modules rightly refused."""

    def __str__(self) -> str:
        # Scripts hold some modules that need nothing of what they test.
        if self.unsupported > 10 * (self.passed + self.failed - self.refused):
            return _UNSUPPORTED
        ratio = f"{self.passed} / {self.passed + self.failed}"
        return f"{ratio} ({self.unsupported} {_UNSUPPORTED})" if self.unsupported else ratio


def count_groups(scripts: list[Script], outcomes: Mapping[str, Outcome]) -> dict[str, Cell]:
    """Adds up the outcomes of one engine by group."""
    cells = {group: Cell() for group in GROUPS}
    for script in scripts:
        cell, outcome = cells[script.group], outcomes[script.name]
        cell.passed += outcome.passed
        cell.refused += outcome.refused
        cell.failed += sum(failure.count for failure in outcome.failures)
        cell.unsupported += outcome.unsupported
    return cells


def documented_version(engine: str) -> str | None:
    """Release of an engine that the document speaks of."""
    engines = json.loads(DOCUMENT.with_suffix(".json").read_text())
    version: str | None = engines.get(engine, {}).get("version")
    return version


def write_section(scripts: list[Script], engines: Mapping[str, Mapping[str, Cell]]) -> None:
    """Brings the section up to date; engines that were not run keep their columns."""
    text = DOCUMENT.read_text()
    columns = _columns(text)
    for name, cells in engines.items():
        columns[name] = {group: str(cell) for group, cell in cells.items()}
    DOCUMENT.write_text(replace_section(text, _NAME, _section(scripts, columns)))


def check_section(scripts: list[Script], engine: str, cells: Mapping[str, Cell]) -> list[str]:
    """Compares one engine's column and list of differences with the document.

    Returns:
        What is not in the document.
    """
    text = DOCUMENT.read_text()
    column = _columns(text).get(engine, {})
    wanted = {group: str(cell) for group, cell in cells.items()}
    missing = [f"{group}: {one}" for group, one in wanted.items() if column.get(group) != one]
    lines = _differences(engine) + _outside(scripts)
    return missing + [line for line in lines if line not in text.splitlines()]


def _columns(text: str) -> dict[str, dict[str, str]]:
    """The table of the document: engine to group to cell."""
    text = text.partition(f"<!-- generated: {_NAME} -->")[2]
    text = text.partition(f"<!-- end of {_NAME} -->")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    names = rows[0][1:] if rows else []
    return {
        name: {row[0]: row[index] for row in rows[1:] if row[0] in GROUPS}
        for index, name in enumerate(names, 1)
    }


def _section(scripts: list[Script], columns: Mapping[str, Mapping[str, str]]) -> str:
    names = sorted(columns)
    lines = [
        _INTRODUCTION,
        "",
        f"| {' | '.join([_CORNER, *names])} |",
        f"| {' | '.join('---' for _ in [_CORNER, *names])} |",
    ]
    for group in GROUPS:
        cells = [columns[name].get(group, "") for name in names]
        lines.append(f"| {' | '.join([group, *cells])} |")
    lines += ["", "What ends otherwise:", ""]
    for name in names:
        lines += _differences(name)
    lines += ["", "What cannot be put through the contract, and runs on no engine:", ""]
    return "\n".join(lines + _outside(scripts))


def _differences(engine: str) -> list[str]:
    known = DIFFERENCES.get(engine, ())
    if not known:
        return [f"- `{engine}`: nothing."]
    return [f"- `{engine}` {one.reason} ({one.count} in {_where(one.scripts)})." for one in known]


def _where(scripts: str) -> str:
    if scripts == "*":
        return "several scripts"
    return ", ".join(f"`{one.rpartition('/')[2]}`" for one in scripts.split())


def _outside(scripts: list[Script]) -> list[str]:
    counts = Counter(reason for script in scripts for reason in script.outside)
    return [f"- {reason}: {count}" for reason, count in sorted(counts.items())]
