"""Errors as plain data: with their type, attributes and message."""

from __future__ import annotations

import builtins
import contextlib
import sys
import traceback
from typing import Any

from iree_wasm_hal import errors
from iree_wasm_hal.errors import Error
from iree_wasm_hal.isolation.plain import PLAIN, reading

__all__ = ["pack_error", "unpack_error"]

_OURS = "iree_wasm_hal."


def pack_error(error: BaseException) -> dict[str, Any]:
    """An error as plain data. Of its attributes plain values go along, and tuples of them."""
    return {
        "classes": [(one.__module__, one.__qualname__) for one in type(error).__mro__],
        "arguments": tuple(one if type(one) in PLAIN else str(one) for one in error.args),
        "attributes": {name: value for name, value in vars(error).items() if _is_plain(value)},
        "missing": [name for name, value in vars(error).items() if not _is_plain(value)],
        "text": "" if isinstance(error, Error) else "".join(traceback.format_exception(error)),
    }


def unpack_error(packed: dict[str, Any]) -> Exception:
    """The error: of the nearest class that this process knows.

    That is one of ours, or one of Python's own; the text of its traceback is its cause then.

    Raises:
        InternalError: It is none.
    """
    with reading("an error"):
        error = _made(_nearest(packed["classes"]), tuple(packed["arguments"]))
        for name in packed["missing"]:
            setattr(error, name, None)
        for name, value in packed["attributes"].items():
            if not name.startswith("__"):
                setattr(error, name, tuple(value) if isinstance(value, list) else value)
        text = str(packed["text"])
    if not isinstance(error, Error):
        error.__cause__ = _RemoteTraceback(text)
    return error


class _RemoteTraceback(Exception):  # noqa: N818 - never raised; shows where it happened
    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def _made(error_class: type[Exception], arguments: tuple[object, ...]) -> Exception:
    """An error with these arguments, whatever its constructor asks for."""
    if not issubclass(error_class, Error):
        with contextlib.suppress(TypeError):
            return error_class(*arguments)  # some keep what they are given out of ``args``
    error = error_class.__new__(error_class)
    error.args = arguments
    return error


def _nearest(classes: list[list[str]]) -> type[Exception]:
    for module_name, name in classes:
        found: object = None
        if module_name == errors.__name__ or module_name.startswith(_OURS):
            # Only of modules that are loaded already: a message imports nothing.
            found = getattr(sys.modules.get(module_name), name, None)
        elif module_name == "builtins":
            found = getattr(builtins, name, None)
        if isinstance(found, type) and issubclass(found, Exception):
            return found
    raise ValueError(f"none of {classes[:1]} is known")


def _is_plain(value: object) -> bool:
    if type(value) is tuple:
        return all(type(one) in PLAIN for one in value)
    return type(value) in PLAIN
