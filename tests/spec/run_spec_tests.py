"""Runs the official tests: ``run_spec_tests.py [ENGINE ...] [--scripts PATTERN] [--write]``.

Prints, per engine, the groups and what is not as known. ``--write`` puts the section into
``docs/engines.md``; all engines must be there for it.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "engine"))

from spec_differences import DIFFERENCES, check_differences
from spec_document import Cell, count_groups, write_section
from spec_run import run_engine
from spec_scripts import Script, load_scripts

from iree_wasm_hal.engine import list_engines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="*")
    parser.add_argument("--scripts", default="*")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    scripts = [one for one in load_scripts() if fnmatch.fnmatch(one.name, arguments.scripts)]
    engines = arguments.engines or [
        record.name for record in list_engines() if record.available and record.name != "null"
    ]
    columns, right = {}, True
    for engine in engines:
        columns[engine], complaints = _run(engine, scripts)
        right = right and not complaints
    if arguments.write:
        write_section(scripts, columns)
    return 0 if right else 1


def _run(engine: str, scripts: list[Script]) -> tuple[dict[str, Cell], list[str]]:
    begin = time.perf_counter()
    version, outcomes = run_engine(engine, scripts)
    cells = count_groups(scripts, outcomes)
    print(f"{engine} {version}: {time.perf_counter() - begin:.1f} s")
    for group, cell in cells.items():
        print(f"  {group}: {cell}")
    complaints = check_differences(outcomes, DIFFERENCES.get(engine, ()))
    for complaint in complaints:
        print(f"  NOT AS KNOWN: {complaint}")
    return cells, complaints


if __name__ == "__main__":
    sys.exit(main())
