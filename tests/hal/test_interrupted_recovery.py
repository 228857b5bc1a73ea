"""What is left of loading, growing, creating and closing that did not come to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from iree_wasm_hal.errors import CallTimeoutError, LimitError
from iree_wasm_hal.hal.call import Call, inside
from iree_wasm_hal.hal.device import Device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.engine.contract import Engine, Instance

STOCK = "system-wasm-wasm_32"
NOTHING = "(i32.const 0)"


@pytest.fixture
def make_device(engine: Engine) -> Iterator[Callable[..., Device]]:
    """Makes devices with two threads, which are closed after the test."""
    devices = []

    def make(timeout: float | None = None) -> Device:
        device = Device(engine, threads=2, max_memory_bytes=64 << 20, cache=False, timeout=timeout)
        devices.append(device)
        return device

    yield make
    for device in devices:
        device.close()


class Instances:
    """Those that an engine makes and nobody has closed; it refuses the one after ``left``."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[Instance] = []
        self.left = 1 << 30
        instantiate = engine.instantiate

        def note(*arguments: Any) -> Instance:
            if self.left == 0:
                raise LimitError("injected", name="instances", asked=1, allowed=0)
            self.left -= 1
            self.made.append(instantiate(*arguments))
            return self.made[-1]

        monkeypatch.setattr(engine, "instantiate", note)

    @property
    def are_closed(self) -> list[bool]:
        return [getattr(instance, "store", None) is None for instance in self.made]


@pytest.fixture
def instances(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Instances:
    return Instances(engine, monkeypatch)


@pytest.mark.parametrize("limit", ["of the call", "of the device"])
def test_a_module_that_is_loaded_without_end(
    limit: str,
    make_device: Callable[..., Device],
    instances: Instances,
    make_module: Any,
    hand_kernel: Any,
) -> None:
    kernels = {"nothing": hand_kernel(NOTHING)}
    endless = make_module(kernels, while_loaded="(loop $forever (br $forever))")
    call = Call(0.05) if limit == "of the call" else None
    device = make_device(None if call else 0.05)
    expected = r"timeout of 0\.05 s \(while a kernel module was loaded\)"
    with pytest.raises(CallTimeoutError, match=expected), inside(call):
        device.prepare_executable(STOCK, endless)
    assert instances.are_closed == [True, True]
    device.timeout = None
    device.prepare_executable(STOCK, make_module(kernels))


def test_instances_of_the_workers_before_the_one_that_gets_none(
    make_device: Callable[..., Device], instances: Instances, make_module: Any, hand_kernel: Any
) -> None:
    module = make_module({"nothing": hand_kernel(NOTHING)})
    instances.left = 1
    device = make_device()
    with pytest.raises(LimitError, match="injected"):
        device.prepare_executable(STOCK, module)
    assert instances.are_closed == [True]
