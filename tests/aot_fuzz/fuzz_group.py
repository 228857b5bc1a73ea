"""Rows and columns of isomorphic neighbours, the shape that the compiler makes wide vectors of.

All neighbours follow one template; now and then one of them differs a little. They may stand one
after the other, step by step side by side, or mixed; in a loop with accumulators or not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fuzz_builder import accepts, random_constant, random_immediate
from fuzz_ops import OPS, POINTER_OF, UNIT
from fuzz_template import COMBINATIONS, Template, random_template

if TYPE_CHECKING:
    from fuzz_builder import Builder
    from fuzz_kernel import Operand, Statement
    from fuzz_template import Leaf, Step

__all__ = ["add_group"]

# Rows, columns, and how often.
_SHAPES = {
    (1, 2): 6, (1, 3): 4, (1, 4): 12, (1, 5): 2, (1, 6): 2, (1, 7): 2, (1, 8): 10, (1, 12): 2,
    (1, 16): 6, (1, 32): 2, (1, 64): 1, (2, 2): 6, (2, 4): 8, (3, 4): 3, (4, 2): 6, (4, 4): 8,
    (4, 8): 3, (8, 2): 4, (8, 4): 3, (8, 8): 1,
}  # fmt: skip
_MAX_INSTRUCTIONS = 260
_STORES = {kind: f"v128.store{suffix}" for kind, suffix in (("v", ""), ("x", ":x"), ("y", ":y"))}
_STORES |= {"i": "i32.store", "l": "i64.store", "f": "f32.store", "d": "f64.store"}
_NARROW_STORES: dict[str, tuple[str, ...]] = {
    "i": ("i32.store8", "i32.store16"),
    "l": ("i64.store32", "i64.store8"),
}
_NARROW_STORES |= {"v": ("v128.store64_lane", "v128.store32_lane", "v128.store8_lane")}
_NARROW_STORES |= {"x": ("v128.store64_lane:x", "v128.store32_lane:x")}


@dataclass
class _Group:
    """One group while it is being emitted."""

    builder: Builder
    template: Template
    rows: int
    columns: int
    mutated: dict[tuple[int, int], Template | None]
    accumulators: dict[tuple[int, int], str]
    step: int = 0


def add_group(builder: Builder) -> None:
    """Emits a random group."""
    source = builder.source
    rows, columns = source.choices(list(_SHAPES), list(_SHAPES.values()))[0]
    loops = source.choice((0, 0, 1, 1, 1, 2)) if builder.trips == 1 else 0
    accumulate = loops > 0 and source.random() < 0.75
    template = random_template(
        source, rows, columns, builder.pool, accumulate=accumulate, relaxed=builder.relaxed
    )
    while rows * columns * (len(template.steps) + 1) > _MAX_INSTRUCTIONS:
        rows, columns = (rows + 1) // 2, max(columns // 2, 1)
    group = _Group(builder, template, rows, columns, {}, {})
    _mutate(group)
    if template.accumulates is not None:
        _start_accumulators(group)
    if loops == 0:
        _finish(group, _neighbours(group))
        return
    _in_loops(group, loops)
    # Without accumulators the loop has stored its results.
    if template.accumulates is not None:
        _finish(group, group.accumulators)


def _in_loops(group: _Group, loops: int) -> None:
    """One or two loops; the inner one moves the addresses."""
    builder, source = group.builder, group.builder.source
    if loops == 2:
        with builder.loop(source.choice((2, 3, 4)), 4):
            _in_loops(group, 1)
        return
    count, trips = source.choice((("i0", 8), ("i0", 8), (2, 2), (3, 3), (8, 8), (1, 1)))
    group.step = source.choice((16, 64, 32, 8, 4 * group.rows, 16 * group.columns, 24, 0))
    group.step = min(group.step, 2048 // (builder.trips * trips)) // 8 * 8
    bumped = source.random() < 0.6
    walking = {kind: list(members) for kind, members in builder.pointers.items()}
    if bumped:
        for kind, members in walking.items():
            walking[kind] = [builder.emit(f"copy:{kind}", (one,)) for one in members]
    with builder.loop(count, trips):
        if bumped:
            builder.pointers = walking
        else:
            for kind, members in walking.items():
                builder.pointers[kind] = [
                    builder.emit(f"scale:{kind}", (one, builder.counters[-1]), (group.step,))
                    if group.step
                    else one
                    for one in members
                ]
        results = _neighbours(group)
        if not group.template.accumulates or source.random() < 0.15:
            _store(group, results)
        if bumped and group.step:
            for kind, members in walking.items():
                for one in members:
                    builder.emit(f"move:{kind}", (one,), (group.step,), result=one)


def _start_accumulators(group: _Group) -> None:
    builder, source = group.builder, group.builder.source
    kind = group.template.types[-1]
    start = source.choice(("zero", "zero", "load", "one"))
    shared = None
    for row in range(group.rows):
        for column in range(group.columns):
            register = builder.register(kind)
            group.accumulators[row, column] = register
            if start == "load" and kind in _STORES:
                load = _STORES[kind].replace("store", "load")
                place = 16 * (row * group.columns + column)
                pointer, offset = builder.address(builder.pointers[POINTER_OF[kind]][0], place)
                builder.emit(load, (pointer,), (offset,), result=register)
            elif start == "one" and builder.pool:
                shared = shared or builder.operand(kind, builder.pool)
                if shared:
                    builder.emit(f"copy:{kind}", (shared,), result=register)


def _neighbours(group: _Group) -> dict[tuple[int, int], str]:
    """Emits all neighbours in some order; their results."""
    builder, source = group.builder, group.builder.source
    leaves: dict[tuple[int, int, int], str] = {}
    order = source.choice(("row", "row", "step", "mixed"))
    hoisted = order != "row" or source.random() < 0.5
    places = [(row, column) for row in range(group.rows) for column in range(group.columns)]
    if hoisted:
        for row, column in places:
            _leaves(group, row, column, leaves)
    results: dict[tuple[int, int], str] = {}
    bodies: list[list[Statement]] = []
    for place in places:
        template = group.mutated.get(place, group.template)
        if template is None:
            continue
        with builder.collected() as body:
            inputs = _leaves(group, *place, leaves)
            results[place] = _steps(group, template, inputs, place)
        bodies.append(body)
    if order == "step":
        deepest = max(map(len, bodies), default=0)
        for depth in range(deepest):
            builder.body += [body[depth] for body in bodies if depth < len(body)]
    elif order == "mixed":
        while bodies:
            body = source.choice(bodies[:4])
            builder.body.append(body.pop(0))
            bodies = [one for one in bodies if one]
    else:
        for body in bodies:
            builder.body += body
    return results


def _leaves(
    group: _Group, row: int, column: int, known: dict[tuple[int, int, int], str]
) -> list[str]:
    """Registers of the template's leaves for one neighbour; emits those that are new."""
    registers = []
    for number, leaf in enumerate(group.template.leaves):
        key = (number, row if leaf.by_row else 0, column if leaf.by_column else 0)
        if key not in known:
            known[key] = _leaf(group, leaf, key[1], key[2])
        registers.append(known[key])
    return registers


