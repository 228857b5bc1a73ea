"""``hal.executable.*``: kernels."""

from __future__ import annotations

from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.executable import Executable
from iree_wasm_hal.vm.buffer import Buffer as VmBuffer
from iree_wasm_hal.vm.modules.hal.table import FunctionTable, expect

__all__ = ["TABLE"]

TABLE = FunctionTable()


@TABLE.serve("executable.create", "0rIrrr_r")
def executable_create(
    device: object, affinity: int, executable_format: object, data: object, constants: object
) -> Executable:
    """Loads a kernel module; its bytes go from the mapped archive to the device."""
    values = b""
    if constants is not None:
        values = bytes(expect(constants, VmBuffer, "executable.create: constants").view)
    return expect(device, Device, "executable.create: device").prepare_executable(
        expect(executable_format, VmBuffer, "executable.create: format").text(),
        expect(data, VmBuffer, "executable.create: data").view,
        values,
    )


@TABLE.serve("executable.lookup.function", "0rr_I")
def executable_lookup_function(executable: object, name: object) -> int:
    """The function id of a kernel, by name."""
    return expect(executable, Executable, "executable.lookup.function").lookup_function(
        expect(name, VmBuffer, "executable.lookup.function: name").text()
    )
