"""The hand-written probes and conformance modules, against wasmtime's assembler and validator."""

from pathlib import Path

import pytest
import wasmtime
from wasmtime import _ffi

from iree_wasm_hal import engine
from iree_wasm_hal.engine import PROBES, Feature, Probe, probe_features

_MODULES = Path(engine.__file__).parent / "conformance" / "modules"
_OF_THE_ENGINE = {
    Feature.SHARED_MEMORY,
    Feature.THREADS,
    Feature.SERIALIZE,
    Feature.INTERRUPT,
    Feature.WIDE_VECTORS,
}
_ON_REFERENCES = ("wasm_reference_types", "wasm_exceptions", "wasm_gc", "wasm_function_references")
# Switches that must be off for the feature to be off, together with what builds on it. Where
# wasmtime-py has none, None.
_SWITCHES: dict[Feature, tuple[str, ...] | None] = {
    Feature.BULK_MEMORY: ("wasm_bulk_memory", *_ON_REFERENCES),
    Feature.SIGN_EXTENSION: None,
    Feature.NONTRAPPING_FPTOINT: None,
    Feature.MULTI_VALUE: ("wasm_multi_value",),
    Feature.REFERENCE_TYPES: _ON_REFERENCES,
    Feature.SIMD128: ("wasm_simd", "wasm_relaxed_simd"),
    Feature.RELAXED_SIMD: ("wasm_relaxed_simd",),
    Feature.RELAXED_MADD: ("wasm_relaxed_simd",),
    Feature.RELAXED_DOT: ("wasm_relaxed_simd",),
    Feature.ATOMICS: ("wasm_threads",),
    Feature.MEMORY64: ("wasm_memory64",),
    Feature.MULTI_MEMORY: ("wasm_multi_memory",),
    Feature.TAIL_CALL: ("wasm_tail_call",),
    Feature.EXCEPTIONS: ("wasm_exceptions",),
    Feature.EXTENDED_CONST: None,
}


def _validates(config: wasmtime.Config, wasm: bytes) -> bool:
    try:
        wasmtime.Module.validate(wasmtime.Engine(config), wasm)
    except wasmtime.WasmtimeError:
        return False
    return True


def _config(*, off: tuple[str, ...] = ()) -> wasmtime.Config:
    config = wasmtime.Config()
    config.wasm_exceptions = True
    config.shared_memory = True
    # On by default, they need reference types; the C API aborts on a contradiction.
    _ffi.wasmtime_config_wasm_component_model_async_set(config.ptr(), False)
    _ffi.wasmtime_config_concurrency_support_set(config.ptr(), False)
    for switch in off:
        setattr(config, switch, False)
    return config


def test_every_dialect_feature_has_one_probe() -> None:
    probed = [probe.feature for probe in PROBES]
    assert len(probed) == len(set(probed))
    assert set(probed) == set(Feature) - _OF_THE_ENGINE
    assert set(probed) == set(_SWITCHES)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.feature.value)
def test_probe_is_its_text(probe: Probe) -> None:
    assert bytes(wasmtime.wat2wasm(probe.text)) == probe.wasm


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.feature.value)
def test_probe_needs_its_feature(probe: Probe) -> None:
    assert _validates(_config(), probe.wasm)
    switches = _SWITCHES[probe.feature]
    if switches is not None:
        assert not _validates(_config(off=switches), probe.wasm)


def test_probe_features_asks_for_each() -> None:
    asked: list[bytes] = []

    def validates(wasm: bytes) -> bool:
        asked.append(wasm)
        return wasm == PROBES[0].wasm

    assert probe_features(validates) == {PROBES[0].feature}
    assert asked == [probe.wasm for probe in PROBES]


@pytest.mark.parametrize("source", sorted(_MODULES.glob("*.wat")), ids=lambda path: path.stem)
def test_conformance_module_is_its_text(source: Path) -> None:
    assembled = bytes(wasmtime.wat2wasm(source.read_text()))
    assert source.with_suffix(".wasm").read_bytes() == assembled, "run modules/regenerate.py"
    assert _validates(_config(), assembled)
