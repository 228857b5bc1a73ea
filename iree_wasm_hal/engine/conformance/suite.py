"""What a plugin declares about its engine, and how the declarations reach the tests."""

from __future__ import annotations

import fnmatch
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pytest

from iree_wasm_hal.engine import Engine, Feature, Instance, Memory, MemoryType, open_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_Test = TypeVar("_Test", bound="Callable[..., None]")

SMALL_MEMORY = MemoryType(min_page_count=1, max_page_count=16)
SMALL_SHARED_MEMORY = MemoryType(min_page_count=1, max_page_count=16, shared=True)


def requires(*features: Feature) -> Callable[[_Test], _Test]:
    """Marks a test as needing features; an engine without them must declare them unsupported."""

    def mark(test: _Test) -> _Test:
        test.required_features = frozenset(features)  # type: ignore[attr-defined]  # a function
        return test

    return mark


def load_module(name: str) -> bytes:
    """The binary of ``modules/<name>.wat``."""
    return resources.files(__package__).joinpath("modules", f"{name}.wasm").read_bytes()


class SuiteBase:
    """Declarations and fixtures that all tests share."""

    engine_name: ClassVar[str]
    """Entry-point name of the engine under test."""
    engine_version: ClassVar[str]
    """Version that must be running, from a source other than the plugin."""
    engine_options: ClassVar[Mapping[str, object]] = {}
    """Options for ``open_engine``."""
    unsupported: ClassVar[Mapping[str, str]] = {}
    """Permanent: value of a missing ``Feature``, or pattern of test names, to the reason."""
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Temporary: pattern of test names to the reason. A test that passes anyway fails."""
    lasting_call_iterations: ClassVar[int] = 400_000_000
    """Iterations of a shift-and-xor loop that keep the engine busy for 0.1 s to 2 s."""

    @classmethod
    def open_engine(cls) -> Engine:
        """Opens the engine under test; override it to open one that is not an entry point."""
        return open_engine(cls.engine_name, **cls.engine_options)

    @pytest.fixture
    def engine(self) -> Iterator[Engine]:
        """The engine under test."""
        engine = self.open_engine()
        yield engine
        engine.close()

    @pytest.fixture(autouse=True)
    def _apply_declarations(self, request: pytest.FixtureRequest) -> None:
        """Skips what is declared unsupported and expects the failures that are declared."""
        required = _required_features(request)
        for feature in required:
            if feature.value in self.unsupported:
                pytest.skip(f"{feature.value} unsupported: {self.unsupported[feature.value]}")
        name: str = request.node.name
        for pattern, reason in self.unsupported.items():
            if fnmatch.fnmatchcase(name, pattern):
                pytest.skip(f"unsupported: {reason}")
        for pattern, reason in self.expected_failures.items():
            if fnmatch.fnmatchcase(name, pattern):
                request.node.add_marker(pytest.mark.xfail(strict=True, reason=reason))

    @staticmethod
    def small_memory(engine: Engine, *, shared: bool = False) -> Memory:
        """A memory of 1 page that may grow to 16."""
        return engine.create_memory(SMALL_SHARED_MEMORY if shared else SMALL_MEMORY)

    @staticmethod
    def instantiate(engine: Engine, module: str, memory: Memory) -> Instance:
        """Compiles one of the suite's modules and binds it to a memory."""
        return engine.instantiate(engine.compile(load_module(module)), memory)


def _required_features(request: pytest.FixtureRequest) -> frozenset[Feature]:
    required: frozenset[Feature] = getattr(request.function, "required_features", frozenset())
    callspec: Any = getattr(request.node, "callspec", None)
    parameters: dict[str, object] = callspec.params if callspec else {}
    return required | {value for value in parameters.values() if isinstance(value, Feature)}
