"""Calls: argument and result ranges, and the GIL."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.engine.conformance.background import run_in_thread
from iree_wasm_hal.engine.conformance.suite import SuiteBase
from iree_wasm_hal.errors import CallError

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine, Instance

_I32 = [0, 1, -1, 2**31 - 1, -(2**31)]
_I64 = [*_I32, 2**32, 2**53 + 1, 2**63 - 1, -(2**63)]


def _signed(value: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


class CallTests(SuiteBase):
    """``WasmFunction``."""

    @pytest.fixture
    def integers(self, engine: Engine) -> Instance:
        """An instance of modules/integers.wat."""
        return self.instantiate(engine, "integers", self.small_memory(engine))

    def test_call_without_result(self, integers: Instance) -> None:
        assert integers.function("nothing")() is None

    def test_call_without_arguments(self, integers: Instance) -> None:
        result = integers.function("constant")()
        assert result == 42
        assert type(result) is int

    @pytest.mark.parametrize("value", _I32)
    def test_call_i32_range(self, integers: Instance, value: int) -> None:
        assert integers.function("i32_identity")(value) == value

    @pytest.mark.parametrize("value", _I64)
    def test_call_i64_range(self, integers: Instance, value: int) -> None:
        assert integers.function("i64_identity")(value) == value

    @pytest.mark.parametrize("value", [2**31, 2**32 - 1, 2**32, 2**64 + 5, -(2**31) - 1, -(2**70)])
    def test_call_i32_wraps(self, integers: Instance, value: int) -> None:
        assert integers.function("i32_identity")(value) == _signed(value, 32)

    @pytest.mark.parametrize("value", [2**63, 2**64 - 1, 2**64, -(2**63) - 1, 2**100 + 3])
    def test_call_i64_wraps(self, integers: Instance, value: int) -> None:
        assert integers.function("i64_identity")(value) == _signed(value, 64)

    @pytest.mark.parametrize("a", _I32)
    @pytest.mark.parametrize("b", _I32)
    def test_call_adds_i32(self, integers: Instance, a: int, b: int) -> None:
        assert integers.function("i32_add")(a, b) == _signed(a + b, 32)

    def test_call_adds_i64(self, integers: Instance) -> None:
        add = integers.function("i64_add")
        for a in _I64:
            for b in _I64:
                assert add(a, b) == _signed(a + b, 64)

    def test_call_mixes_widths(self, integers: Instance) -> None:
        mixed = integers.function("mixed")
        assert mixed(-7, 2**40, 11, -(2**50)) == -7 - 2**40 + 11 + 2**50
        # The upper half of an i32 slot must not keep an earlier call's i64.
        assert mixed(2**32 - 1, 1, 2**31, 0) == -1 - 1 - 2**31

    def test_call_passes_eight_arguments(self, integers: Instance) -> None:
        assert integers.function("digits")(1, 2, 3, 4, 5, 6, 7, 8) == 12345678

    @pytest.mark.parametrize("arguments", [(), (1,), (1, 2, 3)])
    def test_call_checks_argument_count(
        self, integers: Instance, arguments: tuple[int, ...]
    ) -> None:
        add = integers.function("i32_add")
        with pytest.raises(CallError, match=r"2.*got"):
            add(*arguments)
        assert add(40, 2) == 42

    def test_call_functions_are_independent(self, integers: Instance) -> None:
        one, other = integers.function("i32_add"), integers.function("i32_add")
        wide = integers.function("i64_add")
        assert (one(1, 2), wide(2**40, 1), other(3, 4), one(5, 6)) == (3, 2**40 + 1, 7, 11)

    def test_call_releases_the_gil(self, engine: Engine) -> None:
        instance = self.instantiate(engine, "loops", self.small_memory(engine))
        spin = instance.function("spin")
        running = run_in_thread(partial(spin, 0, self.lasting_call_iterations))
        # Held for the whole call, the GIL would let this thread wait once, not many times.
        waits = 0
        while not running.wait(0.002):
            waits += 1
        running.result()
        assert running.elapsed_s > 0.05, "the engine is too fast: raise lasting_call_iterations"
        assert waits >= 10

    def test_call_from_another_thread(self, engine: Engine) -> None:
        memory = self.small_memory(engine)
        instance = self.instantiate(engine, "memory", memory)
        store = instance.function("store32")
        run_in_thread(partial(store, 16, 99)).result()
        assert instance.function("load32")(16) == 99
