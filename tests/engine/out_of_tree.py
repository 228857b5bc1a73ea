"""Distributions made on the fly: a module, its metadata and an entry point in a folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


@dataclass(frozen=True, slots=True)
class Site:
    """A folder on ``sys.path`` that acts as site-packages."""

    folder: Path

    def install(
        self,
        engine: str,
        source: str,
        *,
        distribution: str | None = None,
        module: str | None = None,
    ) -> str:
        """Writes a distribution whose entry point ``engine`` is a module with this source.

        Returns:
            The module's name.
        """
        distribution = distribution or f"iree-wasm-hal-{engine}"
        module = module or distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n"
        )
        (info / "entry_points.txt").write_text(f"[iree_wasm_hal]\n{engine} = {module}\n")
        return module


def make_site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Puts a folder on ``sys.path`` and forgets its modules afterwards."""
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return Site(folder)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a run of pytest in a process of its own came to."""

    passed: int
    failed: int
    skipped: int
    xfailed: int
    output: str


def run_pytest(folder: Path, *arguments: str) -> Outcomes:
    """Runs pytest on files of a folder that acts as site-packages."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--color=no"]
    command += ["-p", "no:hypothesispytest"]  # it is slow to import
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    last_line = done.stdout.strip().rpartition("\n")[2]

    def count(word: str) -> int:
        found = re.search(rf"(\d+) {word}", last_line)
        return int(found[1]) if found else 0

    failed = count("failed") + count("errors?")
    return Outcomes(count("passed"), failed, count("skipped"), count("xfailed"), done.stdout)
