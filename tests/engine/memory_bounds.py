"""Tries every memory access at the edges of a memory and compares what happens."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from memory_accesses import ACCESSES, Access, Form, encode_module, forms_of

from iree_wasm_hal.engine import PAGE_SIZE, Feature, MemoryType, TrapKind, open_engine
from iree_wasm_hal.errors import TrapError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine

    Try = tuple[int, int]
    Outcome = tuple[int | None, bytes]

__all__ = ["TYPES", "check_bounds"]

_FRESH, _GROWN = PAGE_SIZE, 3 * PAGE_SIZE
TYPES = {
    "unshared": MemoryType(1, 3),
    "shared": MemoryType(1, 3, shared=True),
    "memory64": MemoryType(1, 3, index64=True),
}
# Bytes kept of the memory after an access: those around the edges, where it may have written.
_EDGE = 64


@lru_cache(maxsize=8)
def _functions(type_name: str, features: frozenset[Feature]) -> list[tuple[Access, Form]]:
    """Those of a memory type that an engine with some features can have."""
    return [
        (access, form)
        for access in ACCESSES
        if access.feature is None or access.feature in features
        for form in forms_of(access, (_FRESH, _GROWN))
        # Known addresses once: they have nothing to do with the type of the memory.
        if type_name == "unshared" or form.constant is None
    ]


def _parameters(access: Access, form: Form, byte_length: int, bits: int) -> Iterator[int]:
    """Addresses with which the access is just inside, partly or wholly outside, and far away."""
    if form.constant is not None:
        yield 0
        return
    last = byte_length - access.width
    wanted = [last, byte_length, byte_length + access.width, 2**32 - access.width]
    if access.width > 1 and not access.is_atomic:
        wanted += [last + 1, byte_length - 1]
    if form.byte_offset and form.addend:
        wanted.append(form.byte_offset)  # with an index below 0
    parameters = [one - form.byte_offset - form.addend for one in wanted]
    if form.addend == 0:
        parameters = [one for one in parameters if one >= 0]
        parameters += [0, 2**32 - access.width, 2**31, 2**bits - access.width]
        # As large as 2**32 with its offset: nothing may be cut off.
        parameters.append(2**32 - form.byte_offset if form.byte_offset else byte_length)
    if bits == 64:
        parameters += [2**32 + last - form.byte_offset - form.addend, 2**63]
    for parameter in dict.fromkeys(one % 2**bits for one in parameters):
        if not access.is_atomic or form.effective(parameter, bits) % access.width == 0:
            yield parameter


def _uses_low_memory(form: Form, parameter: int, bits: int) -> bool:
    """Whether a sum wraps into the first 64 KiB, which no program uses."""
    wraps = form.addend < PAGE_SIZE and parameter + form.addend >= 2**bits
    return wraps and form.effective(parameter, bits) < PAGE_SIZE


def _tries(access: Access, form: Form, byte_length: int, bits: int) -> list[int]:
    return [
        one
        for one in _parameters(access, form, byte_length, bits)
        if not _uses_low_memory(form, one, bits)
    ]


def _run(engine: Engine, memory_type: MemoryType, functions: list[tuple[Access, Form]]) -> Any:
    """Tries all functions on a fresh and on a grown memory; (outcome or trap, memory) of each."""
    program = engine.compile(encode_module(functions, memory_type))
    memory = engine.create_memory(memory_type)
    instance = engine.instantiate(program, memory)
    bits = 64 if memory_type.index64 else 32
    outcomes = {}
    for byte_length in (_FRESH, _GROWN):
        memory.grow((byte_length - memory.page_count * PAGE_SIZE) // PAGE_SIZE)
        view = np.frombuffer(memory.view(), np.uint8)
        pattern = (np.arange(byte_length) * 7 % 251).astype(np.uint8)
        view[:] = pattern
        for number, (access, form) in enumerate(functions):
            function = instance.function(f"f{number}")
            for parameter in _tries(access, form, byte_length, bits):
                outcome: int | str | None
                try:
                    outcome = function(parameter)
                except TrapError as error:
                    outcome = error.kind
                changed = np.flatnonzero(view != pattern)
                written = {int(at): int(view[at]) for at in changed[:_EDGE]}
                view[changed] = pattern[changed]
                outcomes[byte_length, number, parameter] = outcome, written
    return outcomes


@lru_cache(maxsize=4)
def _expected(type_name: str, features: frozenset[Feature]) -> Any:
    """What wasmtime does, after a check that it is what the addresses ask for."""
    functions = _functions(type_name, features)
    memory_type = TYPES[type_name]
    outcomes = _run(open_engine("wasmtime"), memory_type, functions)
    bits = 64 if memory_type.index64 else 32
    inside = 0
    for (byte_length, number, parameter), (outcome, written) in outcomes.items():
        access, form = functions[number]
        first = form.effective(parameter, bits)
        if first + access.width > byte_length:
            assert (outcome, written) == (TrapKind.OUT_OF_BOUNDS_MEMORY, {}), (access, form)
        else:
            inside += 1
            assert isinstance(outcome, int), (access, form, parameter)
            assert all(first <= at < first + access.width for at in written)
            assert bool(written) <= (not access.is_load)
    assert inside > len(functions)
    assert len(outcomes) - inside > 4 * len(functions)
    return outcomes


def check_bounds(engine: Engine, type_name: str) -> None:
    """Compares an engine with wasmtime, and wasmtime with arithmetic."""
    kinds = frozenset({Feature.SIMD128, Feature.ATOMICS} & engine.info.features)
    expected = _expected(type_name, kinds)
    functions = _functions(type_name, kinds)
    got = _run(engine, TYPES[type_name], functions)
    assert got.keys() == expected.keys()
    wrong = [
        f"{functions[key[1]][0].name} {functions[key[1]][1]} of {key[0]} bytes at {key[2]:#x}: "
        f"{got[key]}; expected {expected[key]}"
        for key in expected
        if got[key] != expected[key]
    ]
    assert not wrong, f"{len(wrong)} of {len(expected)} differ:\n" + "\n".join(wrong[:20])
