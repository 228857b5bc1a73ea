from importlib import metadata
from typing import ClassVar

from iree_wasm_hal.engine.conformance import ConformanceSuite

_SCALAR = "wasm3 has scalar instructions only"
_ONE_THREAD = "wasm3 has no atomics, and a memory belongs to one call at a time"


class TestWasm3(ConformanceSuite):
    engine_name = "wasm3"
    engine_version = metadata.version("pywasm3")
    unsupported: ClassVar = {
        "multivalue": "wasm3 0.5.0 drops the parameters of a loop at an unconditional branch",
        "reference-types": "wasm3 has one table, of functions",
        "simd128": _SCALAR,
        "relaxed-simd": _SCALAR,
        "relaxed-madd": _SCALAR,
        "relaxed-dot": _SCALAR,
        "wide-vectors": _SCALAR,
        "atomics": _ONE_THREAD,
        "shared-memory": _ONE_THREAD,
        "threads": _ONE_THREAD,
        "memory64": "wasm3 has 32-bit addresses only",
        "multi-memory": "wasm3 has one memory per runtime",
        "tail-call": "wasm3 0.5.0 reads tail calls but makes plain calls of them",
        "exception-handling": "wasm3 does not have them",
        "extended-const": "wasm3 takes one instruction per constant expression",
        "serialize": "wasm3's compiled code is made of pointers",
        "interrupt": "wasm3's loops look at nothing while they run",
    }
    lasting_call_iterations = 30_000_000
