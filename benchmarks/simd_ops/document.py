"""Writes results as the tables of ``docs/simd.md``, and reads them back."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from simd_ops.groups import SECTIONS
from simd_ops.measure import Result

__all__ = ["Engines", "Speeds", "Tables", "machine", "read_tables", "render", "verdict"]

THRESHOLD = 1.15
"""Ratio from which a difference counts: `fast` from here, `slow` below the inverse."""

_INVALID = "no"
_VERSIONS = ["engine", "version"]
_WORDS = ["instructions", "step", "plain equivalent"]
_CPU_FLAGS = ("sse4_1", "avx2", "fma", "avx_vnni", "avx512f", "avx512vl", "avx512_vnni")

Engines = Mapping[str, str]
"""Name of an engine to its version."""
Tables = Mapping[str, Mapping[str, Result]]
"""Name of a group to name of an engine to what was found."""
Speeds = Mapping[str, Mapping[str, float | None]]
"""Name of a tile to name of an engine to GFLOP/s."""

_PLAIN_F32 = "f32x4.mul, f32x4.add"
_RATES = {
    "f32, mul and add": (_PLAIN_F32, False, 4),
    "f32, relaxed_madd": ("f32x4.relaxed_madd", False, 4),
    "int16, dot": ("i32x4.dot_i16x8_s", False, 8),
    "int16, extmul": ("i32x4.dot_i16x8_s", True, 8),
    "int8, relaxed_dot_add": ("i32x4.relaxed_dot_i8x16_i7x16_add_s", False, 16),
    "int8, extended to int16, dot": ("i32x4.dot_i16x8_s of extended int8", False, 16),
    "int8, extmul, extadd_pairwise": ("i32x4.dot_i16x8_s of extended int8", True, 16),
}
"""Ways to multiply and add: group, whether its plain equivalent, products in a step."""


@dataclass(frozen=True, slots=True)
class Page:
    """What was read back from the document."""

    engines: Mapping[str, str]
    """Name of an engine to the version that was measured."""
    valid: Mapping[str, Mapping[str, bool]]
    """Name of a group to name of an engine to whether it validates there."""


def verdict(ratio: float) -> str:
    """``fast``, ``even`` or ``slow``, for the plain equivalent's time as a multiple."""
    if ratio >= THRESHOLD:
        return "fast"
    return "slow" if ratio <= 1 / THRESHOLD else "even"


