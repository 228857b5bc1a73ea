"""The engine: identity, compilation, creation of memories and instances."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from iree_wasm_hal.engine import (
    Engine,
    EngineInfo,
    Instance,
    Memory,
    MemoryModel,
    MemoryType,
    Program,
    cpu_identity,
    file_identity,
    report_compilation,
)
from iree_wasm_hal.errors import ClosedError, EngineError, WasmCompileError
from iree_wasm_hal_wamr_aot import artifact as artifacts
from iree_wasm_hal_wamr_aot.c_api import COMPILER_INTERFACE_VERSION, RUNTIME_INTERFACE_VERSION
from iree_wasm_hal_wamr_aot.compilation import CodeOptions, ModuleCompiler, core_count
from iree_wasm_hal_wamr_aot.compiler_library import (
    compiler_identity,
    load_compiler,
    read_record,
)
from iree_wasm_hal_wamr_aot.config import EXPLICIT, GUARD
from iree_wasm_hal_wamr_aot.features import NOTES, engine_features, refusal
from iree_wasm_hal_wamr_aot.instance import WamrAotInstance
from iree_wasm_hal_wamr_aot.library import load_library
from iree_wasm_hal_wamr_aot.memory import WamrAotMemory, create_memory
from iree_wasm_hal_wamr_aot.module_reader import read_module
from iree_wasm_hal_wamr_aot.program import WamrAotProgram
from iree_wasm_hal_wamr_aot.widths import choose_vector_bits

if TYPE_CHECKING:
    from iree_wasm_hal_wamr_aot.config import EngineOptions
    from iree_wasm_hal_wamr_aot.module_reader import ModuleSummary


class WamrAotEngine:
    """Implements ``iree_wasm_hal.engine.Engine``."""

    def __init__(self, options: EngineOptions) -> None:
        self._library = load_library()
        self._options = options
        self._token: object | None = object()
        record = read_record()
        self._llvm_version = record.llvm_version if record else None
        features = self._library.cpu_features
        vector_bits = choose_vector_bits(options.vector_bits, features, record)
        self._conditions = artifacts.Conditions(
            wamr_version=self._library.version,
            runtime_interface=RUNTIME_INTERFACE_VERSION,
            compiler_interface=COMPILER_INTERFACE_VERSION,
            vector_bits=vector_bits,
            bounds_checks=options.bounds_checks,
        )
        abilities = engine_features(vector_bits)
        self._info = EngineInfo(
            name="wamr-aot",
            version=self._library.version,
            library_path=self._library.path,
            memory_model=MemoryModel.IMPORTS,
            features=abilities,
            notes={feature: note for feature, note in NOTES.items() if feature not in abilities},
        )
        self._artifact_key = "; ".join(
            [
                f"wamr-aot {self._library.version}",
                file_identity(self._library.path),
                compiler_identity(),
                f"format {artifacts.FORMAT_VERSION}",
                repr(self._conditions),
                cpu_identity(),
            ]
        )

    @property
    def info(self) -> EngineInfo:
        """Name, version and features."""
        return self._info

    @property
    def artifact_key(self) -> str:
        """What compiled code depends on."""
        return self._artifact_key

    def compile(self, wasm: bytes) -> Program:
        """Validates a module and compiles it to machine code, on all cores."""
        token = self._open()
        wasm = bytes(wasm)
        try:
            artifact = self._compile(wasm)
        except WasmCompileError as error:
            version = self._info.version
            raise WasmCompileError(refusal(wasm, version, str(error))) from error
        return WamrAotProgram(token, self._library, artifact)

    def deserialize(self, image: bytes) -> Program:
        """Loads a trusted image; its conditions and checksum are looked at, its code is not."""
        token = self._open()
        artifact = artifacts.decode(bytes(image))
        conditions = self._conditions
        if self._llvm_version is None and self._options.vector_bits is None:
            # Whoever compiled it chose; what the CPU must have for that stands in the artifact.
            conditions = replace(conditions, vector_bits=artifact.conditions.vector_bits)
        artifacts.check_conditions(artifact, conditions, self._llvm_version)
        artifacts.check_cpu(artifact, self._library.cpu_features)
        return WamrAotProgram(token, self._library, artifact)

    def create_memory(self, memory_type: MemoryType) -> Memory:
        """Creates a memory whose base address never changes."""
        guarded = self._options.bounds_checks == GUARD
        return create_memory(self._open(), self._library, memory_type, guarded=guarded)

    def instantiate(self, program: Program, memory: Memory) -> Instance:
        """Binds a program to a memory."""
        token = self._open()
        if not isinstance(program, WamrAotProgram) or program.engine_token is not token:
            raise _foreign(program)
        if not isinstance(memory, WamrAotMemory) or memory.engine_token is not token:
            raise _foreign(memory)
        stack_byte_length = self._options.max_wasm_stack_byte_length
        return WamrAotInstance(self._library, program, memory, stack_byte_length)

    def close(self) -> None:
        """Gives the engine up; WAMR itself is the process's and stays."""
        self._token = None

    def _open(self) -> object:
        token = self._token
        if token is None:
            msg = "engine 'wamr-aot' is closed"
            raise ClosedError(msg)
        return token

    def _compile(self, wasm: bytes) -> artifacts.Artifact:
        compiler = load_compiler()
        module = ModuleCompiler(compiler, wasm)
        summary = read_module(wasm)  # after WAMR has found it valid
        explicit = self._options.bounds_checks == EXPLICIT or summary.index64
        cpu_features = tuple(sorted(self._library.cpu_features))
        code_options = CodeOptions(cpu_features, self._conditions.vector_bits, explicit)
        threads = self._options.compile_threads or core_count()
        compiled = module.compile(code_options, threads, self._report)
        return artifacts.Artifact(
            conditions=self._conditions,
            llvm_version=compiler.llvm_version,
            cpu_features=cpu_features,
            tune_cpu=compiler.host_cpu,
            guarded=not explicit,
            imports=summary.imports,
            function_names=_function_names(summary, len(compiled.owners)),
            owners=compiled.owners,
            parts=compiled.parts,
        )

    def _report(self, done_byte_length: int, total_byte_length: int) -> None:
        report_compilation(done_byte_length, total_byte_length)
        if self._options.progress is not None:
            self._options.progress(done_byte_length, total_byte_length)


def _function_names(summary: ModuleSummary, own_count: int) -> tuple[str, ...]:
    count = summary.imported_function_count + own_count
    return tuple(summary.names.get(index, "") for index in range(count))


def _foreign(one: object) -> EngineError:
    return EngineError(f"cannot instantiate: a {type(one).__name__} of another engine was given")


def _implements(engine: WamrAotEngine, program: WamrAotProgram) -> tuple[Engine, Program]:
    """Lets the type checker compare the classes with the contract."""
    return engine, program
