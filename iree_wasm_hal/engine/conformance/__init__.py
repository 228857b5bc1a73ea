"""The conformance suite: what "implements the engine contract" means. Needs pytest.

A plugin's test file is one class::

    from iree_wasm_hal.engine.conformance import ConformanceSuite


    class TestConformance(ConformanceSuite):
        engine_name = "wasmtime"
        engine_version = importlib.metadata.version("wasmtime")
        unsupported = {"memory64": "the interpreter has 32-bit addresses only"}
        expected_failures = {"test_interrupt_*": "https://example.org/issues/1"}

The sources of the small modules that it runs are beside their binaries, in ``modules/``.
"""

import pytest

# Failed asserts of these modules show their values, as those of test files do.
pytest.register_assert_rewrite(
    f"{__name__}.background",
    f"{__name__}.calls",
    f"{__name__}.dialect",
    f"{__name__}.identity",
    f"{__name__}.instances",
    f"{__name__}.interruption",
    f"{__name__}.memories",
    f"{__name__}.programs",
    f"{__name__}.suite",
    f"{__name__}.threads",
    f"{__name__}.traps",
    f"{__name__}.vectors",
)

from iree_wasm_hal.engine.conformance.calls import CallTests  # noqa: E402  # after the rewrite hook
from iree_wasm_hal.engine.conformance.dialect import DialectTests  # noqa: E402
from iree_wasm_hal.engine.conformance.identity import IdentityTests  # noqa: E402
from iree_wasm_hal.engine.conformance.instances import InstanceTests  # noqa: E402
from iree_wasm_hal.engine.conformance.interruption import InterruptionTests  # noqa: E402
from iree_wasm_hal.engine.conformance.memories import MemoryTests  # noqa: E402
from iree_wasm_hal.engine.conformance.programs import ProgramTests  # noqa: E402
from iree_wasm_hal.engine.conformance.suite import SuiteBase  # noqa: E402
from iree_wasm_hal.engine.conformance.threads import ThreadTests  # noqa: E402
from iree_wasm_hal.engine.conformance.traps import TrapTests  # noqa: E402
from iree_wasm_hal.engine.conformance.vectors import VectorTests  # noqa: E402

__all__ = ["ConformanceSuite", "SuiteBase"]


class ConformanceSuite(
    IdentityTests,
    DialectTests,
    ProgramTests,
    MemoryTests,
    InstanceTests,
    CallTests,
    TrapTests,
    InterruptionTests,
    ThreadTests,
    VectorTests,
):
    """Every conformance test; subclass it and declare the engine."""
