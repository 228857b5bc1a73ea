"""Which SIMD instructions each engine has, and which are faster than their plain equivalent.

usage: python benchmarks/simd.py [--engine A,B] [--json FILE|-] [--write]

``--write`` writes docs/simd.md, for which every engine of plugins/ must be installed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from simd_ops.document import machine, render, verdict
from simd_ops.groups import SECTIONS
from simd_ops.measure import Result, measure
from simd_ops.tiles import TILES, gflop_per_s

from iree_wasm_hal.engine import list_engines, open_engine

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "simd.md"
NOT_MEASURED = "null"
"""Runs nothing."""


def plugin_engines() -> list[str]:
    """Engines that this repository has plugins for."""
    projects = ROOT.glob("plugins/*/pyproject.toml")
    folders = (path.parent.name for path in projects)
    return sorted(name.replace("_", "-") for name in folders if name != NOT_MEASURED)


def installed_engines() -> list[str]:
    return [each.name for each in list_engines() if each.available and each.name != NOT_MEASURED]


def measure_all(
    engines: dict[str, Engine], call_s: float, repeats: int
) -> dict[str, dict[str, Result]]:
    """Every group on every engine, the engines in turns; prints as it goes."""
    tables: dict[str, dict[str, Result]] = {}
    for section, groups in SECTIONS.items():
        print(f"\n{section:<62}{''.join(f'{name:>22}' for name in engines)}", file=sys.stderr)
        for group in groups:
            print(f"{group.name:<62}", end="", file=sys.stderr, flush=True)
            row = tables[group.name] = {}
            for name, engine in engines.items():
                row[name] = measure(engine, group, call_s=call_s, repeats=repeats)
                print(f"{_shown(row[name]):>22}", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
    return tables


def measure_tiles(
    engines: dict[str, Engine], call_s: float, repeats: int
) -> dict[str, dict[str, float | None]]:
    """GFLOP/s of every tile on every engine, the engines in turns."""
    print(f"\n{'Tiles, GFLOP/s':<62}{''.join(f'{name:>22}' for name in engines)}", file=sys.stderr)
    speeds: dict[str, dict[str, float | None]] = {}
    for tile in TILES:
        row = speeds[tile.name] = {
            name: gflop_per_s(engine, tile, call_s=call_s, repeats=repeats)
            for name, engine in engines.items()
        }
        shown = (f"{'no' if speed is None else format(speed, '.1f'):>22}" for speed in row.values())
        print(f"{tile.name:<62}{''.join(shown)}", file=sys.stderr)
    return speeds


def _shown(result: Result) -> str:
    if result.ratio is None or result.ns is None:
        return "valid" if result.valid else "no"
    return f"{verdict(result.ratio)} {result.ratio:.2f} {result.ns:8.2f} ns"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engine", help="names, with commas; all that are installed by default")
    parser.add_argument("--call-ms", type=float, default=20.0, help="length of one timed call")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--write", action="store_true", help=f"writes {DOCUMENT.relative_to(ROOT)}")
    options = parser.parse_args()
    names = options.engine.split(",") if options.engine else installed_engines()
    missing = sorted(set(plugin_engines()) - set(names))
    if options.write and missing:
        print(f"error: --write needs all engines; missing: {', '.join(missing)}", file=sys.stderr)
        return 2
    engines = {name: open_engine(name) for name in names}
    tables = measure_all(engines, options.call_ms / 1e3, options.repeats)
    tiles = measure_tiles(engines, options.call_ms / 1e3, options.repeats)
    versions = {name: engine.info.version for name, engine in engines.items()}
    document = {
        "machine": machine(),
        "engines": versions,
        "groups": {
            group: {name: dataclasses.asdict(result) for name, result in row.items()}
            for group, row in tables.items()
        },
        "tiles": tiles,
    }
    if options.json == "-":
        print(json.dumps(document, indent=2))
    elif options.json:
        Path(options.json).write_text(json.dumps(document, indent=2) + "\n")
    if options.write:
        DOCUMENT.write_text(render(versions, tables, tiles))
        print(f"{DOCUMENT.relative_to(ROOT)} written", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
