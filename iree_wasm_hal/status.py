"""IREE status codes, and how this package's errors map to them.

Spec: runtime/src/iree/base/status.h (``iree_status_code_t``).
"""

from __future__ import annotations

import enum

from iree_wasm_hal import errors

__all__ = ["StatusCode", "error_from_status", "invocation_error", "status_of"]


_CODE_MASK = 0x1F
"""``IREE_STATUS_CODE_MASK``."""


class StatusCode(enum.IntEnum):
    """Codes that VM programs see, as in ``hal.fence.query``."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16
    DEFERRED = 17
    INCOMPATIBLE = 18


# The first matching class counts, so subclasses come before their bases.
_CODE_OF_CLASS: tuple[tuple[type[BaseException], StatusCode], ...] = (
    (errors.LimitError, StatusCode.RESOURCE_EXHAUSTED),
    (errors.CallTimeoutError, StatusCode.DEADLINE_EXCEEDED),
    (errors.InterruptedCallError, StatusCode.CANCELLED),
    (errors.TrapError, StatusCode.ABORTED),
    (errors.ArgumentError, StatusCode.INVALID_ARGUMENT),
    (errors.ClosedError, StatusCode.FAILED_PRECONDITION),
    (errors.IncompatibleTargetError, StatusCode.INCOMPATIBLE),
    (errors.LoadError, StatusCode.INVALID_ARGUMENT),
    (errors.EngineError, StatusCode.UNAVAILABLE),
    (errors.ParameterError, StatusCode.NOT_FOUND),
    (errors.InternalError, StatusCode.INTERNAL),
)


def status_of(error: BaseException | None) -> StatusCode:
    """The status code a program sees for an error; OK for None."""
    if error is None:
        return StatusCode.OK
    if isinstance(error, errors.InvocationError):
        return StatusCode.__members__.get(error.status, StatusCode.UNKNOWN)
    for error_class, code in _CODE_OF_CLASS:
        if isinstance(error, error_class):
            return code
    return StatusCode.UNKNOWN


def invocation_error(code: StatusCode, message: str) -> errors.InvocationError:
    """An error with a status code, for mistakes of the running program."""
    return _named(code.name, message)


def error_from_status(code: int, message: str) -> errors.InvocationError:
    """An error from a status code that a program gave, as in ``vm.fail`` and ``hal.fence.fail``.

    Only the low five bits of an ``iree_status_t`` are its code; codes that IREE does not name
    become ``"CODE(n)"``. A failure with status OK is the program's own contradiction: INTERNAL.
    """
    masked = code & _CODE_MASK
    if masked == StatusCode.OK:
        return _named(StatusCode.INTERNAL.name, f"failed with status OK: {message}")
    known = masked in StatusCode.__members__.values()
    return _named(StatusCode(masked).name if known else f"CODE({masked})", message)


def _named(name: str, message: str) -> errors.InvocationError:
    return errors.InvocationError(f"{name}: {message}" if message else name, status=name)
