import pytest

from iree_wasm_hal.engine import MemoryType, open_engine
from iree_wasm_hal.errors import ClosedError, EngineError, WasmCompileError

_MODULE = b"\0asm\1\0\0\0"


def test_a_call_says_that_nothing_runs() -> None:
    engine = open_engine("null")
    memory = engine.create_memory(MemoryType(1, 2))
    function = engine.instantiate(engine.compile(_MODULE), memory).function("main")
    with pytest.raises(EngineError, match=r"'null' runs no wasm: call of 'main' with 2 arguments"):
        function(1, 2)


def test_a_function_knows_its_instance_is_closed() -> None:
    engine = open_engine("null")
    memory = engine.create_memory(MemoryType(1, 2))
    instance = engine.instantiate(engine.compile(_MODULE), memory)
    function = instance.function("main")
    instance.close()
    with pytest.raises(ClosedError, match=r"call of 'main' after its close"):
        function()


def test_the_header_is_shown() -> None:
    with pytest.raises(WasmCompileError, match=r"begins with '7f 45 4c 46'"):
        open_engine("null").compile(b"\x7fELF")


def test_options_are_refused() -> None:
    with pytest.raises(EngineError, match=r"'null' has no option 'threads'; its options are: none"):
        open_engine("null", threads=2)
