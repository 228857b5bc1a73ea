"""Calls in flight: started, and waited for later or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import ResultTimeoutError
from iree_wasm_hal.vm.modules.hal.fences import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from iree_wasm_hal.hal.call import Call
    from iree_wasm_hal.hal.fence import Fence

__all__ = ["Invocation"]


class Invocation:
    """A call in flight. ``await`` it, or take its ``results``. Thread-safe.

    Attributes:
        fence: Reached when the results are there; fails if the program does, or if the call is
            cancelled or its time is up. Other calls may wait for it.
    """

    def __init__(self, name: str, call: Call, fence: Fence, deliver: Callable[[bool], Any]) -> None:
        self.fence = fence
        self._name = name
        self._call = call
        self._deliver = deliver

    @property
    def is_done(self) -> bool:
        """Whether ``results`` would not block."""
        return self.fence.is_reached or self.fence.failure is not None

    def cancel(self) -> None:
        """Ends the call, from any thread; of one that is over nothing changes."""
        if not self.is_done:
            self._call.cancel()

    def results(self, timeout: float | None = None, *, copy: bool = False) -> Any:
        """Waits for the results and returns them as a call does.

        Args:
            timeout: Seconds to wait; the call goes on afterwards. None for as long as it takes.
            copy: Whether to copy array results out of the linear memory.

        Raises:
            ResultTimeoutError: They were not there in time; a TimeoutError.
            Error: The program failed, or the call was ended.
        """
        if timeout is None:
            wait_for(self.fence)
        elif not wait_for(self.fence, time.monotonic() + timeout):
            raise ResultTimeoutError(f"{self._name}: no result within {timeout} s")
        return self._deliver(copy)

    def __await__(self) -> Generator[Any, None, Any]:
        """Waits in an event loop. Cancelling the task that awaits it cancels the call."""
        return self._wait().__await__()

    async def _wait(self) -> Any:
        loop = asyncio.get_running_loop()
        reached = asyncio.Event()

        def wake(failure: BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(reached.set)

        self.fence.on_reached(wake)
        try:
            await reached.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self.results()
