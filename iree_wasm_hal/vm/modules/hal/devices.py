"""``hal.device.*`` that do not touch a queue. Enumeration and queries are ``HalModule``'s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.vm.modules.hal.table import FunctionTable, wrong_ref

if TYPE_CHECKING:
    from iree_wasm_hal.hal.allocator import Allocator

__all__ = ["TABLE"]

TABLE = FunctionTable()


@TABLE.serve("device.allocator", "0r_r")
def device_allocator(device: object) -> Allocator:
    """The allocator of a device."""
    if type(device) is not Device:
        wrong_ref(device, Device, "device.allocator")
    return device.allocator
