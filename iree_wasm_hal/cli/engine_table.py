"""What engines can do, side by side: features as rows, engines as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine.contract import Feature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal.engine.contract import EngineInfo

__all__ = ["feature_rows", "markdown_table", "missing_features"]

_TITLES = {
    Feature.THREADS: "threads",
    Feature.SHARED_MEMORY: "shared-memory",
    Feature.INTERRUPT: "interrupt",
    Feature.SERIALIZE: "serialize (AOT)",
    Feature.SIMD128: "simd128",
    Feature.RELAXED_MADD: "relaxed-madd",
    Feature.RELAXED_DOT: "relaxed-dot",
    Feature.RELAXED_SIMD: "relaxed-simd (rest)",
    Feature.WIDE_VECTORS: "wide-vectors",
    Feature.ATOMICS: "atomics",
    Feature.BULK_MEMORY: "bulk-memory",
    Feature.MEMORY64: "memory64",
    Feature.MULTI_MEMORY: "multi-memory",
    Feature.TAIL_CALL: "tail-call",
    Feature.EXCEPTIONS: "exception-handling",
}
"""Rows in this order; features that are not here follow in the contract's."""


def feature_rows(infos: Sequence[EngineInfo], *, brief: bool = False) -> list[dict[str, str]]:
    """Cells by column title: ``feature``, then each engine's name.

    Args:
        infos: Engines, in the order of their columns.
        brief: Leaves out the features that all but the smallest engines have.
    """
    rows = [{"feature": "memory", **{info.name: info.memory_model.value for info in infos}}]
    others = [] if brief else [feature for feature in Feature if feature not in _TITLES]
    for feature in [*_TITLES, *others]:
        title = _TITLES.get(feature, feature.value)
        cells = {info.name: "yes" if feature in info.features else "no" for info in infos}
        rows.append({"feature": title, **cells})
    return rows


def missing_features(info: EngineInfo) -> list[tuple[str, list[str]]]:
    """Reasons for what an engine lacks, each with the features that it is the reason for."""
    reasons: dict[str, list[str]] = {}
    for feature in Feature:
        if feature not in info.features:
            reasons.setdefault(info.notes.get(feature, ""), []).append(feature.value)
    return list(reasons.items())


def markdown_table(rows: Sequence[dict[str, str]]) -> str:
    """The rows as a Markdown table, the first column as code."""
    titles = list(rows[0])
    lines = [titles, ["---"] * len(titles)]
    for row in rows:
        first, *cells = row.values()
        name, space, remark = first.partition(" ")
        lines.append([f"`{name}`{space}{remark}", *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
