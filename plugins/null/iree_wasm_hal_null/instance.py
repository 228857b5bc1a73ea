"""Programs and instances that keep their place in the contract and run nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ClosedError, EngineError

if TYPE_CHECKING:
    from iree_wasm_hal.engine import WasmFunction


class NullProgram:
    """Implements ``iree_wasm_hal.engine.Program``.

    Attributes:
        owner: The engine that made it.
    """

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self._closed = False

    def serialize(self) -> bytes:
        """Nothing is compiled, so there is nothing to keep."""
        self.check_open()
        msg = "engine 'null' cannot serialize programs: it compiles nothing"
        raise EngineError(msg)

    def close(self) -> None:
        """Gives the program up."""
        self._closed = True

    def check_open(self) -> None:
        """Raises ClosedError after ``close``."""
        if self._closed:
            msg = "program is closed"
            raise ClosedError(msg)


class NullInstance:
    """Implements ``iree_wasm_hal.engine.Instance``."""

    def __init__(self) -> None:
        self._closed = False

    def function(self, name: str) -> WasmFunction:
        """A function that raises when it is called; which names are exported is not known."""
        self._check_open(f"function {name!r} of an instance")

        def call_wasm(*arguments: int) -> int | None:
            self._check_open(f"call of {name!r}")
            msg = (
                f"engine 'null' runs no wasm: call of {name!r} with {len(arguments)} arguments. "
                f"Name another engine, such as engine='wasmtime'"
            )
            raise EngineError(msg)

        return call_wasm

    def interrupt(self) -> None:
        """No call ever runs, and none can be ended."""
        self._check_open("interrupt of an instance")
        msg = "engine 'null' cannot interrupt calls: it runs none"
        raise EngineError(msg)

    def close(self) -> None:
        """Closes the instance."""
        self._closed = True

    def _check_open(self, what: str) -> None:
        if self._closed:
            msg = f"{what} after its close"
            raise ClosedError(msg)
