from pathlib import Path
from typing import ClassVar

from iree_wasm_hal.engine.conformance import ConformanceSuite

_HAS_AVX2 = " avx2 " in Path("/proc/cpuinfo").read_text()


class TestWamrAot(ConformanceSuite):
    engine_name = "wamr-aot"
    engine_version = "2.4.3"  # of the sources in the crate wamrx-sys 0.3.0
    unsupported: ClassVar = {
        "multi-memory": "WAMR's compiler addresses one memory",
        "exception-handling": "WAMR's compiler has none",
        **({} if _HAS_AVX2 else {"wide-vectors": "this CPU has vectors of 128 bits"}),
    }


class TestWamrAotWithExplicitChecks(TestWamrAot):
    engine_options: ClassVar = {"bounds_checks": "explicit"}


class TestWamrAotWithNarrowVectors(TestWamrAot):
    engine_options: ClassVar = {"vector_bits": 128}
    unsupported: ClassVar = TestWamrAot.unsupported | {"wide-vectors": "the option vector_bits"}
