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
from spec_scripts import load_script

from iree_wasm_hal.engine import open_engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import TextIOWrapper

    from iree_wasm_hal.engine import Engine


def serve(open_: Callable[[], Engine]) -> None:
    """Opens an engine and runs what standard input asks for."""
    # Engines may print: only answers reach the parent.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    engine = open_()
    _answer(answers, {"version": engine.info.version})
    for request in sys.stdin:
        asked = json.loads(request)
        trace = (lambda line: _answer(answers, {"line": line})) if asked["trace"] else None
        outcome = run_script(engine, load_script(asked["script"]), trace, frozenset(asked["skip"]))
        _answer(answers, {"outcome": outcome.to_json()})


def _answer(answers: TextIOWrapper, document: dict[str, Any]) -> None:
    answers.write(json.dumps(document) + "\n")
    answers.flush()


if __name__ == "__main__":
    serve(lambda: open_engine(sys.argv[1]))
