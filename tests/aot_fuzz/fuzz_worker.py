"""The child process that runs kernels, so that it may die: ``fuzz_worker.py``.

Reads one request per line (JSON: kernels or seeds, modes) and answers ``{"mode": name}`` before
each mode, then ``{"differences": [...]}``.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import Any

from fuzz_generate import generate
from fuzz_kernel import Kernel
from fuzz_run import REFERENCE, Mode, Runner


def serve() -> None:
    """Answers requests until standard input ends."""
    # Engines may print: only answers reach the parent.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    runner = Runner()
    for line in sys.stdin:
        asked = json.loads(line)
        kernels = [Kernel.from_json(one) for one in asked.get("kernels", ())]
        kernels += [generate(seed) for seed in asked.get("seeds", ())]
        answer({"mode": REFERENCE.name})
        expected = runner.reference(kernels)
        differences = []
        for mode in (Mode(**one) for one in asked["modes"]):
            answer({"mode": mode.name})
            differences += runner.compare(kernels, expected, mode)
        answer({"differences": [asdict(one) for one in differences]})


if __name__ == "__main__":
    serve()
