"""A loaded program."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from iree_wasm_hal.runtime.function import Caller, Function, is_coarse_fences

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from iree_wasm_hal.engine.contract import EngineInfo
    from iree_wasm_hal.hal.device import Device
    from iree_wasm_hal.hal.statistics import DeviceStatistics
    from iree_wasm_hal.vm.context import Context

__all__ = ["Module"]

_ASYNC_SUFFIX = "$async"


class Module:
    """A program on a device. Made by ``iree_wasm_hal.load``.

    Exported functions are attributes, or items where a name is no Python identifier or hidden by
    a member of this class: ``module.main(x)``, ``module["main$async"]``.

    Thread-safe: calls of one module's functions run one after another.

    Attributes:
        name: The program's own name.
        device: The device that it runs on.
        functions: Exported names with their declared signatures.
    """

    def __init__(
        self,
        name: str,
        device: Device,
        context: Context,
        cleanup: contextlib.ExitStack,
        *,
        deadline_s: float | None = None,
    ) -> None:
        self.name = name
        self.device = device
        self._context = context
        self._cleanup = cleanup
        self._lock = threading.RLock()
        call = Caller(context, self._lock, deadline_s)
        self._functions = {
            name: Function(
                name, vm_function, device.allocator, call, is_async=_is_async(context, name)
            )
            for name, vm_function in context.functions.items()
            if not name.startswith("__")
        }
        self.functions: Mapping[str, str] = {
            name: function.signature for name, function in self._functions.items()
        }

    def __repr__(self) -> str:
        return (
            f"<iree_wasm_hal module {self.name!r} with {', '.join(self._functions) or 'nothing'}>"
        )

    def __getattr__(self, name: str) -> Function:
        function = self.__dict__.get("_functions", {}).get(name)
        if function is None:
            raise AttributeError(self._unknown(name))
        return function  # type: ignore[no-any-return]  # values of the dict are functions

    def __getitem__(self, name: str) -> Function:
        try:
            return self._functions[name]
        except KeyError:
            raise KeyError(self._unknown(name)) from None

    def __contains__(self, name: object) -> bool:
        return name in self._functions

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._functions]

    @property
    def engine(self) -> EngineInfo:
        """The engine that the kernels run in."""
        return self.device.engine.info

    @property
    def statistics(self) -> DeviceStatistics:
        """What the device counted since it was created."""
        return self.device.statistics()

    def interrupt(self) -> None:
        """Ends the running call, from any thread, with InterruptedCallError; else no-op.

        Raises:
            EngineError: A kernel is running, and the engine cannot end it.
        """
        self._context.interrupt()
        self.device.interrupt()

    def close(self) -> None:
        """Ends the program; calls then raise ClosedError. Idempotent.

        Arrays that it returned stay valid.
        """
        with self._lock:
            for function in self._functions.values():
                function.close()
            self._cleanup.close()

    def __enter__(self) -> Module:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _unknown(self, name: str) -> str:
        exported = ", ".join(self._functions) or "none"
        return f"module {self.name!r} exports no function {name!r}; it exports: {exported}"


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
