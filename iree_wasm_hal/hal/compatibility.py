"""Which engine runs what: the errors that name a missing feature and two ways out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine.contract import EngineInfo, Feature
from iree_wasm_hal.engine.known_engines import KNOWN_ENGINES
from iree_wasm_hal.errors import IncompatibleTargetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["TARGET_FEATURES", "able_engines", "best_target", "check_features", "compile_command"]

_BASE = frozenset({Feature.SIGN_EXTENSION, Feature.NONTRAPPING_FPTOINT})
_SIMD = _BASE | {Feature.BULK_MEMORY, Feature.SIMD128}
_RELAXED = _SIMD | {Feature.RELAXED_SIMD, Feature.RELAXED_MADD, Feature.RELAXED_DOT}
_WIDE = frozenset({Feature.WIDE_VECTORS})
_LEVELS = {
    "-simd128-relaxed-wide": _RELAXED | _WIDE,
    "-simd128-wide": _SIMD | _WIDE,
    "-simd128-relaxed": _RELAXED,
    "-simd128": _SIMD,
    "": _BASE,
}

TARGET_FEATURES: Mapping[str, frozenset[Feature]] = {
    f"wasm{bits}{level}": features | ({Feature.MEMORY64} if bits == 64 else frozenset())
    for bits in (32, 64)
    for level, features in _LEVELS.items()
}
"""What kernels of a target may need, or need to be the best; of each address size, the best first.

The compiler's own table, which this package does not import; a test compares the two.
"""


def best_target(info: EngineInfo, *, index64: bool = False) -> str | None:
    """The compiler's target that makes the most of an engine; None if it runs none."""
    prefix = "wasm64" if index64 else "wasm32"
    for name, features in TARGET_FEATURES.items():
        if name.startswith(prefix) and features <= info.features:
            return name
    return None


def compile_command(info: EngineInfo, *, index64: bool = False) -> str:
    """The command line that compiles a model for an engine, or that there is none."""
    target = best_target(info, index64=index64)
    if target is None:
        return f"no target of `iree-wasm compile` runs on {info.name}"
    return f"iree-wasm compile MODEL -o MODEL.vmfb --target {target}"


def able_engines(
    features: Iterable[Feature], known: Mapping[str, frozenset[Feature]] = KNOWN_ENGINES
) -> str:
    """Names of the engines that have all these features, for a message."""
    able = [name for name, has in known.items() if has.issuperset(features)]
    return ", ".join(able) if able else "none that is known"


def check_features(
    what: str,
    needed: Iterable[Feature],
    engine: EngineInfo,
    known: Mapping[str, frozenset[Feature]] = KNOWN_ENGINES,
) -> None:
    """Checks that an engine has all the features that kernels need.

    Raises:
        IncompatibleTargetError: Names what is missing, why, the engines that have it, and the
            command that compiles for this one.
    """
    needed = frozenset(needed)
    missing = sorted(needed - engine.features, key=lambda feature: feature.value)
    if not missing:
        return
    names = ", ".join(
        f"{f.value} ({engine.notes[f]})" if f in engine.notes else f.value for f in missing
    )
    others = {name: has for name, has in known.items() if name != engine.name}
    pronoun = "it" if len(missing) == 1 else "them"
    index64 = Feature.MEMORY64 in needed and Feature.MEMORY64 in engine.features
    raise IncompatibleTargetError(
        f"{what} needs {names}, which {engine.name} {engine.version} lacks. Engines that have "
        f"{pronoun}: {able_engines(missing, others)}. To run it on {engine.name}: "
        f"{compile_command(engine, index64=index64)}"
    )
