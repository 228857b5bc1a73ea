"""The engine contract, with either compiler."""

from __future__ import annotations

import re
from pathlib import Path

from iree_wasm_hal.engine.conformance import ConformanceSuite

_MANIFEST = Path(__file__).parents[3] / "engines" / "wasmer" / "Cargo.toml"
_VERSION = re.search(r'^wasmer = \{ version = "=(.+?)"', _MANIFEST.read_text(), re.MULTILINE)
_NO_SIMD = "Singlepass has no SIMD"
_UNSUPPORTED = {
    "memory64": "Wasmer's compilers implement no 64-bit memories",
    "tail-call": "Wasmer's Cranelift and Singlepass implement no tail calls",
    "wide-vectors": "Cranelift compiles 128-bit operations one by one",
}


class TestWasmer(ConformanceSuite):
    engine_name = "wasmer"
    engine_version = _VERSION[1] if _VERSION else "not in Cargo.toml"
    unsupported = _UNSUPPORTED


class TestWasmerSinglepass(ConformanceSuite):
    engine_name = "wasmer"
    engine_version = TestWasmer.engine_version
    engine_options = {"compiler": "singlepass"}  # noqa: RUF012  # the suite's own declaration
    unsupported = _UNSUPPORTED | {
        "exception-handling": "Singlepass has no exception handling",
        "simd128": _NO_SIMD,
        "relaxed-simd": _NO_SIMD,
        "relaxed-madd": _NO_SIMD,
        "relaxed-dot": _NO_SIMD,
        "wide-vectors": _NO_SIMD,
    }
