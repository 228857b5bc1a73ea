"""Limits of linear memories: what makes a type valid, and the errors that name both numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine.contract import PAGE_SIZE
from iree_wasm_hal.errors import EngineError, LimitError

if TYPE_CHECKING:
    from iree_wasm_hal.engine.contract import MemoryType

__all__ = ["check_growth", "check_memory_limits", "growth_error", "memory_error"]


def check_memory_limits(memory_type: MemoryType, max_page_count: int) -> None:
    """Checks that limits are in order.

    Args:
        memory_type: The type.
        max_page_count: Pages that a memory with these addresses may have at most.

    Raises:
        EngineError: They are not.
    """
    low, high = memory_type.min_page_count, memory_type.max_page_count
    if not 0 <= low <= high <= max_page_count:
        msg = (
            f"{memory_type} is no valid memory type: "
            f"expected 0 <= min <= max <= {max_page_count} pages"
        )
        raise EngineError(msg)


def check_growth(memory_type: MemoryType, page_count: int, delta_page_count: int) -> None:
    """Checks that a memory may grow.

    Args:
        memory_type: Its type.
        page_count: Its size.
        delta_page_count: Pages to be added.

    Raises:
        EngineError: The growth is negative.
        LimitError: It goes beyond the declared maximum.
    """
    if delta_page_count < 0:
        msg = f"linear memory cannot grow by {delta_page_count} pages; expected 0 or more"
        raise EngineError(msg)
    allowed = memory_type.max_page_count
    if page_count + delta_page_count > allowed:
        reason = "that is its declared maximum"
        raise growth_error(page_count, delta_page_count, allowed, reason)


def growth_error(
    page_count: int, delta_page_count: int, allowed_page_count: int, reason: str
) -> LimitError:
    """The error for a growth that is refused.

    Args:
        page_count: Size of the memory.
        delta_page_count: Pages that were to be added.
        allowed_page_count: Pages that it may have.
        reason: Why, such as the engine's words.
    """
    what = f"linear memory of {page_count} pages cannot grow by {delta_page_count}"
    return memory_error(what, page_count + delta_page_count, allowed_page_count, reason)


def memory_error(
    what: str, asked_page_count: int, allowed_page_count: int, reason: str
) -> LimitError:
    """The error for pages that are not to be had.

    Args:
        what: What cannot be done, as in "cannot create ...".
        asked_page_count: Pages that it takes.
        allowed_page_count: Pages that are to be had.
        reason: Why no more, such as the engine's words.
    """
    asked, allowed = asked_page_count * PAGE_SIZE, allowed_page_count * PAGE_SIZE
    message = (
        f"{what}: asked for {asked} bytes ({asked_page_count} pages), "
        f"allowed are {allowed} ({allowed_page_count} pages): {reason}"
    )
    return LimitError(message, name="linear memory", asked=asked, allowed=allowed)
