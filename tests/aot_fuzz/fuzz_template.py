"""A template: the few instructions that all neighbours of a group have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fuzz_builder import COMPARISONS, accepts, ops_of, random_immediate
from fuzz_ops import OPS, POINTER_OF, UNIT

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

__all__ = ["COMBINATIONS", "DOMAINS", "Leaf", "Step", "Template", "random_template"]

DOMAINS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("f32",), "xxxv"),
    (("f32",), "x"),
    (("f32", "splat", "lane"), "xxfv"),
    (("f32", "convert", "i32", "bits"), "xv"),
    (("f64",), "yyv"),
    (("f64", "convert", "lane"), "yxvd"),
    (("f32", "f64", "mask", "shuffle"), "xyv"),
    (("i8", "bits"), "v"),
    (("i8", "shuffle", "swizzle"), "v"),
    (("i16", "bits"), "v"),
    (("i32", "bits"), "v"),
    (("i32",), "v"),
    (("i64", "bits", "shuffle"), "v"),
    (("i32", "mask", "select", "lane"), "vi"),
    (("widen", "i16", "i32"), "v"),
    (("widen", "narrow"), "v"),
    (("narrow", "i16", "i8"), "v"),
    (("widen", "i64", "i32", "lane", "splat"), "vil"),
    (("i8", "i16", "i32", "i64", "lane", "splat"), "vi"),
    (("i32 scalar",), "i"),
    (("i64 scalar", "scalar convert"), "li"),
    (("f32 scalar", "splat"), "ffx"),
    (("f64 scalar", "scalar convert", "select"), "dfi"),
    (("i32 scalar", "splat", "i32"), "iv"),
)
"""Groups of instructions that go together, and the types of the values they start from."""

RELAXED_DOMAINS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("relaxed", "f32"), "xxx"),
    (("relaxed", "f64"), "yy"),
    (("relaxed",), "xy"),
    (("relaxed rest", "i32", "i64"), "vv"),
    (("relaxed rest", "f32", "f64"), "xyv"),
)
"""Those that only modules with relaxed SIMD have."""

_SCALAR_GROUPS = {f"{kind} scalar": kind for kind in ("i32", "i64", "f32", "f64")}
_SCALAR_PREFIX = {"i": "i32", "l": "i64", "f": "f32", "d": "f64"}
_LOADS = {
    kind: [name for name, op in OPS.items() if op.immediate == "memory" and op.result == kind]
    for kind in "vxyilfd"
}
_FAVOURED = {kind: [name for name in _LOADS[kind] if OPS[name].width == 16] for kind in "vxy"}
COMBINATIONS = {
    "v": ("i32x4.add", "i8x16.add", "i16x8.add_sat_s", "v128.xor", "i32x4.max_s", "i64x2.add"),
    "x": ("f32x4.add", "f32x4.max", "f32x4.mul", "f32x4.pmin"),
    "y": ("f64x2.add", "f64x2.min", "f64x2.pmax"),
    "i": ("i32.add", "i32.xor", "i32.mul"),
    "l": ("i64.add", "i64.or"),
    "f": ("f32.add", "f32.min"),
    "d": ("f64.add", "f64.max"),
    "m": ("v128.and:m", "v128.or:m", "v128.xor:m"),
    "n": ("v128.and:n", "v128.or:n", "v128.xor:n"),
}
"""Ways to make one of two values of a type."""


@dataclass(slots=True)
class Leaf:
    """Where a template's values come from.

    Attributes:
        kind: ``load``, ``constant``, ``varied`` (a constant per neighbour) or ``pool``.
        type: Of its register.
        op: The load.
        by_row: Whether rows of neighbours have values of their own.
        by_column: Whether columns have.
        start: Byte offset of the first from the pointer.
        row_stride: Bytes from row to row.
        column_stride: Bytes from column to column.
        which: Of the region's addresses, or of the pool.
    """

    kind: str
    type: str
    op: str = ""
    by_row: bool = True
    by_column: bool = True
    start: int = 0
    row_stride: int = 0
    column_stride: int = 0
    which: int = 0


@dataclass(slots=True)
class Step:
    """One instruction; operands are indexes of leaves and earlier steps, or constants below 0.

    Attributes:
        op: The instruction.
        operands: Index of a value, or ``~constant`` for an i32 or i64 constant.
        immediate: As in the instruction.
        varied: Whether the immediate is drawn anew for every neighbour.
    """

    op: str
    operands: tuple[int, ...]
    immediate: tuple[int, ...]
    varied: bool = False


@dataclass(slots=True)
class Template:
    """What each neighbour does.

    Attributes:
        leaves: Its inputs.
        steps: Its instructions; the last one's value is the result.
        accumulates: Position (step, operand) that reads the neighbour's accumulator, or None.
    """

    leaves: list[Leaf]
    steps: list[Step] = field(default_factory=list)
    accumulates: tuple[int, int] | None = None

    @property
    def types(self) -> list[str]:
        """Register types of leaves and steps."""
        return [leaf.type for leaf in self.leaves] + [OPS[step.op].result for step in self.steps]


def random_template(
    source: random.Random,
    rows: int,
    columns: int,
    pool: Sequence[str],
    *,
    accumulate: bool,
    relaxed: bool = False,
) -> Template:
    """A template for ``rows`` x ``columns`` neighbours."""
    groups, starts = source.choice(RELAXED_DOMAINS if relaxed else DOMAINS)
    template = Template([])
    for kind in [source.choice(starts) for _ in range(source.choice((1, 2, 2, 3)))]:
        template.leaves.append(_random_leaf(source, kind, rows, columns))
    if pool and source.random() < 0.3:
        which = source.randrange(len(pool))
        template.leaves.append(Leaf("pool", pool[which][0], which=which))
    ops = _ops(groups)
    for _ in range(source.choice((1, 1, 2, 2, 3, 4, 5, 6, 8))):
        _append_step(source, template, ops)
    _combine_unused(source, template)
    if not template.steps:
        kind = template.leaves[0].type
        template.steps.append(Step(f"copy:{kind}", (0,), ()))
    if accumulate:
        _accumulate(source, template)
    return template


def _ops(groups: Sequence[str]) -> list[str]:
    ops = ops_of([group for group in groups if group not in _SCALAR_GROUPS])
    for group in groups:
        if group in _SCALAR_GROUPS:
            ops += ops_of([_SCALAR_GROUPS[group]]) if group[0] == "i" else _scalar_float(group)
            ops = [op for op in ops if not _is_vector_of(op)]
    return ops


def _scalar_float(group: str) -> list[str]:
    return [name for name in OPS if name.startswith(f"{_SCALAR_GROUPS[group]}.")
            and OPS[name].immediate == "" and OPS[name].group == _SCALAR_GROUPS[group]]  # fmt: skip


def _is_vector_of(op: str) -> bool:
    return op.partition(".")[0] in {"i32x4", "i64x2"} and OPS[op].group in {"i32", "i64"}


def _random_leaf(source: random.Random, kind: str, rows: int, columns: int) -> Leaf:
    chance = source.random()
    if kind == "v" and chance < 0.12:
        return Leaf("constant" if chance < 0.06 else "varied", "v")
    loads = _FAVOURED.get(kind, ()) if source.random() < 0.7 else ()
    op = source.choice(loads or _LOADS[kind])
    by_row, by_column = source.choice(((True, True), (True, False), (False, True), (False, False)))
    if rows == 1:
        by_column = by_column or source.random() < 0.8
    width = OPS[op].width
    unit = UNIT[POINTER_OF[kind]]
    strides = [width] * 6 + [2 * width, width + unit, max(unit, width // 2), -width, 32, 4 * unit]
    stride = source.choice(strides)
    stride -= stride % unit
    across = columns if by_column else 1
    row_stride = source.choice((stride * across, stride * across, 64, 128, width))
    row_stride -= row_stride % unit
    start = unit * source.choice((0, 0, 0, 1, 4, 16, 64, source.randrange(64)))
    extent = abs(stride) * columns + abs(row_stride) * rows
    if extent > 1800:
        stride, row_stride = unit, unit * columns
    return Leaf("load", kind, op, by_row, by_column, start, row_stride, stride, source.randrange(2))


def _append_step(source: random.Random, template: Template, ops: list[str]) -> None:
    for _ in range(12):
        name = source.choice(ops)
        if name in COMPARISONS and source.random() < 0.7:
            continue
        op = OPS[name]
        types = template.types
        operands: list[int] = []
        for kind in op.operands:
            fitting = [at for at, one in enumerate(types) if accepts(kind, one)]
            if kind in "il" and (not fitting or source.random() < 0.3):
                operands.append(~source.choice((0, 1, 3, 7, 8, 31, 32, 33, 255, 65535, 1 << 30)))
            elif fitting:
                operands.append(fitting[-1 - int(len(fitting) * source.random() ** 2)])
        if len(operands) == len(op.operands) and any(at >= 0 for at in operands):
            varied = op.immediate == "lane" and source.random() < 0.4
            immediate = random_immediate(source, op)
            template.steps.append(Step(name, tuple(operands), immediate, varied))
            return


def _combine_unused(source: random.Random, template: Template) -> None:
    """Ends with values that nothing has used so far, as long as there is a way."""
    used = {at for step in template.steps for at in step.operands}
    last = len(template.types) - 1
    for at in range(len(template.leaves), last):
        if at in used or source.random() < 0.3:
            continue
        kind = template.types[-1]
        if template.types[at] == kind and kind in COMBINATIONS:
            op = source.choice(COMBINATIONS[kind])
            template.steps.append(Step(op, (at, len(template.types) - 1), ()))


def _accumulate(source: random.Random, template: Template) -> None:
    """Lets the last step read the accumulator, adding a step if it cannot."""
    step = template.steps[-1]
    kind = OPS[step.op].result
    places = [at for at, one in enumerate(OPS[step.op].operands) if accepts(one, kind)]
    if not places or kind not in COMBINATIONS or source.random() < 0.6:
        if kind not in COMBINATIONS:
            return
        at = len(template.types) - 1
        template.steps.append(Step(source.choice(COMBINATIONS[kind]), (at, at), ()))
        places = [0, 1]
    template.accumulates = (len(template.steps) - 1, source.choice(places))
