"""Which engines can run what, for the error that says that the chosen one cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine.contract import EngineInfo, Feature
from iree_wasm_hal.errors import IncompatibleTargetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["KNOWN_ENGINES", "check_features"]

_COMMON = frozenset(
    {
        Feature.BULK_MEMORY,
        Feature.SIGN_EXTENSION,
        Feature.NONTRAPPING_FPTOINT,
        Feature.MULTI_VALUE,
    }
)
_SIMD = _COMMON | {Feature.REFERENCE_TYPES, Feature.SIMD128, Feature.ATOMICS}
_RELAXED = _SIMD | {Feature.RELAXED_SIMD, Feature.RELAXED_MADD, Feature.RELAXED_DOT}

KNOWN_ENGINES: Mapping[str, frozenset[Feature]] = {
    "jsc": _SIMD,
    "v8": _RELAXED | {Feature.MEMORY64, Feature.MULTI_MEMORY},
    "wamr": _SIMD,
    "wasm3": _COMMON,
    "wasmer": _RELAXED,
    "wasmtime": _RELAXED | {Feature.MEMORY64, Feature.MULTI_MEMORY},
}
"""Wasm features that current releases have, as measured. Only for advice: what an engine really
has is probed when it opens."""


def check_features(
    what: str,
    needed: Iterable[Feature],
    engine: EngineInfo,
    known: Mapping[str, frozenset[Feature]] = KNOWN_ENGINES,
) -> None:
    """Checks that an engine has all the features that kernels need.

    Raises:
        IncompatibleTargetError: Names what is missing, why, and the engines that have it.
    """
    missing = sorted(set(needed) - engine.features, key=lambda feature: feature.value)
    if not missing:
        return
    names = ", ".join(
        f"{f.value} ({engine.notes[f]})" if f in engine.notes else f.value for f in missing
    )
    able = [name for name, has in known.items() if has.issuperset(missing) and name != engine.name]
    advice = f"engines that have it: {', '.join(able)}" if able else "no known engine has it"
    raise IncompatibleTargetError(
        f"{what} needs {names}, which {engine.name} {engine.version} lacks; {advice}. Choose one "
        "of them, or compile the model for a lesser target (see docs/compiling.md)"
    )