def machine() -> str:
    """The CPU's name and those of its vector extensions that matter here."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"^model name\s*: (.*)$", text, re.M)
    found = re.search(r"^flags\s*: (.*)$", text, re.M)
    flags = found[1].split() if found else []
    extensions = [flag for flag in _CPU_FLAGS if flag in flags]
    named = name[1].strip() if name else platform.processor() or platform.machine()
    return f"{named} ({', '.join(extensions)})" if extensions else named


def render(engines: Engines, tables: Tables, tiles: Speeds) -> str:
    """The whole document."""
    versions = [[name, version] for name, version in engines.items()]
    parts = [
        _INTRODUCTION.format(machine=machine()),
        _table(_VERSIONS, versions),
        "## What a matrix product can count on\n",
        "Products that are multiplied and added up in a nanosecond, in registers, on one thread:\n",
        _rates(engines, tables),
        _summary(engines, tables),
        _TILES,
        _table(
            ["GFLOP/s", *engines],
            [[tile, *(_speed(row[name]) for name in engines)] for tile, row in tiles.items()],
        ),
        _READING.format(threshold=THRESHOLD, inverse=1 / THRESHOLD),
    ]
    for section, groups in SECTIONS.items():
        rows = [
            [f"`{group.name}`", *(_cell(tables[group.name][name]) for name in engines)]
            for group in groups
        ]
        parts += [f"## {section}\n", _table(["instructions", *engines], rows)]
        words = [[f"`{group.name}`", group.case.words, group.plain.words] for group in groups]
        parts += [_table(_WORDS, words)]
    return "\n".join(parts).rstrip() + "\n"


def read_tables(text: str) -> Page:
    """What the document says of validity; raises ValueError if it is not such a document."""
    engines: dict[str, str] = {}
    valid: dict[str, dict[str, bool]] = {}
    header: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            header = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not header:
            header = cells
        elif cells[0] == "---":
            continue
        elif header == _VERSIONS:
            engines[cells[0]] = cells[1]
        elif header[0] == _WORDS[0] and header != _WORDS:
            states = [cell != _INVALID for cell in cells[1:]]
            valid[cells[0].strip("`")] = dict(zip(header[1:], states, strict=True))
    if not valid:
        raise ValueError("no table of instructions")
    return Page(engines, valid)


def _cell(result: Result) -> str:
    if not result.valid:
        return _INVALID
    if result.ns is None or result.ratio is None:
        return "yes"
    return f"{verdict(result.ratio)} {result.ratio:.2f} ({_nanoseconds(result.ns)})"


def _nanoseconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _rates(engines: Engines, tables: Tables) -> str:
    rows = []
    for way in _RATES:
        rates = [_rate(tables, name, way) for name in engines]
        rows.append([way, *("-" if rate is None else f"{rate:.1f}" for rate in rates)])
    return _table(["products per ns", *engines], rows)


def _rate(tables: Tables, name: str, way: str) -> float | None:
    group, plain, products = _RATES[way]
    result = tables[group][name]
    taken = result.plain_ns if plain else result.ns
    return products / taken if taken else None


def _summary(engines: Engines, tables: Tables) -> str:
    """What the tables say about the instructions of matrix products, in words."""
    with_simd = [name for name in engines if tables[_PLAIN_F32][name].valid]
    safe, slow, missing = [], [], []
    for group in (group for groups in SECTIONS.values() for group in groups if group.matmul):
        row = tables[group.name]
        lacking = [name for name in with_simd if not row[name].valid]
        slower = [name for name in with_simd if _verdict(row[name]) == "slow"]
        if not lacking and not slower:
            safe.append(f"`{group.name}`")
        if slower:
            slow.append(f"`{group.name}` ({', '.join(slower)})")
        if lacking:
            missing.append(f"`{group.name}` ({', '.join(lacking)})")
    lines = [
        f"- **{name}**: {_advice(tables, name) if name in with_simd else _NO_SIMD}"
        for name in engines
    ]
    lines += [
        f"- **Valid on every engine with SIMD and nowhere slower than plain**: {_listed(safe)}.",
        f"- **Slower than the plain equivalent somewhere**: {_listed(slow)}.",
        f"- **Not valid everywhere**: {_listed(missing)}.",
    ]
    return "\n".join(lines) + "\n"


def _speed(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


_NO_SIMD = "no SIMD; scalar kernels only."


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


def _verdict(result: Result) -> str | None:
    return None if result.ratio is None else verdict(result.ratio)


def _advice(tables: Tables, name: str) -> str:
    """The best way of each kind on one engine, beside the plain one."""
    parts = []
    for kind in ("f32", "int16", "int8"):
        ways = [way for way in _RATES if way.startswith(kind) and _rate(tables, name, way)]
        if not ways:
            continue
        plain = ways[0] if kind == "f32" else ways[-1]
        best = max(ways, key=lambda way: _rate(tables, name, way) or 0.0)
        gain = (_rate(tables, name, best) or 0.0) / (_rate(tables, name, plain) or 1.0)
        if gain < THRESHOLD:
            parts.append(f"{plain} ({_others(ways, plain)})")
        else:
            of_plain = plain.partition(", ")[2]
            parts.append(f"{best}: {gain:.1f} times the rate of {of_plain}")
    return ("; ".join(parts) or "not measured") + "."


def _others(ways: list[str], plain: str) -> str:
    others = [way.partition(", ")[2] for way in ways if way != plain]
    return f"{' and '.join(others)} gains nothing" if others else "the only one"


_INTRODUCTION = """# SIMD instructions

Which instructions of SIMD and relaxed SIMD each engine has, and what they cost there. Written by
`python benchmarks/simd.py --write`; do not edit.

Measured on {machine}.
Ratios belong to that CPU as much as to the engines: on one without AVX-512, FMA or VNNI some of
them are others.
"""

_TILES = """## Tiles of an f32 matrix product

The inner loop of a packed matrix product on one thread, the tile in registers where the engine
finds enough of them. Operands stay in the first-level cache.

wasmtime looks in every round of every loop whether it should stop (epoch interruption), and
Cranelift keeps whatever lives across that check on the stack: each round stores and loads the
whole tile. Longer rounds hide it.
"""

_READING = """## How to read the tables

A cell says whether the instruction is worth using on that engine: the *ratio* is the time that
the plain equivalent takes on the same engine, divided by the instruction's. From {threshold} on it
is `fast`, below {inverse:.2f} `slow` (use the plain equivalent), between them `even`. In brackets
stands the time of one step in nanoseconds; `no` means that the module does not validate.

A step is one instruction with what it needs to have an effect, as the second table of each section
says, and the plain equivalent does the same amount of work: for a scalar equivalent, as many steps
as the vector has lanes. Nothing is subtracted. Ten independent states take steps in turn, forty
steps to a round of a loop in wasm, so this is throughput, not latency. Every step depends on the
one before it on the same state, and operands come from memory, so that no step can be left out or
moved out of the loop. States, memory and result are compared with numpy's before and after the
measurement. Engines that compile in tiers are called until a call no longer gets faster; then the
instruction and its equivalent take turns, and the least of their CPU times counts. wasmtime's code
can be interrupted in every round, which costs a store and a load of each state there.

An engine that compiles a relaxed instruction as its exact counterpart shows `even` there. Results
of relaxed instructions may differ between engines. The operands here are such that they
may not: no rounding between multiplication and addition, 7 bits for the second operand of the dot
products, indexes below 16, masks of whole lanes, numbers in range.
"""
