"""Features of the wasm dialect: claimed ones compute, unclaimed ones are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.engine import PROBES, Feature, MemoryType, Probe
from iree_wasm_hal.engine.conformance.suite import SuiteBase, load_module, requires
from iree_wasm_hal.errors import EngineError, WasmCompileError

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine

# memory64 needs another type of memory and has its own test.
_RUNNABLE = [probe.feature for probe in PROBES if probe.feature is not Feature.MEMORY64]


class DialectTests(SuiteBase):
    """One module per feature whose export ``run`` gives 42."""

    @pytest.mark.parametrize("feature", _RUNNABLE, ids=lambda feature: feature.value)
    def test_dialect_feature_computes(self, engine: Engine, feature: Feature) -> None:
        memory = self.small_memory(engine)
        instance = self.instantiate(engine, f"feature_{feature.name.lower()}", memory)
        assert instance.function("run")() == 42

    @requires(Feature.MEMORY64)
    def test_memory64_computes(self, engine: Engine) -> None:
        memory = engine.create_memory(MemoryType(1, 32, index64=True))
        instance = self.instantiate(engine, "memory64", memory)
        assert instance.function("page_count")() == 1
        memory.grow(2)
        assert instance.function("page_count")() == 3
        instance.function("store32")(2 * 65536 + 4, -5)
        assert bytes(memory.view()[2 * 65536 + 4 : 2 * 65536 + 8]) == b"\xfb\xff\xff\xff"
        assert instance.function("load32")(2 * 65536 + 4) == -5

    @requires(Feature.MEMORY64)
    def test_memory64_is_not_memory32(self, engine: Engine) -> None:
        memory = engine.create_memory(MemoryType(1, 32, index64=True))
        program = engine.compile(load_module("memory"))
        with pytest.raises(EngineError, match=r"memory"):
            engine.instantiate(program, memory)

    @pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.feature.value)
    def test_dialect_probe_agrees(self, engine: Engine, probe: Probe) -> None:
        if probe.feature in engine.info.features:
            engine.compile(probe.wasm).close()
        else:
            with pytest.raises(WasmCompileError):
                engine.compile(probe.wasm)
