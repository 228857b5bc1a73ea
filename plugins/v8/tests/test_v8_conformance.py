import ctypes
from importlib import util
from pathlib import Path
from typing import ClassVar

from iree_wasm_hal.engine.conformance import ConformanceSuite

_ONE_WORD = "V8 throws one error for an empty table slot and for a function of another type"


def _v8_version() -> str:
    spec = util.find_spec("py_mini_racer")
    assert spec is not None
    assert spec.origin is not None
    library = ctypes.CDLL(str(Path(spec.origin).with_name("libmini_racer.so")))
    library.mr_v8_version.restype = ctypes.c_char_p
    version: bytes = library.mr_v8_version()
    return version.decode()


class TestV8(ConformanceSuite):
    engine_name = "v8"
    engine_version = _v8_version()
    unsupported: ClassVar = {
        "threads": "mini-racer cannot share a memory between isolates",
        "serialize": "mini-racer does not expose V8's code serializer",
        "wide-vectors": "V8's revectorizer merged nothing in the kernels that it was tried on",
        "test_trap_kind[[]call_indirect-arguments10-*": _ONE_WORD,
        "test_trap_in_a_thread[[]call_indirect-arguments10-*": _ONE_WORD,
    }
