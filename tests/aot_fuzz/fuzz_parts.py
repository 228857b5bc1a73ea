"""The other parts of kernels: transpositions, straight-line code of any kind, scalar tails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuzz_builder import random_immediate, random_shuffle
from fuzz_kernel import If
from fuzz_ops import OPS, POINTER_OF, UNIT

if TYPE_CHECKING:
    from fuzz_builder import Builder
    from fuzz_kernel import Operand

__all__ = ["add_soup", "add_tail", "add_transposition"]

_ANY = [
    name
    for name, op in OPS.items()
    if op.group not in ("address", "copy", "relaxed", "relaxed rest")
    and not op.immediate.startswith("memory")
]
_ACCESSES = [name for name, op in OPS.items() if op.immediate.startswith("memory")]


def add_soup(builder: Builder) -> None:
    """Instructions of every kind on whatever is there, loads and stores among them."""
    source = builder.source
    for _ in range(source.randrange(4, 50)):
        if source.random() < 0.35:
            _random_access(builder, source.choice(_ACCESSES))
            continue
        name = source.choice(_ANY)
        _random_instruction(builder, name)


def _random_instruction(builder: Builder, name: str) -> None:
    op = OPS[name]
    operands: list[Operand] = []
    for kind in op.operands:
        if kind in "il" and builder.source.random() < 0.25:
            operands.append(builder.source.choice((0, 1, 5, 31, 1 << 31, 255)))
            continue
        operand = builder.operand(kind, builder.pool)
        if operand is None:
            return
        operands.append(operand)
    builder.pool.append(builder.emit(name, operands, random_immediate(builder.source, op)))


def _random_access(builder: Builder, name: str) -> None:
    source, op = builder.source, OPS[name]
    kind = op.operands[0]
    pointer = source.choice(builder.pointers[kind])
    unit = UNIT[kind]
    if source.random() < 0.2:
        index = builder.operand("i", builder.pool)
        if index:
            pointer = builder.emit(f"index:{kind}", (pointer, index), (1024 - unit,))
    place = unit * source.choice((*range(8), source.randrange(64), -source.randrange(64)))
    operands = []
    if len(op.operands) == 2:
        value = builder.operand(op.operands[1], builder.pool)
        if value is None:
            return
        operands.append(value)
    register, offset = builder.address(pointer, place)
    lane = (source.randrange(16 // op.width),) if op.immediate == "memory lane" else ()
    result = builder.emit(name, (register, *operands), (offset, *lane))
    if result:
        builder.pool.append(result)


def add_transposition(builder: Builder) -> None:
    """Rows are loaded, mixed by a network of shuffles, and stored."""
    source = builder.source
    kind = source.choice("vvxy")
    least = {"v": 1, "x": 4, "y": 8}[kind]
    suffix = "" if kind == "v" else f":{kind}"
    count = source.choice((2, 4, 4, 8, 16))
    pointers = builder.pointers[POINTER_OF[kind]]
    row_stride = source.choice((16, 16, 32, 64, 8))
    rows = []
    for row in range(count):
        register, offset = builder.address(pointers[0], row * row_stride)
        rows.append(builder.emit(f"v128.load{suffix}", (register,), (offset,)))
    distance = count // 2
    while distance:
        masks = (random_shuffle(source, least), random_shuffle(source, least))
        for row in range(count):
            if not row & distance:
                pair = (rows[row], rows[row + distance])
                for place, mask in zip((row, row + distance), masks, strict=True):
                    rows[place] = builder.emit(f"i8x16.shuffle{suffix}", pair, mask)
        distance = distance // 2 if source.random() < 0.9 else 0
    target = source.choice(pointers)
    order = list(range(count))
    if source.random() < 0.4:
        source.shuffle(order)
    for row in order:
        register, offset = builder.address(target, row * source.choice((16, row_stride)))
        builder.emit(f"v128.store{suffix}", (register, rows[row]), (offset,))
    builder.pool += rows[:4]


def add_tail(builder: Builder) -> None:
    """A scalar loop over single elements, as behind a vector loop, with a condition in it."""
    source = builder.source
    load, store, unit = source.choice(
        (
            ("i32.load8_u", "i32.store8", 1),
            ("i32.load16_s", "i32.store16", 2),
            ("i32.load", "i32.store", 4),
            ("i64.load", "i64.store", 8),
            ("f32.load", "f32.store", 4),
            ("f64.load", "f64.store", 8),
        )
    )
    kind = OPS[load].result
    source_pointer, target_pointer = (
        source.choice(builder.pointers[POINTER_OF[kind]]) for _ in range(2)
    )
    total = builder.register(kind)
    with builder.loop("i0", 8):
        at = builder.counters[-1]
        region = POINTER_OF[kind]
        where = [
            builder.emit(f"scale:{region}", (pointer, at), (unit,))
            for pointer in (source_pointer, target_pointer)
        ]
        value = builder.emit(load, (where[0],), (unit * source.randrange(4),))
        other = builder.emit(load, (where[0],), (unit * source.randrange(4),))
        prefix = {"i": "i32", "l": "i64", "f": "f32", "d": "f64"}[kind]
        condition = builder.emit(f"{prefix}.{'lt' if kind in 'fd' else 'lt_s'}", (value, other))
        joined = builder.register(kind)
        branch = If(condition)
        for branch_body, operation in ((branch.then, "add"), (branch.otherwise, "mul")):
            with builder.collected() as statements:
                builder.emit(f"{prefix}.{operation}", (value, other), result=joined)
                if source.random() < 0.3:
                    builder.emit(store, (where[1], value), (unit * source.randrange(9),))
            branch_body.extend(statements)
        builder.body.append(branch)
        builder.emit(f"{prefix}.add", (total, joined), result=total)
        builder.emit(store, (where[1], joined), (unit * source.choice((0, 0, 4, 8)),))
    builder.pool.append(total)
