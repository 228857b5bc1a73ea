"""The one tree of errors that this package raises.

::

    iree_wasm_hal.Error
    +-- LoadError                    a file or binary cannot be loaded
    |   +-- ArchiveError             not a .vmfb, or a damaged one
    |   +-- BytecodeError            VM bytecode that the verifier refuses
    |   +-- ImportResolutionError    a VM import that no module serves
    |   +-- IncompatibleTargetError  kernels for another target or missing engine features
    |   +-- WasmError                a WebAssembly binary that cannot be used
    |       +-- MalformedWasmError   bytes that are not a well-formed module
    |       +-- KernelProfileError   well-formed, but outside the static kernel profile
    |       +-- WasmCompileError     refused by the engine
    +-- EngineError
    |   +-- EngineUnavailableError   not installed, broken, or unable to run here
    +-- CallError                    a call that went wrong
    |   +-- ArgumentError            wrong number, shape or dtype of arguments
    |   +-- InvocationError          the program failed; carries an IREE status code
    |   +-- TrapError                a kernel trapped
    |   +-- InterruptedCallError     a cancel ended the call
    |   |   +-- CallTimeoutError     its time-out did; a TimeoutError as well
    |   +-- ResultTimeoutError       a call in flight has no results yet; a TimeoutError as well
    |   +-- ProcessEndedError        the child process of an isolated module ended during a call
    +-- LimitError                   a resource limit; says how much was asked and allowed
    +-- ClosedError                  use of something after its close()
    +-- ParameterError               a parameter archive that cannot be used
    +-- CompileError                 the IREE compiler refused a model
    +-- InternalError                a broken invariant of ours ("BUG: ..."), never a user's fault
"""

from __future__ import annotations

__all__ = [
    "ArchiveError",
    "ArgumentError",
    "BytecodeError",
    "CallError",
    "CallTimeoutError",
    "ClosedError",
    "CompileError",
    "EngineError",
    "EngineUnavailableError",
    "Error",
    "ImportResolutionError",
    "IncompatibleTargetError",
    "InternalError",
    "InterruptedCallError",
    "InvocationError",
    "KernelProfileError",
    "LimitError",
    "LoadError",
    "MalformedWasmError",
    "ParameterError",
    "ProcessEndedError",
    "ResultTimeoutError",
    "TrapError",
    "WasmCompileError",
    "WasmError",
]


class Error(Exception):
    """Base of every error this package raises on purpose."""


class LoadError(Error):
    """A file or binary cannot be loaded."""


class ArchiveError(LoadError):
    """The bytes are not a ``.vmfb`` archive, or a damaged one."""


class BytecodeError(LoadError):
    """The VM bytecode is of an unknown version or fails verification."""


class ImportResolutionError(LoadError):
    """A VM import that no loaded module serves under that name and calling convention."""


class IncompatibleTargetError(LoadError):
    """The kernels are for another target, or need features that the engine lacks."""


class WasmError(LoadError):
    """A WebAssembly binary that cannot be used."""


class MalformedWasmError(WasmError):
    """The bytes are not a well-formed WebAssembly module."""


class KernelProfileError(WasmError):
    """A well-formed module that does something no kernel may do."""


class WasmCompileError(WasmError):
    """The engine refused to validate or compile the module."""


class EngineError(Error):
    """An engine or its plugin cannot do what was asked."""


class EngineUnavailableError(EngineError):
    """The engine is not installed, its plugin is broken, or it cannot run on this machine."""


class CallError(Error):
    """A call that went wrong."""


class ArgumentError(CallError):
    """The arguments do not fit the function: their number, shape, dtype or type."""


class InvocationError(CallError):
    """The program itself failed.

    Attributes:
        status: IREE status code name, such as ``"INVALID_ARGUMENT"`` (iree/base/status.h).
    """

    def __init__(self, message: str, *, status: str = "UNKNOWN") -> None:
        super().__init__(message)
        self.status = status


class TrapError(CallError):
    """A kernel trapped inside the WebAssembly engine.

    Attributes:
        kind: The trap in the wasm spec's words, such as ``"out of bounds memory access"``.
        frames: Names of the wasm functions on the stack, innermost first, where known.
    """

    def __init__(
        self, message: str, *, kind: str = "unknown", frames: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.frames = frames


class InterruptedCallError(CallError):
    """A cancel from another thread, or the time-out, ended the call."""


class CallTimeoutError(InterruptedCallError, TimeoutError):
    """A call took longer than its ``timeout``."""


class ResultTimeoutError(CallError, TimeoutError):
    """The results of a call in flight are not there yet; the call goes on."""


class ProcessEndedError(CallError):
    """The child process of an isolated module ended during a call or while it loaded the module.

    Attributes:
        process_id: The child's.
        exit_status: Its exit status, or None where a signal ended it.
        signal: Name of that signal, such as ``"SIGKILL"``, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        process_id: int = 0,
        exit_status: int | None = None,
        signal: str | None = None,
    ) -> None:
        super().__init__(message)
        self.process_id = process_id
        self.exit_status = exit_status
        self.signal = signal


class LimitError(Error):
    """A resource limit was met.

    Attributes:
        name: What ran out, such as ``"linear memory"``.
        asked: How much was asked for, in the limit's unit (bytes unless the message says else).
        allowed: The limit.
    """

    def __init__(self, message: str, *, name: str, asked: int, allowed: int) -> None:
        super().__init__(message)
        self.name = name
        self.asked = asked
        self.allowed = allowed


class ClosedError(Error):
    """Use of a module, device, memory or instance after its ``close()``."""


class ParameterError(Error):
    """A parameter archive that is damaged or lacks what the program asks for."""


class CompileError(Error):
    """The IREE compiler refused a model.

    Attributes:
        log_path: File that holds the compiler's whole output, if one was written.
    """

    def __init__(self, message: str, *, log_path: str | None = None) -> None:
        super().__init__(message)
        self.log_path = log_path


class InternalError(Error):
    """A broken invariant of this package; the message starts with ``BUG:``."""

    def __init__(self, message: str) -> None:
        super().__init__(message if message.startswith("BUG:") else f"BUG: {message}")
