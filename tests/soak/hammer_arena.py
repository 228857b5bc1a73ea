"""What the hammer's threads share: a device of one engine, and the modules that live on it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from hammer_programs import programs, voice_cases

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from hammer_programs import Case, Program

__all__ = ["Arena", "Loaded"]

DEVICE_MAX_BYTES = 1 << 30


class Loaded:
    """A module that other threads may cancel and close at any moment.

    Attributes:
        module: The module.
        program: What it was loaded from.
        is_closing: Set before it is closed: only then may a call raise ClosedError.
    """

    def __init__(self, module: iwh.Module, program: Program) -> None:
        self.module = module
        self.program = program
        self.is_closing = False
        self._lock = threading.Lock()
        self._cancels_begun = 0
        self._cancels_ended = 0

    def cancel(self) -> None:
        """Cancels the calls of this module, and of no other."""
        with self._lock:
            self._cancels_begun += 1
        self.module.cancel()
        with self._lock:
            self._cancels_ended += 1

    def close(self) -> None:
        """Closes it, also in the middle of other threads' calls."""
        self.is_closing = True
        self.module.close()

    def call(self, function: str, *arguments: object, timeout: float | None = None) -> Any:
        """Calls a function of it.

        Returns:
            Its results, or the error that another thread or the time-out made rightly. An error
            that nobody asked for is raised.
        """
        before = self._cancels_ended
        options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        try:
            return self.module[function](*arguments, **options)
        except iwh.Error as error:
            return self._excused(error, before, timeout)

    async def call_async(self, function: str, *arguments: object) -> Any:
        """Does what ``call`` does, for asyncio."""
        before = self._cancels_ended
        try:
            return await self.module[function].aio(*arguments)
        except iwh.Error as error:
            return self._excused(error, before, None)

    def _excused(self, error: iwh.Error, before: int, timeout: float | None) -> iwh.Error:
        if isinstance(error, iwh.CallTimeoutError):
            excused = timeout is not None
        elif isinstance(error, iwh.InterruptedCallError):
            excused = self._cancels_begun > before
        else:
            excused = isinstance(error, iwh.ClosedError) and self.is_closing
        if not excused:
            raise error
        return error


class Arena:
    """One engine, one device with several workers, and the three programs on it.

    Attributes:
        engine: Shared by all devices.
        threads: Workers of a device; 1 where the engine has no threads.
        can_interrupt: Whether time-outs and cancels take part.
        slots: The three modules on the present device; anyone may replace one.
    """

    def __init__(self, engine_name: str, threads: int) -> None:
        self.engine = iwh.open_engine(engine_name)
        features = self.engine.info.features
        self.threads = threads if Feature.THREADS in features else 1
        self.can_interrupt = Feature.INTERRUPT in features
        self._cases = {program.name: program.cases for program in programs()}
        voice = programs()[-1]
        with iwh.load(voice.archive, engine=self.engine) as module:
            self._cases[voice.name] = voice_cases(module)
        self._renewing = threading.Lock()
        self._device = self._new_device()
        self.slots = [self.load_on(self._device, program) for program in programs()]

    def cases(self, program: Program) -> Sequence[Case]:
        """Calls of a program with the results that they must give."""
        return self._cases[program.name]

    def load_on(self, device: iwh.Device, program: Program) -> Loaded:
        """Loads a program on a device that others use."""
        return Loaded(iwh.load(program.archive, device=device), program)

    def load_alone(self, program: Program, **options: Any) -> Loaded:
        """Loads a program on a device of its own."""
        return Loaded(iwh.load(program.archive, engine=self.engine, **options), program)

    def reload(self, choice: random.Random) -> None:
        """Replaces one module of the shared device, closing it under those who call it."""
        index = choice.randrange(len(self.slots))
        with self._renewing:
            old = self.slots[index]
            self.slots[index] = self.load_on(self._device, old.program)
        old.close()

    def renew(self) -> None:
        """Replaces the shared device and everything on it."""
        device = self._new_device()
        modules = [self.load_on(device, program) for program in programs()]
        with self._renewing:
            old, self._device = self._device, device
            closing = self.slots[:]
            self.slots[:] = modules
        for loaded in closing:
            loaded.close()
        old.close()

    def close(self) -> None:
        """Closes everything."""
        for loaded in self.slots:
            loaded.close()
        self._device.close()
        self.engine.close()

    def _new_device(self) -> iwh.Device:
        return iwh.Device(self.engine, threads=self.threads, max_memory_bytes=DEVICE_MAX_BYTES)
