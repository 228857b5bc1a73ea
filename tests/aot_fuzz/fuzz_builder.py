"""Registers, addresses and random instructions: what all parts of a kernel are built with."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from fuzz_kernel import Instruction, Loop
from fuzz_ops import ACCEPTED, OPS, UNIT, Op

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from fuzz_kernel import Operand, Statement

__all__ = ["COMPARISONS", "FAR_OFFSET", "Builder", "accepts", "ops_of", "random_immediate"]

FAR_OFFSET = 0x12800
"""Where arrays at fixed places begin, inside of the region of known bits."""
_SPLAT_BYTES = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x0F)
COMPARISONS = frozenset(
    name
    for name in OPS
    if name.partition(".")[2].partition("_")[0] in {"eq", "ne", "lt", "gt", "le", "ge", "eqz"}
)


def accepts(kind: str, register_type: str) -> bool:
    """Whether an operand of a type may be a register of another."""
    return kind == register_type or register_type in ACCEPTED.get(kind, "")


def ops_of(groups: Sequence[str]) -> list[str]:
    """All instructions of some groups."""
    return [name for name, op in OPS.items() if op.group in groups]


def random_immediate(source: random.Random, op: Op) -> tuple[int, ...]:
    """A lane, a shuffle or a constant; memory instructions get theirs with the address."""
    if op.immediate == "lane":
        return (source.randrange(op.width),)
    if op.immediate == "shuffle":
        return random_shuffle(source, op.width)
    if op.immediate == "const":
        return random_constant(source)
    return ()


def random_shuffle(source: random.Random, least: int) -> tuple[int, ...]:
    """16 byte indexes; whole lanes of ``least`` bytes or more are moved together."""
    width = source.choice([width for width in (1, 2, 4, 8) if width >= least])
    count = 16 // width
    start = source.randrange(2 * count)
    lanes = source.choice(
        (
            [source.randrange(2 * count) for _ in range(count)],
            [(start + lane) % (2 * count) for lane in range(count)],  # a rotation
            [lane // 2 + count * (lane % 2) for lane in range(count)],  # interleaves low halves
            [count // 2 + lane // 2 + count * (lane % 2) for lane in range(count)],
            [start] * count,
            [2 * lane + start % 2 for lane in range(count)],
            [lane + count * source.randrange(2) for lane in range(count)],  # a blend
            [count - 1 - lane for lane in range(count)],
        )
    )
    return tuple(lane * width + byte for lane in lanes for byte in range(width))


def random_constant(source: random.Random) -> tuple[int, ...]:
    """16 bytes: random, or a small number in every lane."""
    if source.random() < 0.4:
        return tuple(source.randrange(256) for _ in range(16))
    width = source.choice((1, 2, 4, 8))
    lane = [source.choice(_SPLAT_BYTES), *[source.choice((0, 0, 0xFF))] * (width - 1)]
    return tuple(lane * (16 // width))


class Builder:
    """Collects the statements of a kernel.

    Attributes:
        source: Where every choice comes from.
        relaxed: Whether groups are of relaxed SIMD.
        counters: Registers of the loops around.
        trips: How often the innermost statements run, at most.
        pool: Registers of earlier parts, free to use.
    """

    def __init__(self, source: random.Random, *, relaxed: bool = False) -> None:
        self.source = source
        self.relaxed = relaxed
        self.body: list[Statement] = []
        self.counters: list[str] = []
        self.trips = 1
        self.pool: list[str] = ["i1", "l0"]
        self.pointers = {"p": ["p0", "p1"], "q": ["q0", "q1"], "r": ["r0", "r1"]}
        self._next = 10
        self.size = 0

    def register(self, kind: str) -> str:
        """A new register."""
        self._next += 1
        return f"{kind}{self._next}"

    def emit(
        self,
        op: str,
        operands: Sequence[Operand],
        immediate: tuple[int, ...] = (),
        result: str | None = None,
    ) -> str:
        """Appends an instruction; the register of its result."""
        if result is None:
            kind = OPS[op].result
            result = self.register(kind) if kind else ""
        self.body.append(Instruction(op, result, tuple(operands), immediate))
        self.size += 1
        return result

    @contextmanager
    def collected(self) -> Iterator[list[Statement]]:
        """Statements go to a list of their own meanwhile."""
        outer, self.body = self.body, []
        yield self.body
        self.body = outer

    @contextmanager
    def loop(self, count: Operand, trips: int) -> Iterator[None]:
        """A loop around what is emitted meanwhile."""
        form = self.source.choice(("down", "up", "while"))
        loop = Loop(self.register("i"), count, form)
        outer, self.body = self.body, loop.body
        pointers = {kind: list(members) for kind, members in self.pointers.items()}
        self.counters.append(loop.counter)
        self.trips *= trips
        yield
        self.trips //= trips
        self.counters.pop()
        self.pointers = pointers
        self.body = outer
        self.body.append(loop)

    def address(self, pointer: str, byte_offset: int) -> tuple[str, int]:
        """A register and an immediate offset that make ``pointer + byte_offset``."""
        kind = pointer[0]
        form = self.source.random()
        if kind == "p" and form < 0.03 and self.size:
            return self._far(byte_offset)
        if byte_offset >= 0 and form < 0.55:
            return pointer, byte_offset
        inner = self.source.choice((0, 0, 16, UNIT[kind], byte_offset & 0xFF, 1024))
        outer = byte_offset - inner
        if form < 0.9:
            return self.emit(f"move:{kind}", (pointer,), (outer,)), inner
        detour = self.source.choice((64, -64, 4096, 70000, 1 << 20, self.source.getrandbits(32)))
        detour &= -UNIT[kind]
        first = self.emit(f"move:{kind}", (pointer,), (detour,))
        return self.emit(f"move:{kind}", (first,), (outer - detour,)), inner

    def _far(self, byte_offset: int) -> tuple[str, int]:
        """As an element of an array at a fixed place, with an index that may be negative."""
        number = self.source.choice(("i1", "i0", *self.counters))
        register = self.emit("near zero:p", (number,))
        # An address is 33 bits wide: what is below 0 must be raised before the offset is added.
        step = self.source.choice((128, 144, 160, 256))
        register = self.emit("move:p", (register,), (step,))
        return register, FAR_OFFSET + byte_offset - step

    def operand(self, kind: str, among: Sequence[str]) -> str | None:
        """A register that an operand accepts, more often a late one."""
        fitting = [one for one in among if accepts(kind, one[0])]
        if not fitting:
            return None
        return fitting[-1 - int(len(fitting) * self.source.random() ** 2)]

    def to_bits(self, register: str) -> str:
        """The value as known bits: i, l or v."""
        made_up = {"x": "f32x4.bits", "y": "f64x2.bits", "f": "f32.bits", "d": "f64.bits"}
        op = made_up.get(register[0])
        return self.emit(op, (register,)) if op else register

    def fold(self, register: str) -> str:
        """An i64 that depends on every bit of a register."""
        register = self.to_bits(register)
        if register[0] in "vmn":
            halves = [self.emit("i64x2.extract_lane", (register,), (lane,)) for lane in (0, 1)]
            return self.emit("i64.xor", halves)
        return register if register[0] == "l" else self.emit("i64.extend_i32_u", (register,))
