"""Traps: their kind, their frames, and the instance after them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.engine import TrapKind
from iree_wasm_hal.engine.conformance.background import run_in_thread
from iree_wasm_hal.engine.conformance.suite import SuiteBase
from iree_wasm_hal.errors import TrapError

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine, Instance

_CASES = [
    ("unreachable", (), TrapKind.UNREACHABLE),
    ("load32", (65536,), TrapKind.OUT_OF_BOUNDS_MEMORY),
    ("load32", (65533,), TrapKind.OUT_OF_BOUNDS_MEMORY),
    ("load32", (-1,), TrapKind.OUT_OF_BOUNDS_MEMORY),
    ("store32_far", (-1,), TrapKind.OUT_OF_BOUNDS_MEMORY),
    ("divide", (1, 0), TrapKind.INTEGER_DIVIDE_BY_ZERO),
    ("remainder64", (1, 0), TrapKind.INTEGER_DIVIDE_BY_ZERO),
    ("divide", (-(2**31), -1), TrapKind.INTEGER_OVERFLOW),
    ("truncate", (), TrapKind.INVALID_CONVERSION),
    ("call_indirect", (1,), TrapKind.INDIRECT_CALL_TYPE_MISMATCH),
    ("call_indirect", (2,), TrapKind.UNINITIALIZED_ELEMENT),
    ("call_indirect", (4,), TrapKind.UNDEFINED_ELEMENT),
    ("call_indirect", (-1,), TrapKind.UNDEFINED_ELEMENT),
    ("recurse", (0,), TrapKind.STACK_EXHAUSTED),
]


class TrapTests(SuiteBase):
    """``TrapError``."""

    @pytest.fixture
    def traps(self, engine: Engine) -> Instance:
        """An instance of modules/traps.wat."""
        return self.instantiate(engine, "traps", self.small_memory(engine))

    @pytest.mark.parametrize(("name", "arguments", "kind"), _CASES)
    def test_trap_kind(
        self, traps: Instance, name: str, arguments: tuple[int, ...], kind: str
    ) -> None:
        with pytest.raises(TrapError) as caught:
            traps.function(name)(*arguments)
        assert caught.value.kind == kind
        assert kind in str(caught.value)
        assert name in str(caught.value)

    @pytest.mark.parametrize(("name", "arguments", "kind"), _CASES)
    def test_trap_leaves_instance_usable(
        self, traps: Instance, name: str, arguments: tuple[int, ...], kind: str
    ) -> None:
        del kind
        function, works = traps.function(name), traps.function("call_indirect")
        for _ in range(5):
            with pytest.raises(TrapError):
                function(*arguments)
            assert works(0) == 42

    @pytest.mark.parametrize(("name", "arguments", "kind"), _CASES)
    def test_trap_in_a_thread(
        self, traps: Instance, name: str, arguments: tuple[int, ...], kind: str
    ) -> None:
        function = traps.function(name)
        with pytest.raises(TrapError) as caught:
            run_in_thread(partial(function, *arguments)).result()
        assert caught.value.kind == kind

    def test_trap_frames(self, traps: Instance) -> None:
        with pytest.raises(TrapError) as caught:
            traps.function("nested_unreachable")()
        assert caught.value.frames == ("fail", "nested")

    def test_trap_does_not_trap_the_edges(self, traps: Instance) -> None:
        assert traps.function("load32")(65532) == 0
        assert traps.function("divide")(-(2**31), 1) == -(2**31)
        assert traps.function("remainder64")(-(2**63), -1) == 0

    def test_trap_stops_at_the_fault(self, engine: Engine) -> None:
        memory = self.small_memory(engine)
        instance = self.instantiate(engine, "memory", memory)
        with pytest.raises(TrapError):
            instance.function("generate")(65536 - 8, 16, 1)
        assert any(memory.view()[65536 - 8 :])
        assert not any(memory.view()[: 65536 - 8])
