from typing import ClassVar

from iree_wasm_hal.engine.conformance import ConformanceSuite

_NO_RELAXED_SIMD = "WAMR has no relaxed SIMD"
_CLASSIC_ONLY = "WAMR's fast interpreter has none, and its classic one has no SIMD"


class TestWamr(ConformanceSuite):
    engine_name = "wamr"
    engine_version = "2.4.3"  # of the sources in the crate wamrx-sys 0.3.0
    lasting_call_iterations = 10_000_000
    unsupported: ClassVar = {
        "relaxed-simd": _NO_RELAXED_SIMD,
        "relaxed-madd": _NO_RELAXED_SIMD,
        "relaxed-dot": _NO_RELAXED_SIMD,
        "memory64": _CLASSIC_ONLY,
        "multi-memory": _CLASSIC_ONLY,
        "exception-handling": _CLASSIC_ONLY,
        "serialize": "the interpreter has no compiled code",
        "wide-vectors": "the interpreter executes 128-bit operations one by one",
    }
