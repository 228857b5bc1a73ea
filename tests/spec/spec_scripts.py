"""The converted test scripts, as the converter wrote them.

``tests/spec/converter/src/output.rs`` is the other side of these records.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "FOLDER",
    "GROUPS",
    "SELF_CHECK",
    "STAMP",
    "Module",
    "Refusal",
    "Script",
    "Step",
    "load_script",
    "load_scripts",
]

FOLDER = Path(__file__).parents[2] / "build" / "spec-tests"
"""Where ``convert.py`` writes."""

SELF_CHECK = "self-check/false"
"""A script of ours in which every assertion is false."""

STAMP = FOLDER / "converter.sha256"
"""What the folder was made by."""

GROUPS = (
    "memory",
    "tables",
    "globals",
    "numeric",
    "control",
    "module format",
    "bulk memory",
    "reference types",
    "sign extension",
    "saturating conversion",
    "multi-value",
    "SIMD",
    "relaxed SIMD",
    "atomics",
    "memory64",
    "tail calls",
    "extended constants",
    "exceptions",
)
"""All groups, in the order of the document."""


@dataclass(frozen=True, slots=True)
class Step:
    """One call into the engine: a batch of commands that must succeed, or one that must trap."""

    export: str
    lines: tuple[int, ...]
    """Line of each command in the script."""
    trap: str | None
    """The trap that must happen, in the suite's words."""


@dataclass(frozen=True, slots=True)
class Module:
    """A module that must compile, and what is called in it."""

    line: int
    wasm: bytes
    features: frozenset[str]
    """Values of ``Feature`` that it needs."""
    memory: dict[str, Any]
    """Arguments of ``MemoryType``."""
    writes: tuple[tuple[int, bytes], ...]
    """Byte offsets and bytes that the host writes to the memory first."""
    instantiates: bool
    """Whether it must become an instance, or must not."""
    steps: tuple[Step, ...]

    @property
    def command_count(self) -> int:
        """Commands, the module itself being one."""
        return 1 + sum(len(step.lines) for step in self.steps)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A module that must not compile."""

    line: int
    wasm: bytes
    message: str
    """The reason, in the suite's words."""


@dataclass(frozen=True, slots=True)
class Script:
    """One file of the suite."""

    name: str
    """Folder and file name, such as ``simd/simd_const``."""
    group: str
    modules: tuple[Module, ...]
    refusals: tuple[Refusal, ...]
    outside: tuple[str, ...]
    """For each command that cannot be put through the contract, why."""


def load_scripts(folder: Path = FOLDER) -> list[Script]:
    """Reads all converted scripts of the suite, sorted by name."""
    names = {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.json")}
    scripts = [load_script(name, folder) for name in sorted(names - {SELF_CHECK})]
    unknown = {script.group for script in scripts} - set(GROUPS)
    if unknown or not scripts:
        msg = f"{folder} holds {len(scripts)} scripts, with unknown groups {unknown}"
        raise ValueError(msg)
    return scripts


def load_script(name: str, folder: Path = FOLDER) -> Script:
    """Reads one converted script."""
    path = folder / f"{name}.json"
    document = json.loads(path.read_bytes())
    binaries = path.with_suffix(".bin").read_bytes()
    return Script(
        name=document["name"],
        group=document["group"],
        modules=tuple(_module(one, binaries) for one in document["modules"]),
        refusals=tuple(
            Refusal(one["line"], _cut(one["wasm"], binaries), one["message"])
            for one in document["refusals"]
        ),
        outside=tuple(one["reason"] for one in document["outside"]),
    )


def _module(document: dict[str, Any], binaries: bytes) -> Module:
    return Module(
        line=document["line"],
        wasm=_cut(document["wasm"], binaries),
        features=frozenset(document["features"]),
        memory=document["memory"],
        writes=tuple(
            (one["byte_offset"], _cut(one["bytes"], binaries)) for one in document["writes"]
        ),
        instantiates=document["instantiates"],
        steps=tuple(_step(one) for one in document["steps"]),
    )


def _step(document: dict[str, Any]) -> Step:
    lines = document["lines"] if "lines" in document else [document["line"]]
    return Step(document["export"], tuple(lines), document.get("message"))


def _cut(span: dict[str, int], binaries: bytes) -> bytes:
    return binaries[span["start"] : span["end"]]