def _leaf(group: _Group, leaf: Leaf, row: int, column: int) -> str:
    builder = group.builder
    if leaf.kind == "pool":
        return builder.pool[leaf.which]
    if leaf.kind in ("constant", "varied"):
        immediate = random_constant(builder.source)
        return builder.emit("v128.const", (), immediate)
    pointer = builder.pointers[POINTER_OF[leaf.type]][leaf.which]
    place = leaf.start + row * leaf.row_stride + column * leaf.column_stride
    register, offset = builder.address(pointer, place)
    return builder.emit(leaf.op, (register,), (offset,))


def _steps(group: _Group, template: Template, inputs: list[str], place: tuple[int, int]) -> str:
    builder = group.builder
    values: list[str] = list(inputs)
    last = len(template.steps) - 1
    accumulator = group.accumulators.get(place)
    for number, step in enumerate(template.steps):
        operands: list[Operand] = [values[at] if at >= 0 else ~at for at in step.operands]
        if accumulator and template.accumulates and template.accumulates[0] == number:
            operands[template.accumulates[1]] = accumulator
        immediate = step.immediate
        if step.varied:
            immediate = ((place[0] * group.columns + place[1]) % OPS[step.op].width,)
        result = accumulator if number == last else None
        values.append(builder.emit(step.op, operands, immediate, result))
    return values[-1]


def _mutate(group: _Group) -> None:
    """Makes some neighbours differ from the others, or go missing."""
    source = group.builder.source
    places = [(row, column) for row in range(group.rows) for column in range(group.columns)]
    mode = source.random()
    if mode < 0.5:
        return
    chosen = (
        [source.choice(places)] if mode < 0.85 else [p for p in places if source.random() < 0.2]
    )
    for place in chosen:
        if source.random() < 0.15:
            group.mutated[place] = None
            continue
        steps = list(group.template.steps)
        at = source.randrange(len(steps))
        steps[at] = _mutated(group, steps[at], at)
        group.mutated[place] = replace(group.template, steps=steps)


