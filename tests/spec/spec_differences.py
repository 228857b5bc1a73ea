"""What each engine is known to do otherwise than the official tests say, and why."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spec_execution import Failure, Outcome

__all__ = ["DIFFERENCES", "Difference", "check_differences"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Commands of some scripts that end otherwise."""

    scripts: str
    """Names of scripts, or patterns of them, with blanks between."""
    what: str
    """Part of what is seen, such as ``wrong result``."""
    count: int
    """Number of commands."""
    reason: str

    def matches(self, script: str, failure: Failure) -> bool:
        """Whether a failure is one of these."""
        names = self.scripts.split()
        return self.what in failure.what and any(fnmatch.fnmatch(script, one) for one in names)


_ONE_WORD_FOR_CONVERSIONS = Difference(
    "*/conversions",
    "trap 'invalid conversion to integer' instead of 'integer overflow'",
    70,
    "has one message for both traps of a conversion to integer",
)

DIFFERENCES: dict[str, tuple[Difference, ...]] = {
    "jsc": (
        _ONE_WORD_FOR_CONVERSIONS,
        Difference(
            "wasm-v2/unreached-invalid tail-call/return_call_indirect",
            "accepted: type mismatch",
            62,
            "does not check the types of code that nothing reaches",
        ),
    ),
    "v8": (
        _ONE_WORD_FOR_CONVERSIONS,
        Difference(
            "*",
            "trap 'indirect call type mismatch' instead of 'uninitialized element",
            3509,
            "has one message for a null table entry and one of another type",
        ),
    ),
    "wamr": (
        Difference(
            "wasm-v2/f32 wasm-v2/f64",
            "wrong result",
            16,
            "rounds a signalling NaN to itself, where the specification asks for a quiet one",
        ),
    ),
    "wasm3": (
        Difference(
            "*",
            "it is grown from outside",
            552,
            "refuses memory.grow, which would move the memory",
        ),
        Difference(
            "*/binary-leb128",
            "does not have the instruction 0xfc 0x80",
            1,
            "reads the second byte of an instruction's number only in its shortest encoding",
        ),
        Difference(
            "wasm-v2/f32 wasm-v2/f64",
            "wrong result",
            8,
            "rounds a signalling NaN to itself, where the specification asks for a quiet one",
        ),
        Difference(
            "*/conversions wasm-v2/float_exprs wasm-v2/float_memory wasm-v2/float_misc",
            "wrong result",
            28,
            "keeps f32 values as f64, which makes a signalling NaN quiet",
        ),
    ),
    "wasmer": (
        Difference(
            "wasm-v2/table",
            "Table maximum (4294967295) is larger",
            1,
            "makes no table whose maximum is more than 2^27 entries",
        ),
    ),
}
"""By engine; a failure counts for the first that it matches."""


def check_differences(
    outcomes: Mapping[str, Outcome], known: tuple[Difference, ...], *, may_be_fewer: bool = False
) -> list[str]:
    """Compares what was seen with what is known, both ways.

    Args:
        outcomes: What was seen, by script.
        known: What is known of the engine.
        may_be_fewer: Whether a difference may have gone, as in a newer release of the engine.

    Returns:
        A sentence per failure that is not known, and per difference of which more or fewer were
        seen than are known.
    """
    seen = dict.fromkeys(known, 0)
    complaints = []
    for script, outcome in outcomes.items():
        for failure in outcome.failures:
            for difference in known:
                if difference.matches(script, failure):
                    seen[difference] += failure.count
                    break
            else:
                complaints.append(f"{script}.wast:{failure.line}: {failure.what}")
    return complaints + [
        f"{difference.reason}: {difference.count} commands are known, {count} were seen"
        for difference, count in seen.items()
        if count != difference.count and not (may_be_fewer and count < difference.count)
    ]
