"""Runs kernels on engines and compares what they leave behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fuzz_encode import PAGE_COUNT, encode_module
from fuzz_memory import PAGE_START, differing_bytes, initial_page

from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.errors import Error, TrapError, WasmCompileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz_kernel import Call, Kernel

    from iree_wasm_hal.engine import Engine

__all__ = ["REFERENCE", "Difference", "Mode", "Runner"]


@dataclass(frozen=True)
class Mode:
    """One way to run kernels.

    Attributes:
        engine: Its name.
        options: The engine's options.
        shared: Whether the memory is a shared one.
    """

    engine: str
    options: dict[str, Any] = field(default_factory=dict)
    shared: bool = False

    @property
    def name(self) -> str:
        """For messages and file names."""
        options = [f"{name}={value}" for name, value in sorted(self.options.items())]
        return " ".join([self.engine, *options, *(["shared"] if self.shared else [])])

    def to_json(self) -> dict[str, Any]:
        """As a document."""
        return asdict(self)


REFERENCE = Mode("wasmtime")


@dataclass(slots=True)
class Difference:
    """A kernel that does something else in a mode than in the reference.

    Attributes:
        index: Of the kernel.
        mode: Name of the mode.
        kind: ``memory``, ``result``, ``trap``, ``compile error``, ``crash`` or ``hang``.
        detail: What exactly.
        call: Index of the call.
    """

    index: int
    mode: str
    kind: str
    detail: str
    call: int = 0


@dataclass(slots=True)
class _Outcome:
    result: int | None
    trap: str
    memory: bytes


class Runner:
    """Opens each engine once."""

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}

    def engine(self, mode: Mode) -> Engine:
        """The mode's engine."""
        key = mode.name.removesuffix(" shared")
        if key not in self._engines:
            self._engines[key] = open_engine(mode.engine, **mode.options)
        return self._engines[key]

    def reference(self, kernels: Sequence[Kernel]) -> list[list[_Outcome]]:
        """What should happen: the outcomes of every kernel's calls."""
        return self._outcomes(REFERENCE, kernels)

    def compare(
        self, kernels: Sequence[Kernel], expected: list[list[_Outcome]], mode: Mode
    ) -> list[Difference]:
        """Runs kernels in a mode; the first difference of each kernel that has one."""
        try:
            outcomes = self._outcomes(mode, kernels)
        except WasmCompileError as error:
            if len(kernels) == 1:
                return [Difference(0, mode.name, "compile error", str(error))]
            return self._one_by_one(kernels, expected, mode)
        found = []
        for index, kernel in enumerate(kernels):
            for number, call in enumerate(kernel.calls):
                what = _difference(call, expected[index][number], outcomes[index][number])
                if what:
                    found.append(Difference(index, mode.name, *what, number))
                    break
        return found

    def _one_by_one(
        self, kernels: Sequence[Kernel], expected: list[list[_Outcome]], mode: Mode
    ) -> list[Difference]:
        found = []
        for index, kernel in enumerate(kernels):
            for difference in self.compare([kernel], [expected[index]], mode):
                difference.index = index
                found.append(difference)
        return found

    def _outcomes(self, mode: Mode, kernels: Sequence[Kernel]) -> list[list[_Outcome]]:
        engine = self.engine(mode)
        program = engine.compile(encode_module(kernels, shared=mode.shared))
        memory = engine.create_memory(MemoryType(PAGE_COUNT, PAGE_COUNT, shared=mode.shared))
        instance = engine.instantiate(program, memory)
        view = memory.view()
        try:
            return [
                [_call(instance.function(f"k{index}"), view, call) for call in kernel.calls]
                for index, kernel in enumerate(kernels)
            ]
        finally:
            view.release()
            for one in (instance, memory, program):
                one.close()


def _call(function: Any, view: memoryview, call: Call) -> _Outcome:
    view[:PAGE_START] = bytes(PAGE_START)
    view[PAGE_START:] = initial_page(call)
    try:
        return _Outcome(function(*call.arguments), "", view.tobytes())
    except TrapError as error:
        return _Outcome(None, error.kind, view.tobytes())
    except Error as error:
        return _Outcome(None, f"{type(error).__name__}: {error}", view.tobytes())


def _difference(call: Call, expected: _Outcome, got: _Outcome) -> tuple[str, str] | None:
    if expected.trap != got.trap:
        return "trap", f"{got.trap or 'none'}; expected {expected.trap or 'none'}"
    if expected.memory != got.memory:
        places = differing_bytes(call, expected.memory, got.memory)
        if places:
            at = places[0]
            return "memory", (
                f"{len(places)} bytes (64 at most are counted) from {at:#x} on: "
                f"{got.memory[at : at + 16].hex()}; expected {expected.memory[at : at + 16].hex()}"
            )
    if expected.result != got.result:
        return "result", f"{got.result}; expected {expected.result}"
    return None
