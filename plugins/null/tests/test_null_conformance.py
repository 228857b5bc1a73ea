from importlib import metadata
from typing import ClassVar

from iree_wasm_hal.engine import Feature
from iree_wasm_hal.engine.conformance import ConformanceSuite

_RUNS_NOTHING = "the null engine runs no wasm"
_READS_NO_BODY = "the null engine reads the header of a module only"


class TestNull(ConformanceSuite):
    engine_name = "null"
    engine_version = metadata.version("iree-wasm-hal-null")
    unsupported: ClassVar = {
        **{feature.value: _RUNS_NOTHING for feature in Feature},
        "test_dialect_probe_agrees*": _READS_NO_BODY,
        "test_compile_refuses_invalid?truncated?": _READS_NO_BODY,
        "test_compile_refuses_invalid?bad_section?": _READS_NO_BODY,
        "test_compile_refuses_invalid?type_error?": _READS_NO_BODY,
        "test_compile_is_usable_after_refusal": _READS_NO_BODY,
        "test_function_must_exist": _READS_NO_BODY,
        "test_memory_must_fit": _READS_NO_BODY,
        "test_only_the_memory_may_be_imported": _READS_NO_BODY,
        "test_call_*": _RUNS_NOTHING,
        "test_trap_*": _RUNS_NOTHING,
        "test_instances_*": _RUNS_NOTHING,
        "test_instance_use_after_close": _RUNS_NOTHING,
        "test_many_instances_come_and_go": _RUNS_NOTHING,
        "test_closing_one_instance_leaves_the_other": _RUNS_NOTHING,
        "test_closed_instances_and_code_are_given_back": _RUNS_NOTHING,
        "test_all_instances_grow_with_the_memory": _RUNS_NOTHING,
        "test_memory_grows_on_several_threads": _RUNS_NOTHING,
        "test_threads_on_memories_of_their_own": _RUNS_NOTHING,
    }