def _mutated(group: _Group, step: Step, at: int) -> Step:
    source = group.builder.source
    op = OPS[step.op]
    kind = source.randrange(4)
    if kind == 0:
        same = [
            name
            for name, other in OPS.items()
            if (other.operands, other.result, other.immediate, other.width, other.group)
            == (op.operands, op.result, op.immediate, op.width, op.group)
        ]
        return replace(step, op=source.choice(same))
    if kind == 1 and len(op.operands) == 2 and op.operands[0] == op.operands[1]:
        return replace(step, operands=step.operands[::-1])
    if kind == 2 and op.immediate:
        return replace(step, immediate=random_immediate(source, op), varied=False)
    types = group.template.types[: len(group.template.leaves) + at]
    operands = list(step.operands)
    place = source.randrange(len(operands)) if operands else 0
    fitting = [one for one, t in enumerate(types) if accepts(op.operands[place], t)]
    if fitting:
        operands[place] = source.choice(fitting)
    return replace(step, operands=tuple(operands))


def _finish(group: _Group, results: dict[tuple[int, int], str]) -> None:
    """Stores the results, or combines them, or leaves them to later parts."""
    builder, source = group.builder, group.builder.source
    if source.random() < 0.85:
        _store(group, results)
    registers = list(results.values())
    if registers and source.random() < 0.3:
        registers = [_reduced(builder, registers)]
    builder.pool += registers[:6]


def _reduced(builder: Builder, registers: list[str]) -> str:
    """One value of many, pair by pair or one after the other."""
    kind = registers[0][0]
    if kind not in COMBINATIONS:
        return registers[0]
    op = builder.source.choice(COMBINATIONS[kind])
    if builder.source.random() < 0.5:
        while len(registers) > 1:
            pairs = zip(registers[::2], registers[1::2], strict=False)
            rest = registers[len(registers) // 2 * 2 :]
            registers = [builder.emit(op, pair) for pair in pairs] + rest
        return registers[0]
    total = registers[0]
    for register in registers[1:]:
        total = builder.emit(op, (total, register))
    return total


def _store(group: _Group, results: dict[tuple[int, int], str]) -> None:
    builder, source = group.builder, group.builder.source
    if not results:
        return
    clean = source.random() < 0.25
    first = next(iter(results.values()))
    kind = _stored_type(first[0], clean=clean)
    unit = UNIT[POINTER_OF[kind]]
    op = _STORES[kind]
    if kind in _NARROW_STORES and source.random() < 0.15:
        op = source.choice(_NARROW_STORES[kind])
    width = OPS[op].width
    stride = source.choice([width] * 8 + [2 * width, max(width // 2, unit), width + unit, -width])
    stride -= stride % unit
    row_stride = source.choice((stride * group.columns,) * 3 + (64, 128, 256 - 256 % unit))
    if abs(row_stride) * group.rows + abs(stride) * group.columns > 2000:
        row_stride, stride = 16, 16
    start = unit * source.choice((0, 0, 0, 4, 8, source.randrange(64)))
    pointer = source.choice(builder.pointers[POINTER_OF[kind]])
    for row, column in _permuted(builder, list(results)):
        value = results[row, column]
        if kind != value[0] and value[0] not in "mn":
            value = builder.to_bits(value)
        place = start + row * row_stride + column * stride
        register, offset = builder.address(pointer, place)
        lane: tuple[int, ...] = ()
        if OPS[op].immediate == "memory lane":
            lane = (source.randrange(16 // width),)
        builder.emit(op, (register, value), (offset, *lane))


def _stored_type(kind: str, *, clean: bool) -> str:
    if kind in "mn":
        return "v"
    return {"x": "v", "y": "v", "f": "i", "d": "l"}.get(kind, kind) if clean else kind


def _permuted(builder: Builder, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    source = builder.source
    order = source.choice(("same", "same", "same", "reversed", "columns", "shuffled", "rotated"))
    if order == "reversed":
        places.reverse()
    elif order == "columns":
        places.sort(key=lambda place: place[::-1])
    elif order == "shuffled":
        source.shuffle(places)
    elif order == "rotated":
        start = source.randrange(len(places))
        places = places[start:] + places[:start]
    return places
