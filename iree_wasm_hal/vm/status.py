"""IREE status codes and the errors that carry them.

Spec: iree/base/status.h (``iree_status_code_t``).
"""

from __future__ import annotations

from iree_wasm_hal.errors import InvocationError

__all__ = ["STATUS_NAMES", "failure", "status_name"]

STATUS_NAMES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
    "DEFERRED",
    "INCOMPATIBLE",
)
"""Names by code; the position is the code."""

_CODE_MASK = 0x1F
"""``IREE_STATUS_CODE_MASK``: a status keeps five bits of the code a program hands in."""


def status_name(code: int) -> str:
    """The name of a status code; codes that IREE does not name become ``"CODE(n)"``."""
    masked = code & _CODE_MASK
    return STATUS_NAMES[masked] if masked < len(STATUS_NAMES) else f"CODE({masked})"


def failure(status: str, message: str) -> InvocationError:
    """An InvocationError whose message starts with its status name."""
    return InvocationError(f"{status}: {message}" if message else status, status=status)
