"""``load``: from an archive to a program that can be called."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal, overload

from iree_wasm_hal.cache.settings import choose_cache
from iree_wasm_hal.engine.contract import Feature
from iree_wasm_hal.engine.progress import CompileObserver, observe_compilation
from iree_wasm_hal.engine.registry import open_engine
from iree_wasm_hal.errors import (
    ArgumentError,
    ImportResolutionError,
    IncompatibleTargetError,
    InvocationError,
)
from iree_wasm_hal.hal.call import Call, check_timeout, inside
from iree_wasm_hal.hal.compatibility import check_features
from iree_wasm_hal.hal.device import DEFAULT_MAX_MEMORY_BYTES, Device
from iree_wasm_hal.hal.formats import FORMAT_START, ExecutableFormat, incompatible_format_error
from iree_wasm_hal.runtime.module import Module
from iree_wasm_hal.runtime.source import Source, open_source
from iree_wasm_hal.vm.context import Context
from iree_wasm_hal.vm.module import BytecodeModule
from iree_wasm_hal.vm.modules.hal.module import HalModule, TraceSink
from iree_wasm_hal.vm.modules.io_parameters.module import IoParametersModule
from iree_wasm_hal.vm.modules.io_parameters.source import ParameterSources, open_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal.cache.code_cache import CodeCache
    from iree_wasm_hal.engine.contract import Engine
    from iree_wasm_hal.isolation.module import IsolatedModule
    from iree_wasm_hal.vm.native import NativeModule

__all__ = ["load"]

_FORMAT_CATEGORY = "hal.executable.format"
_INLINE_MODULES = ("hal_inline", "hal_loader")
_WASM64_FORMAT = "system-wasm-wasm_64"
_MAX_FORMAT_BYTE_LENGTH = 128


@overload
def load(
    source: Source,
    *,
    engine: str | Engine = ...,
    threads: int = ...,
    device: Device | None = ...,
    parameters: ParameterSources | None = ...,
    modules: Sequence[NativeModule | BytecodeModule] = ...,
    max_memory_bytes: int = ...,
    timeout: float | None = ...,
    cache: bool | CodeCache = ...,
    isolation: None = ...,
    trace_sink: TraceSink | None = ...,
    progress: CompileObserver | None = ...,
) -> Module: ...


@overload
def load(
    source: Source,
    *,
    isolation: Literal["process"],
    engine: str = ...,
    threads: int = ...,
    parameters: ParameterSources | None = ...,
    modules: Sequence[NativeModule] = ...,
    max_memory_bytes: int = ...,
    timeout: float | None = ...,
    cache: bool | CodeCache = ...,
    progress: CompileObserver | None = ...,
) -> IsolatedModule: ...


def load(
    source: Source,
    *,
    engine: str | Engine = "wasmtime",
    threads: int = 1,
    device: Device | None = None,
    parameters: ParameterSources | None = None,
    modules: Sequence[NativeModule | BytecodeModule] = (),
    max_memory_bytes: int = DEFAULT_MAX_MEMORY_BYTES,
    timeout: float | None = None,
    cache: bool | CodeCache = True,
    isolation: Literal["process"] | None = None,
    trace_sink: TraceSink | None = None,
    progress: CompileObserver | None = None,
) -> Module | IsolatedModule:
    """Loads a ``.vmfb`` whose kernels are WebAssembly.

    Args:
        source: A path, the bytes, or an open binary file. A file is mapped, not read.
        engine: Entry-point name of an installed engine, or an engine.
        threads: Worker threads.
        device: A device to run on together with what else runs there; ``engine``, ``threads``,
            and ``max_memory_bytes`` are then the device's own. By default the module has a device,
            and with it a memory, of its own, so that no other can touch its buffers.
        parameters: Scope name to a parameter archive (.irpa, .safetensors, .gguf), to arrays by
            key, or to a list of such sources.
        modules: Modules that the program imports from beside ``hal`` and ``io_parameters``.
        max_memory_bytes: Largest size of the linear memory.
        timeout: Seconds that the initialisation may take, but for compiling, and that a call may
            take unless it is given another; None for no limit.
        cache: Where compiled code is kept for the next process: True for the user's cache, unless
            the environment switches it off; False for nowhere; or a cache. See ``docs/cache.md``.
        isolation: ``"process"`` for a child process that loads and runs the program: one that
            crashes or does not stop brings nothing else down. See ``docs/isolation.md``.
        trace_sink: Gets what the program traces; standard error by default.
        progress: Called in this thread while kernels are compiled, with the bytes of a module that
            are done and all of them, by an engine that takes long (wamr-aot).

    Raises:
        EngineUnavailableError: The engine is not installed or does not run here.
        EngineError: The engine lacks what is asked for, such as threads, or the means to keep a
            time-out; says why.
        LoadError: The archive cannot be loaded; subclasses say why.
        ParameterError: A parameter archive cannot be used.
        LimitError: Out of linear memory, or of files that the process may open.
        CallError: The program's own initialisation failed, or took longer than ``timeout``.
    """
    if isolation is not None:
        # Most programs run in this process, and need neither sockets nor subprocesses.
        from iree_wasm_hal.isolation.loading import load_isolated  # noqa: PLC0415

        return load_isolated(
            source,
            isolation=isolation,
            engine=engine,
            threads=threads,
            device=device,
            parameters=parameters,
            modules=modules,
            max_memory_bytes=max_memory_bytes,
            timeout=timeout,
            cache=cache,
            trace_sink=trace_sink,
            progress=progress,
        )
    data, name = open_source(source)
    program = BytecodeModule.from_bytes(data, file_name=name, cache=choose_cache(cache))
    _refuse_inline_hal(program, name)
    indexes = open_parameters(parameters or {})
    formats = _kernel_formats(program)
    # Without a function of its own, an observer that the caller installed goes on.
    observing = observe_compilation(progress) if progress else contextlib.nullcontext()
    with contextlib.ExitStack() as cleanup, observing:
        if device is None:
            opened = _engine(engine, cleanup)
            check_timeout(opened.info, timeout)
            memory64 = bool(formats) and all(one.index64 for one in formats)
            if memory64:
                check_features(f"{name}: the program", [Feature.MEMORY64], opened.info)
            device = Device(
                opened,
                threads=threads,
                max_memory_bytes=max_memory_bytes,
                memory64=memory64,
                cache=cache,
            )
            cleanup.callback(device.close)
        else:
            check_timeout(device.engine.info, timeout)
        hal = HalModule(device, trace_sink)
        hal.preferred_format = _preferred_format(formats, device)
        io_parameters = IoParametersModule(indexes)
        cleanup.callback(hal.close)
        cleanup.callback(io_parameters.close)
        natives = [hal, io_parameters, *modules]
        with inside(Call(timeout)):
            context = _start([*natives, program], hal, device, name)
        cleanup.callback(context.close)
        return Module(program.name, device, context, cleanup.pop_all(), timeout=timeout)


def _engine(engine: str | Engine, cleanup: contextlib.ExitStack) -> Engine:
    if not isinstance(engine, str):
        if not hasattr(engine, "info"):
            raise ArgumentError(
                f"engine is {engine!r}; expected an entry-point name such as 'wasmtime', or what "
                "open_engine returns"
            )
        return engine
    opened = open_engine(engine)
    cleanup.callback(opened.close)
    return opened


def _start(
    modules: Sequence[NativeModule | BytecodeModule],
    hal: HalModule,
    device: Device,
    name: str,
) -> Context:
    """Links the modules and runs the program's initialisation."""
    try:
        return Context(modules)
    except InvocationError as error:
        if hal.preferred_format is not None:  # some of its kernels may be in another format alone
            hal.preferred_format = None
            return _start(modules, hal, device, name)
        # A program asks for the formats of its kernels one by one, and gives up after the last.
        if hal.has_accepted_format or not hal.refused_formats:
            raise
        raise _incompatible(hal.refused_formats, device, name) from error


