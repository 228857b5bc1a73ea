"""Compiling, serializing and loading again."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.engine import Feature
from iree_wasm_hal.engine.conformance.suite import SuiteBase, load_module, requires
from iree_wasm_hal.errors import ClosedError, EngineError, WasmCompileError

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine

_MODULE = load_module("integers")
_INVALID = {
    "empty": b"",
    "no_magic": b"\x7fELF\2\1\1\0",
    "bad_version": b"\0asm\2\0\0\0",
    "truncated": _MODULE[:-3],
    "bad_section": b"\0asm\1\0\0\0\x7f\0",
    # (func (result i32) (i64.const 0)): well-formed, but the types do not fit
    "type_error": bytes.fromhex("0061736d010000000105016000017f030201000a0601040042000b"),
}


class ProgramTests(SuiteBase):
    """``Engine.compile``, ``Engine.deserialize`` and ``Program``."""

    @pytest.mark.parametrize("wasm", _INVALID.values(), ids=_INVALID.keys())
    def test_compile_refuses_invalid(self, engine: Engine, wasm: bytes) -> None:
        with pytest.raises(WasmCompileError) as caught:
            engine.compile(wasm)
        assert len(str(caught.value)) > 20, "the message does not say why"

    def test_compile_is_usable_after_refusal(self, engine: Engine) -> None:
        with pytest.raises(WasmCompileError):
            engine.compile(_INVALID["type_error"])
        instance = engine.instantiate(engine.compile(_MODULE), self.small_memory(engine))
        assert instance.function("constant")() == 42

    @pytest.mark.parametrize("kind", [bytearray, memoryview])
    def test_compile_takes_any_buffer(self, engine: Engine, kind: type) -> None:
        engine.compile(kind(_MODULE)).close()

    @requires(Feature.SERIALIZE)
    def test_serialized_program_computes(self, engine: Engine) -> None:
        image = engine.compile(_MODULE).serialize()
        assert isinstance(image, bytes)
        program = engine.deserialize(image)
        instance = engine.instantiate(program, self.small_memory(engine))
        assert instance.function("i64_add")(2**40, 2) == 2**40 + 2

    @requires(Feature.SERIALIZE)
    def test_serialized_program_loads_in_another_engine(self, engine: Engine) -> None:
        image = engine.compile(_MODULE).serialize()
        other = self.open_engine()
        instance = other.instantiate(other.deserialize(image), self.small_memory(other))
        assert instance.function("i32_add")(40, 2) == 42
        other.close()

    @requires(Feature.SERIALIZE)
    @pytest.mark.parametrize(
        "image", [b"", b"garbage" * 100, _MODULE], ids=["empty", "junk", "wasm"]
    )
    def test_deserialize_refuses_garbage(self, engine: Engine, image: bytes) -> None:
        with pytest.raises(WasmCompileError):
            engine.deserialize(image)

    def test_artifact_key_names_the_engine(self, engine: Engine) -> None:
        key = engine.artifact_key
        if Feature.SERIALIZE not in engine.info.features:
            assert key is None
            return
        assert key is not None
        assert engine.info.name in key
        assert engine.info.version in key

    def test_artifact_key_is_the_same_each_time(self, engine: Engine) -> None:
        other = self.open_engine()
        assert other.artifact_key == engine.artifact_key
        other.close()

    def test_engines_and_programs_are_referenced_weakly(self, engine: Engine) -> None:
        other = self.open_engine()
        program = engine.compile(_MODULE)
        assert weakref.ref(engine)() is engine
        assert weakref.ref(program)() is program
        assert len({engine, other}) == 2, "engines are told apart by identity"
        other.close()

    def test_instances_share_a_program(self, engine: Engine) -> None:
        """On memories of their own, as devices that share a program have them."""
        program = engine.compile(_MODULE)
        memories = [self.small_memory(engine) for _ in range(3)]
        instances = [engine.instantiate(program, memory) for memory in memories]
        instances[0].close()
        program.close()
        for index, instance in enumerate(instances[1:]):
            assert instance.function("i32_add")(40, index) == 40 + index

    def test_serialize_unsupported_is_an_error(self, engine: Engine) -> None:
        program = engine.compile(_MODULE)
        if Feature.SERIALIZE in engine.info.features:
            assert program.serialize()
        else:
            with pytest.raises(EngineError, match="serializ"):
                program.serialize()

    def test_program_use_after_close(self, engine: Engine) -> None:
        program, memory = engine.compile(_MODULE), self.small_memory(engine)
        program.close()
        program.close()
        with pytest.raises(ClosedError):
            engine.instantiate(program, memory)
        if Feature.SERIALIZE in engine.info.features:
            with pytest.raises(ClosedError):
                program.serialize()

    def test_instances_outlive_program_and_engine(self, engine: Engine) -> None:
        program, memory = engine.compile(_MODULE), self.small_memory(engine)
        instance = engine.instantiate(program, memory)
        program.close()
        memory.close()
        engine.close()
        assert instance.function("constant")() == 42
