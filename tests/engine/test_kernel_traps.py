"""A trap in a kernel is the same error on every engine, with the kernel's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import TrapKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ONE = np.ones(4, np.int32)
_TABLE = np.arange(16, dtype=np.int32)


@pytest.fixture
def module(engine_name: str, traps_archive: Path) -> Iterator[iwh.Module]:
    module = iwh.load(traps_archive, engine=engine_name)
    yield module
    module.close()


@pytest.mark.parametrize(
    ("function", "arguments", "kind"),
    [
        ("divide", (_ONE, _ONE * 0), TrapKind.INTEGER_DIVIDE_BY_ZERO),
        ("divide", (_ONE * -(2**31), -_ONE), TrapKind.INTEGER_OVERFLOW),
        ("gather", (_TABLE, _ONE << 28), TrapKind.OUT_OF_BOUNDS_MEMORY),
        ("gather", (_TABLE, -(_ONE << 20)), TrapKind.OUT_OF_BOUNDS_MEMORY),
    ],
)
def test_trap_names_kernel_and_kind(
    module: iwh.Module, function: str, arguments: tuple[np.ndarray, ...], kind: str
) -> None:
    for _ in range(3):
        with pytest.raises(iwh.TrapError) as caught:
            module[function](*arguments)
        assert type(caught.value) is iwh.TrapError
        assert caught.value.kind == kind
        assert f"kernel '{function}_dispatch_0_" in str(caught.value)
        assert kind in str(caught.value)
        np.testing.assert_array_equal(module.gather(_TABLE, 3 * _ONE), 3)
        np.testing.assert_array_equal(module.divide(6 * _ONE, 2 * _ONE), 3)