def _incompatible(formats: list[str], device: Device, name: str) -> IncompatibleTargetError:
    """Which feature is missing, where that is all, or which target to compile for."""
    index64 = bool(device.query_i64(_FORMAT_CATEGORY, _WASM64_FORMAT)[1])
    known = [parsed for text in formats if (parsed := ExecutableFormat.parse(text)) is not None]
    fitting = [format_ for format_ in known if format_.index64 == index64]
    if fitting:
        available = device.engine.info.features
        nearest = min(fitting, key=lambda format_: len(format_.features - available))
        try:
            check_features("the program's kernels", nearest.features, device.engine.info)
        except IncompatibleTargetError as missing:
            return IncompatibleTargetError(f"{name}: {missing}")
    other_target = incompatible_format_error(formats, device.engine.info, index64=index64)
    return IncompatibleTargetError(f"{name}: {other_target}")


def _refuse_inline_hal(program: BytecodeModule, name: str) -> None:
    for dependency in program.dependencies:
        if dependency.name in _INLINE_MODULES:
            raise ImportResolutionError(
                f"{name}: the program imports the module {dependency.name!r}; it was compiled with "
                "--iree-execution-model=inline-static or inline-dynamic, which leave no device to "
                "run on. Compile it without that flag"
            )


def _kernel_formats(program: BytecodeModule) -> list[ExecutableFormat]:
    """The formats that the program's kernels are in: their names are constants of it."""
    texts = {
        bytes(segment).decode(errors="replace")
        for segment in program.archive.rodata
        if len(segment) <= _MAX_FORMAT_BYTE_LENGTH and segment[: len(FORMAT_START)] == FORMAT_START
    }
    return [parsed for text in sorted(texts) if (parsed := ExecutableFormat.parse(text))]


def _preferred_format(formats: list[ExecutableFormat], device: Device) -> str | None:
    """The fastest that the device takes, if there is a choice.

    A program takes the first that its device has, in the order of their names: the scalar one.
    """
    taken = [one for one in formats if device.query_i64(_FORMAT_CATEGORY, one.name)[1]]
    if len(taken) < 2:
        return None
    return max(taken, key=lambda one: one.rank(device.engine.info)).name
