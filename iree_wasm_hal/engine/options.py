"""Checks of an engine's options, for use in a plugin's hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine.plugins import did_you_mean
from iree_wasm_hal.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["check_byte_length", "check_options"]


def check_options(engine: str, options: Mapping[str, object], known: Iterable[str]) -> None:
    """Refuses options that an engine does not have.

    Raises:
        EngineError: Names each unknown option, the nearest known one, and all known ones.
    """
    known = sorted(known)
    unknown = sorted(set(options) - set(known))
    if not unknown:
        return
    named = ", ".join(f"{option!r}{did_you_mean(option, known)}" for option in unknown)
    listed = ", ".join(known) if known else "none"
    msg = f"engine {engine!r} has no option {named}; its options are: {listed}"
    raise EngineError(msg)


def check_byte_length(engine: str, option: str, value: object, limits: tuple[int, int]) -> int:
    """The value of an option that is a number of bytes.

    Args:
        engine: The engine's name.
        option: The option's.
        value: What it was given.
        limits: The smallest and the largest number of bytes.

    Raises:
        EngineError: It is no int or outside of the limits.
    """
    low, high = limits
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        msg = (
            f"engine {engine!r}: option {option!r} is {value!r}; "
            f"expected bytes as an int from {low} to {high}"
        )
        raise EngineError(msg)
    return value
