"""Runs one script on one engine, in this process."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import MemoryType, TrapKind
from iree_wasm_hal.errors import Error, LimitError, TrapError, WasmCompileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from spec_scripts import Module, Refusal, Script, Step

    from iree_wasm_hal.engine import Engine, Instance

__all__ = ["Failure", "Outcome", "run_script"]

# An access of a table outside a call has no word of its own in TrapKind.
_TABLE_ACCESS = "out of bounds table access"
_ALL_PASSED = -1
# Feature.BULK_MEMORY is memory.fill and memory.copy. The rest of that proposal is probed here:
# (module (import "env" "memory" (memory 0)) (data "") (func data.drop 0))
_PASSIVE_SEGMENTS = bytes.fromhex(
    "0061736d01000000010401600000020f0103656e76066d656d6f727902000003020100"
    "0c01010a070105 00fc0900 0b 0b03010100"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A command with another result than the script says."""

    line: int
    what: str
    count: int = 1
    """Commands that are lost: those of a whole module where it cannot be instantiated."""


@dataclass(slots=True)
class Outcome:
    """What became of a script's commands."""

    passed: int = 0
    refused: int = 0
    """Those of ``passed`` that are modules rightly refused."""
    unsupported: int = 0
    """Commands of modules that need a feature which the engine does not have."""
    failures: list[Failure] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Outcome:
        """The other direction."""
        failures = [Failure(**one) for one in document["failures"]]
        return cls(**{**document, "failures": failures})


def run_script(
    engine: Engine,
    script: Script,
    trace: Callable[[int], None] | None = None,
    skip: frozenset[int] = frozenset(),
) -> Outcome:
    """Runs all commands of a script that the engine has the features for.

    Args:
        engine: The engine.
        script: The script.
        trace: Is told the line of each command before it runs; each is then a call of its own.
        skip: Lines to leave out.
    """
    outcome = Outcome()
    for refusal in script.refusals:
        if refusal.line not in skip:
            if trace:
                trace(refusal.line)
            _refuse(engine, refusal, outcome)
    features = _features(engine)
    for module in script.modules:
        if not module.features <= features:
            outcome.unsupported += module.command_count
        elif module.line not in skip:
            _Run(engine, module, outcome, trace, skip).run()
    return outcome


def _features(engine: Engine) -> frozenset[str]:
    """Values of the engine's features, with one that the contract does not have."""
    features = {feature.value for feature in engine.info.features}
    try:
        engine.compile(_PASSIVE_SEGMENTS).close()
    except Error:
        return frozenset(features)
    return frozenset(features | {"passive-segments"})


def _refuse(engine: Engine, refusal: Refusal, outcome: Outcome) -> None:
    try:
        program = engine.compile(refusal.wasm)
    except WasmCompileError:
        outcome.passed += 1
        outcome.refused += 1
    except Error as error:
        outcome.failures.append(Failure(refusal.line, f"compile raised {_name(error)}"))
    else:
        program.close()
        outcome.failures.append(Failure(refusal.line, f"accepted: {refusal.message}"))


class _Run:
    """One module."""

    def __init__(
        self,
        engine: Engine,
        module: Module,
        outcome: Outcome,
        trace: Callable[[int], None] | None,
        skip: frozenset[int],
    ) -> None:
        self._engine = engine
        self._module = module
        self._outcome = outcome
        self._trace = trace
        self._skip = skip

    def run(self) -> None:
        """Instantiates the module and carries out its steps."""
        module = self._module
        self._tell(module.line)
        try:
            program = self._engine.compile(module.wasm)
            memory = self._engine.create_memory(MemoryType(**module.memory))
        except Error as error:
            if module.instantiates:
                what = "memory" if isinstance(error, LimitError) else "compile"
                self._lose(f"{what} raised {_name(error)}: {error}")
            else:
                self._outcome.passed += module.command_count
            return
        view = memory.view()
        for byte_offset, data in module.writes:
            view[byte_offset : byte_offset + len(data)] = data
        view.release()
        try:
            instance = self._engine.instantiate(program, memory)
        except Error as error:
            if module.instantiates:
                self._lose(f"instantiate raised {_name(error)}: {error}")
            else:
                self._outcome.passed += module.command_count
        else:
            if module.instantiates:
                self._outcome.passed += 1
                self._run_steps(instance)
            else:
                self._lose("instantiated")
            instance.close()
        memory.close()
        program.close()

    def _run_steps(self, instance: Instance) -> None:
        for step in self._module.steps:
            if step.trap is None:
                self._batch(instance, step)
            elif step.lines[0] not in self._skip:
                self._expect_trap(instance, step, step.trap)

    def _batch(self, instance: Instance, step: Step) -> None:
        """Runs a batch, going on after each command that fails."""
        function = instance.function(step.export)
        first = 0
        while first < len(step.lines):
            last = len(step.lines)
            if self._trace:
                last = first + 1
                if step.lines[first] in self._skip:
                    first = last
                    continue
                self._trace(step.lines[first])
            what = "wrong result"
            try:
                failed = function(first, last)
            except Error as error:
                failed = instance.function("progress")()
                what = f"trap: {error.kind}" if isinstance(error, TrapError) else _name(error)
            if failed == _ALL_PASSED or failed is None:
                self._outcome.passed += last - first
                first = last
            else:
                self._outcome.passed += failed - first
                self._fail(step.lines[failed], what)
                first = failed + 1

    def _expect_trap(self, instance: Instance, step: Step, expected: str) -> None:
        line = step.lines[0]
        self._tell(line)
        try:
            instance.function(step.export)()
        except TrapError as error:
            if _same_trap(expected, error.kind):
                self._outcome.passed += 1
            else:
                self._fail(line, f"trap {error.kind!r} instead of {expected!r}")
        except Error as error:
            self._fail(line, f"{_name(error)} instead of {expected!r}")
        else:
            self._fail(line, f"no trap instead of {expected!r}")

    def _tell(self, line: int) -> None:
        if self._trace:
            self._trace(line)

    def _fail(self, line: int, what: str) -> None:
        self._outcome.failures.append(Failure(line, what))

    def _lose(self, what: str) -> None:
        module = self._module
        self._outcome.failures.append(Failure(module.line, what, module.command_count))


def _same_trap(expected: str, kind: str) -> bool:
    """Whether a kind of trap is what the suite asks for; it may add an index to the words."""
    if expected == _TABLE_ACCESS:
        return kind in {_TABLE_ACCESS, TrapKind.UNDEFINED_ELEMENT}
    return expected.startswith(kind)


def _name(error: Error) -> str:
    return type(error).__name__
