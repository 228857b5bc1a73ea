"""The child process that runs scripts on one engine: ``spec_worker.py ENGINE``.

Reads one request per line (JSON: name of the script, lines to skip, whether to trace) and answers
with one line each: ``{"line": n}`` before each command where it traces, and at the end the outcome.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from spec_execution import run_script
from spec_scripts import load_scripts

from iree_wasm_hal.engine import open_engine

if TYPE_CHECKING:
    from io import TextIOWrapper


def main() -> None:
    # Engines may print: only answers reach the parent.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    engine = open_engine(sys.argv[1])
    scripts = {script.name: script for script in load_scripts()}
    _answer(answers, {"version": engine.info.version})
    for request in sys.stdin:
        asked = json.loads(request)
        trace = (lambda line: _answer(answers, {"line": line})) if asked["trace"] else None
        outcome = run_script(engine, scripts[asked["script"]], trace, frozenset(asked["skip"]))
        _answer(answers, {"outcome": outcome.to_json()})


def _answer(answers: TextIOWrapper, document: dict[str, Any]) -> None:
    answers.write(json.dumps(document) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
