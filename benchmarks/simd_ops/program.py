"""wasm modules that repeat a case's step, and what they must compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided
from wasmtime import wat2wasm

if TYPE_CHECKING:
    from simd_ops.cases import Array, Case, Group

__all__ = [
    "BYTE_LENGTH",
    "RESULTS",
    "STATES",
    "STEPS_PER_ROUND",
    "assemble",
    "expected",
    "initial_memory",
    "text",
]

_CHAINS = 10
"""Independent states: enough to hide latencies, few enough for 16 vector registers."""
_REPEATS = 4
"""Steps of each state in a round of the loop. The loop itself should cost little, but Cranelift
emits all steps of one state in a row: with more of them, the processor sees too few states."""
STEPS_PER_ROUND = _CHAINS * _REPEATS

_STATES, _OPERANDS, _RESULTS, _BUFFER = 1024, 1536, 2048, 4096
STATES = slice(_STATES, _STATES + 16 * _CHAINS)
RESULTS = slice(_RESULTS, _RESULTS + 16 * _CHAINS)
"""Where the states begin and end, a row of 16 bytes for each."""
_ROUNDS = 16
"""Rounds after which the addresses start again; the buffer stays in the first-level cache."""
_ROUND_BYTES = 16 * STEPS_PER_ROUND
_CHECKED_BYTES = 16384
"""Of the memory: states, operands, results and buffer."""
BYTE_LENGTH = {"v128": 16, "i64": 8, "f64": 8, "i32": 4, "f32": 4}
"""Of a state, by its type."""


def assemble(case: Case) -> bytes:
    """The module: imports ``env.memory``, exports ``run(rounds) -> total``."""
    return bytes(wat2wasm(text(case)))


def text(case: Case) -> str:
    """The module in the text format."""
    kind = case.kind
    states = [f"$v{chain}" for chain in range(_CHAINS)]
    sums = [f"$s{chain}" for chain in range(_CHAINS)] if case.total else []
    lines = [
        '(module (import "env" "memory" (memory 1 1))',
        '(func (export "run") (param $rounds i32) (result i32)',
        "(local $round i32) (local $p i32)",
        *(f"(local {name} {kind})" for name in ("$y", "$z", "$t", *states)),
        *(f"(local {name} i32)" for name in sums),
        *(
            f"(local.set {name} ({kind}.load offset={_STATES + 16 * chain} (i32.const 0)))"
            for chain, name in enumerate(states)
        ),
        f"(local.set $y ({kind}.load offset={_OPERANDS} (i32.const 0)))",
        f"(local.set $z ({kind}.load offset={_OPERANDS + 16} (i32.const 0)))",
        "(loop $next",
        *([_ADDRESS] if "{p}" in case.step + case.store else []),
        *_steps(case),
        "(local.set $round (i32.add (local.get $round) (i32.const 1)))",
        "(br_if $next (i32.lt_s (local.get $round) (local.get $rounds))))",
        *(
            f"({kind}.store offset={_RESULTS + 16 * chain} (i32.const 0) (local.get {name}))"
            for chain, name in enumerate(states)
        ),
        "(local.get $round)" if not sums else "(i32.const 0)",
        *(f"(i32.add (local.get {name}))" for name in sums),
        "))",
    ]
    return "\n".join(lines)


_ADDRESS = (
    f"(local.set $p (i32.mul (i32.and (local.get $round) (i32.const {_ROUNDS - 1}))"
    f" (i32.const {_ROUND_BYTES})))"
)


def _steps(case: Case) -> list[str]:
    lines = []
    for step in range(STEPS_PER_ROUND):
        chain = step % _CHAINS
        offset = _BUFFER + 16 * step
        words = {
            "v": f"(local.get $v{chain})",
            "y": "(local.get $y)",
            "z": "(local.get $z)",
            "t": "$t",
            "p": "(local.get $p)",
            "o": str(offset),
            "o_4": str(offset + 4),
        }
        if case.store:
            lines.append(case.store.format_map(words))
        if case.total:
            total = case.total.format_map(words)
            lines.append(f"(local.set $s{chain} (i32.add (local.get $s{chain}) {total}))")
        lines.append(f"(local.set $v{chain} {case.step.format_map(words)})")
    return lines


def initial_memory(group: Group) -> Array:
    """The start of the memory: states, operands and bytes to load."""
    memory = np.zeros(_CHECKED_BYTES, np.uint8)
    loaded = memory[_BUFFER:]
    loaded[:] = np.random.default_rng(12).integers(0, 256, len(loaded), np.uint8)
    states = group.v.reshape(-1).view(np.uint8)[: 16 * _CHAINS]
    memory[_STATES : _STATES + len(states)] = states
    for at, operand in ((_OPERANDS, group.y), (_OPERANDS + 16, group.z)):
        memory[at : at + 16] = operand.reshape(-1).view(np.uint8)
    return memory


def expected(group: Group, case: Case, rounds: int) -> tuple[Array, int]:
    """The memory and the result after ``run(rounds)``, by numpy."""
    memory = initial_memory(group)
    width = BYTE_LENGTH[case.kind]

    def rows(place: slice) -> Array:
        return memory[place].reshape(_CHAINS, 16)[:, :width]

    state = np.ascontiguousarray(rows(STATES))
    y, z = (memory[at : at + width].copy() for at in (_OPERANDS, _OPERANDS + 16))
    total = 0
    for step in range(rounds * _REPEATS):
        turn, repeat = divmod(step, _REPEATS)
        start = _BUFFER + turn % _ROUNDS * _ROUND_BYTES + repeat * 16 * _CHAINS
        window = as_strided(memory[start:], (_CHAINS, 32), (16, 1), writeable=True)
        if case.total_reference:
            total += int(case.total_reference(state, y, z, window).sum())
        state = case.reference(state, y, z, window)
    rows(RESULTS)[:] = state
    return memory, total if case.total else rounds
