import ctypes
from typing import ClassVar

from iree_wasm_hal_jsc.library import load_library

from iree_wasm_hal.engine.conformance import ConformanceSuite


def _version() -> str:
    """What the library itself says, asked without the plugin's bindings."""
    library = ctypes.CDLL(load_library().path)
    parts = (getattr(library, f"jsc_get_{part}_version")() for part in ("major", "minor", "micro"))
    return ".".join(map(str, parts))


class TestJsc(ConformanceSuite):
    engine_name = "jsc"
    engine_version = _version()
    unsupported: ClassVar[dict[str, str]] = {
        "relaxed-simd": "JavaScriptCore 2.50 lacks relaxed min, max and q15mulr",
        "relaxed-dot": "not in JavaScriptCore 2.50",
        "memory64": "not in JavaScriptCore 2.50",
        "multi-memory": "not in JavaScriptCore 2.50",
        "threads": "no public API shares a memory between two virtual machines",
        "serialize": "no public API gives compiled code out",
        "interrupt": "JavaScriptCore's watchdog never stops a wasm loop",
        "wide-vectors": "JavaScriptCore compiles 128-bit operations one by one",
    }
