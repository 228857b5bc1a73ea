"""Which engine is running, and whether the suite's declarations are about this engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.engine import EngineInfo, Feature, MemoryModel
from iree_wasm_hal.engine.conformance.suite import SuiteBase
from iree_wasm_hal.errors import ClosedError

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine


class IdentityTests(SuiteBase):
    """The right engine in the right version; honest declarations."""

    def test_identity(self, engine: Engine) -> None:
        info = engine.info
        assert isinstance(info, EngineInfo)
        assert info.name == self.engine_name
        assert info.version == self.engine_version
        assert isinstance(info.memory_model, MemoryModel)

    def test_identity_of_library(self, engine: Engine) -> None:
        path = engine.info.library_path
        assert path == "" or Path(path).is_file()

    def test_missing_features_are_declared(self, engine: Engine) -> None:
        missing = {feature.value for feature in Feature if feature not in engine.info.features}
        assert missing == {name for name in self.unsupported if name in _FEATURE_NAMES}

    def test_declarations_match_tests(self) -> None:
        tests = [name for name in dir(self) if name.startswith("test_")]
        patterns = [*self.unsupported, *self.expected_failures]
        for pattern in (pattern for pattern in patterns if pattern not in _FEATURE_NAMES):
            # Parameters of a test are known to pytest alone: compare up to the first wildcard.
            prefix = re.split(r"[*?\[]", pattern)[0]
            assert any(name.startswith(prefix) for name in tests if prefix), (
                f"{pattern!r} is neither a feature nor a pattern of test names"
            )

    def test_declarations_have_reasons(self) -> None:
        for pattern, reason in {**self.unsupported, **self.expected_failures}.items():
            assert reason.strip(), f"{pattern!r} has no reason"

    def test_same_features_each_time(self, engine: Engine) -> None:
        again = self.open_engine()
        assert again.info == engine.info
        again.close()

    def test_use_after_close(self, engine: Engine) -> None:
        engine.close()
        engine.close()
        with pytest.raises(ClosedError):
            engine.compile(b"\0asm\1\0\0\0")
        with pytest.raises(ClosedError):
            self.small_memory(engine)


_FEATURE_NAMES = frozenset(feature.value for feature in Feature)
