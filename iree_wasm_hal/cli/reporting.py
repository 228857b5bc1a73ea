"""How the command line ends: exit statuses, error lines and JSON documents."""

from __future__ import annotations

import json
import os
import sys
import traceback
from enum import IntEnum
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ArgumentError, Error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["ExitStatus", "UsageError", "format_table", "guarded", "print_json"]

TRACEBACK_VARIABLE = "IREE_WASM_TRACEBACK"
"""Environment variable; ``1`` shows the traceback above an error line."""


class ExitStatus(IntEnum):
    """What the process tells its caller."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130
    """128 + SIGINT, as shells report it."""


class UsageError(Error):
    """The command line itself is wrong: an unknown function, a value that cannot be read."""


def guarded(body: Callable[[], int]) -> int:
    """Runs ``body`` and turns the errors of this package into one ``error:`` paragraph.

    Args:
        body: The command; its result is the exit status.

    Returns:
        The status of ``body``, or the one that fits its error. Arguments that do not fit the
        called function count as wrong usage: they come from the command line.
    """
    try:
        status = body()
        _flush()
    except (UsageError, ArgumentError) as error:
        _print_error(error)
        return ExitStatus.USAGE
    except BrokenPipeError:
        # The reader of our output has gone (`| head`). What is still buffered goes nowhere, so
        # that the interpreter's own flush at exit does not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.FAILED
    except (Error, OSError) as error:
        _print_error(error)
        return ExitStatus.FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ExitStatus.INTERRUPTED
    return status


def _flush() -> None:
    # Python has no standard output at all when the caller closed it (`>&-`).
    if sys.stdout is not None:
        sys.stdout.flush()


def _print_error(error: BaseException) -> None:
    _flush()
    if os.environ.get(TRACEBACK_VARIABLE) == "1":
        traceback.print_exception(error)
    print(f"error: {error}", file=sys.stderr)


def print_json(document: object) -> None:
    """Prints one JSON document on standard output."""
    print(json.dumps(document, indent=2))


def format_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Lays rows out in left-aligned columns under a header.

    Args:
        rows: Cells by column title; all rows have the first one's titles.

    Returns:
        Lines without trailing blanks; ``""`` for no rows.
    """
    if not rows:
        return ""
    titles = list(rows[0])
    widths = {title: max(len(title), *(len(row[title]) for row in rows)) for title in titles}
    lines = [{title: title for title in titles}, *rows]
    return "\n".join(
        "  ".join(line[title].ljust(widths[title]) for title in titles).rstrip() for line in lines
    )
