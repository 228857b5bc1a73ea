"""A loaded program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.runtime.caller import Caller
from iree_wasm_hal.runtime.face import ModuleFace
from iree_wasm_hal.runtime.function import Function, is_coarse_fences

if TYPE_CHECKING:
    import contextlib

    from iree_wasm_hal.engine.contract import EngineInfo
    from iree_wasm_hal.hal.device import Device
    from iree_wasm_hal.hal.statistics import DeviceStatistics
    from iree_wasm_hal.vm.context import Context

__all__ = ["Module"]

_ASYNC_SUFFIX = "$async"


class Module(ModuleFace[Function]):
    """A program on a device of this process. Made by ``iree_wasm_hal.load``.

    Thread-safe: calls of one module's functions run one after another.

    Attributes:
        device: The device that it runs on.
    """

    def __init__(
        self,
        name: str,
        device: Device,
        context: Context,
        cleanup: contextlib.ExitStack,
        *,
        timeout: float | None = None,
    ) -> None:
        self.device = device
        self._context = context
        self._caller = Caller(device, cleanup.close, timeout)
        functions = {
            exported: Function(
                exported,
                vm_function,
                device.allocator,
                self._caller,
                is_async=_is_async(context, exported),
            )
            for exported, vm_function in context.functions.items()
            if not exported.startswith("__")
        }
        super().__init__(name, functions)

    @property
    def engine(self) -> EngineInfo:
        """The engine that the kernels run in."""
        return self.device.engine.info

    @property
    def statistics(self) -> DeviceStatistics:
        """What the device counted since it was created."""
        return self.device.statistics

    def cancel(self) -> None:
        """Ends the call that runs now, and those in flight, with InterruptedCallError.

        From any thread, at any time; where nothing runs, nothing happens. Calls that wait for
        their turn go on, and so do those of other modules, on the same device as well. Where the
        engine cannot end a running kernel, the call ends before the next workgroup.

        Raises:
            EngineError: Something took the means of ending a kernel from the engine.
        """
        self._caller.cancel()

    def close(self) -> None:
        """Ends the program; calls then raise ClosedError. Idempotent.

        Waits for a running call; not so within a call, such as in a signal handler: what runs
        then goes on, and the module ends after it. Arrays that it returned stay valid.

        Raises:
            Error: The program's own code for this failed, or took longer than the time-out that
                ``load`` was given; the module is closed nevertheless. Where a call goes on, that
                call raises it.
        """
        self._caller.close()


def _is_async(context: Context, name: str) -> bool:
    """Whether a function takes a wait and a signal fence.

    The torch and ONNX importers write no attributes that say so, but export pairs in which
    ``main$async`` takes two refs more than ``main``.
    """
    functions = context.functions
    if is_coarse_fences(functions[name].attrs):
        return True
    plain = functions.get(name.removesuffix(_ASYNC_SUFFIX))
    if plain is None or not name.endswith(_ASYNC_SUFFIX):
        return False
    sync, other = plain.calling_convention, functions[name].calling_convention
    return (*sync.arguments, "r", "r") == other.arguments and sync.results == other.results
