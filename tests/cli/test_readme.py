"""The README's examples run and print what it says."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands(block: str) -> list[tuple[str, str]]:
    """Pairs of a shell command, with its continuation lines, and its expected output."""
    pairs = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        count = 1 + sum(1 for line in lines[1:] if line.startswith("> "))
        script = "\n".join([lines[0], *(line[2:] for line in lines[1:count])])
        pairs.append((script, "\n".join(lines[count:])))
    return pairs


def without_measures(text: str) -> str:
    """The text with sizes and times replaced, which differ from machine to machine."""
    return re.sub(r"\d+(\.\d+)?(?= (bytes|s)\b)", "N", text.strip())


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the README's shell commands ran."""
    folder = tmp_path_factory.mktemp("readme")
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    pairs = [pair for block in blocks("console") for pair in commands(block)]
    assert len(pairs) == 3
    for script, expected in pairs:
        done = subprocess.run(
            script,
            shell=True,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert without_measures(done.stdout) == without_measures(expected), script
    return folder


def test_python_example(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(example)
    examples = doctest.DocTestParser().get_doctest(blocks("python")[0], {}, "README", None, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    output: list[str] = []
    runner.run(examples, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)
