"""Random control flow against IREE's VM: branches, loops, joins, moves, calls."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

_NARROW = tuple(f"%i{n}" for n in range(2, 8))
_WIDE = tuple(f"%i{n}:{n + 1}" for n in range(8, 18, 2))
_FUEL, _ONE, _CONDITION = "%i18", "%i19", "%i20"
_REFS = ("%r0", "%r1", "%r2")

_BINARY32 = (
    *("add", "sub", "mul", "and", "or", "xor", "min.s", "min.u", "max.s", "max.u"),
    *("shl", "shr.s", "shr.u"),
)
_COMPARE = ["cmp.eq", "cmp.ne", "cmp.lt.s", "cmp.lt.u"]


def _typed(name: str, bits: int) -> str:
    stem, _, sign = name.partition(".") if not name.startswith("cmp") else name.rpartition(".")
    if name in ("cmp.eq", "cmp.ne"):
        return f"{name}.i{bits}"
    return f"{stem}.i{bits}" + (f".{sign}" if sign else "")


class _Writer:
    """Writes one function; every register is set in its first block."""

    def __init__(self, rng: random.Random, index: int, callees: int) -> None:
        self.rng = rng
        self.index = index
        self.callees = callees
        self.blocks = rng.randint(1, 7)

    def narrow(self) -> str:
        return self.rng.choice(_NARROW)

    def wide(self) -> str:
        return self.rng.choice(_WIDE)

    def operation(self) -> str:
        kinds = [self.arithmetic] * 3 + [self.wide_arithmetic] * 2 + [self.comparison]
        kinds += [self.conversion, self.on_refs, self.call]
        return self.rng.choice(kinds)()

    def arithmetic(self) -> str:
        name = _typed(self.rng.choice(_BINARY32), 32)
        return f"{self.narrow()} = vm.{name} {self.narrow()}, {self.narrow()}"

    def wide_arithmetic(self) -> str:
        name = self.rng.choice(_BINARY32)
        right = self.narrow() if name.startswith("sh") else self.wide()
        return f"{self.wide()} = vm.{_typed(name, 64)} {self.wide()}, {right}"

    def comparison(self) -> str:
        bits = self.rng.choice((32, 64))
        pick = self.narrow if bits == 32 else self.wide
        name = _typed(self.rng.choice(_COMPARE), bits)
        return f"{self.narrow()} = vm.{name} {pick()}, {pick()}"

    def conversion(self) -> str:
        select = f"{self.narrow()} ? {self.narrow()} : {self.narrow()}"
        return self.rng.choice(
            (
                f"{self.wide()} = vm.ext.i32.i64.s {self.narrow()}",
                f"{self.narrow()} = vm.trunc.i64.i32 {self.wide()}",
                f"{self.narrow()} = vm.select.i32 {select}",
            )
        )

    def on_refs(self) -> str:
        ref = self.rng.choice(_REFS)
        moved = ref.replace("r", "R") if self.rng.random() < 0.5 else ref
        return self.rng.choice(
            (
                f"{self.rng.choice(_REFS)} = vm.assign.ref {moved}",
                f"{ref} = vm.const.ref.rodata {self.rng.randrange(2)}",
                f"vm.discard.refs {ref}",
                f"{self.narrow()} = vm.cmp.nz.ref {ref}",
                f"{self.narrow()} = vm.cmp.eq.ref {ref}, {self.rng.choice(_REFS)}",
            )
        )

    def call(self) -> str:
        if not self.callees:
            return f"{self.narrow()} = vm.const.i32 {self.rng.randrange(-5, 100)}"
        wide_result, wide_argument = (self.wide().partition(":")[0] for _ in range(2))
        arguments = f"{wide_argument}, {self.narrow()}, {_FUEL}, {self.rng.choice(_REFS)}"
        callee = self.rng.randrange(self.callees)
        return f"{self.narrow()}, {wide_result}, %r1 = vm.call @f{callee}({arguments})"

    def moves(self) -> str:
        pairs: list[tuple[str, str]] = []
        for _ in range(self.rng.randrange(4)):
            kind = self.rng.randrange(3)
            if kind == 0:
                pairs.append((self.rng.choice(_NARROW), self.rng.choice(_NARROW)))
            elif kind == 1:
                source, target = self.rng.sample(_WIDE, 2)
                for half in (0, 1):
                    first, second = (
                        f"%i{wide.removeprefix('%i').split(':')[half]}" for wide in (source, target)
                    )
                    pairs.append((first, second))
            else:
                source, target = self.rng.sample(_REFS, 2)
                moved = source.replace("r", "R") if self.rng.random() < 0.5 else source
                pairs.append((moved, target))
        return ", ".join(f"{source}->{target}" for source, target in pairs)

    def target(self) -> str:
        return f"^bb{1 + 2 * self.rng.randrange(self.blocks)}({self.moves()})"

    def terminator(self) -> str:
        choice = self.rng.randrange(6)
        if choice == 0:
            return f"vm.br {self.target()}"
        if choice < 4:
            condition = self.rng.choice(_NARROW)
            return f"vm.cond_br {condition}, {self.target()}, {self.target()}"
        cases = ", ".join(f"{n}: {self.target()}" for n in range(self.rng.randrange(4)))
        index = self.rng.choice(_NARROW)
        return f"vm.br_table {index} {{ default: {self.target()}" + (
            f", {cases} }}" if cases else " }"
        )

    def text(self) -> str:
        exit_block = 1 + 2 * self.blocks
        lines = [
            f"vm.export @f{self.index}",
            f"vm.func @f{self.index}(%i0:1: i64, %i2: i32, %i3: i32, %r0: !vm.ref<?>)"
            " -> (i32, i64, !vm.ref<?>) {",
            "^bb0:",
            f"  {_ONE} = vm.const.i32 1",
            f"  {_FUEL} = vm.const.i32 {self.rng.randrange(1, 12)}",
            *(f"  {r} = vm.const.i32 {self.rng.randrange(-9, 9)}" for r in _NARROW[2:]),
            *(f"  {r} = vm.const.i64 {self.rng.randrange(-(2**62), 2**62)}" for r in _WIDE[1:]),
            "  %i8:9 = vm.add.i64 %i0:1, %i10:11",
            *(f"  {r} = vm.const.ref.zero" for r in _REFS[1:]),
            "  vm.br ^bb1()",
        ]
        for block in range(self.blocks):
            lines.append(f"^bb{1 + 2 * block}:")
            lines += [f"  {self.operation()}" for _ in range(self.rng.randrange(6))]
            lines += [
                f"  {_FUEL} = vm.sub.i32 {_FUEL}, {_ONE}",
                f"  vm.cond_br {_FUEL}, ^bb{2 + 2 * block}(), ^bb{exit_block}()",
                f"^bb{2 + 2 * block}:",
                f"  {self.terminator()}",
            ]
        lines += [f"^bb{exit_block}:"]
        for register in _NARROW[1:]:
            lines.append(f"  %i2 = vm.xor.i32 %i2, {register}")
        for register in _WIDE[1:]:
            lines.append(f"  %i8:9 = vm.add.i64 %i8:9, {register}")
        return "\n".join([*lines, "  vm.return %i2, %i8, %r0", "}"]) + "\n"


def _program(seed: int) -> str:
    rng = random.Random(seed)
    count = rng.randint(1, 4)
    head = "vm.module @random version 0\nvm.type !vm.buffer\n"
    head += "vm.rodata[0] = 01\nvm.rodata[1] = 0203\n"
    body = "".join(_Writer(rng, index, index).text() for index in range(count))
    main = f"""
vm.export @main
vm.func @main(%i0:1: i64, %i2: i32, %i3: i32) -> (i32, i64, i32, i32) {{
^bb0:
  %r0 = vm.const.ref.rodata 0
  %r1 = vm.const.ref.rodata 1
  %i4, %i6, %r2 = vm.call @f{count - 1}(%i0, %i2, %i3, %r0)
  %i8 = vm.cmp.eq.ref %r2, %r0
  %i9 = vm.cmp.eq.ref %r2, %r1
  vm.return %i4, %i6, %i8, %i9
}}
"""
    return head + body + main


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 2**32),
    wide=st.integers(-(2**63), 2**63 - 1),
    narrow=st.integers(-(2**31), 2**31 - 1),
)
def test_random_programs_equal_reference(
    seed: int, wide: int, narrow: int, both: Callable[[str], tuple[Any, Any]]
) -> None:
    text = _program(seed)
    reference, ours = both(text)
    for arguments in ((wide, narrow, 0), (0, 1, narrow), (-1, 0, 3)):
        expected = reference.call("main", *arguments)
        assert ours.call("main", *arguments) == expected, text
