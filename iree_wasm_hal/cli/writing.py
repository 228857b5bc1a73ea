"""Sends results where ``--output`` says: nowhere, standard output, numpy files, raw files.

Source: IREE's ``runtime/src/iree/tooling/function_io.c`` and ``process_results.c``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iree_wasm_hal.cli.element_names import dtype_of
from iree_wasm_hal.cli.printing import ScalarResult, format_result
from iree_wasm_hal.cli.reporting import UsageError
from iree_wasm_hal.cli.values import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_places", "write_results"]


def check_places(places: Sequence[str]) -> None:
    """Refuses places that cannot be written, before anything runs.

    Raises:
        UsageError: A place that is neither empty, ``-``, ``@file`` nor ``+file``.
    """
    for place in places:
        if place not in ("", "-") and (place[0] not in "@+" or not place[1:]):
            raise UsageError(
                f"cannot write an output to '{place}'; expected -, @file, +file or nothing"
            )


def write_results(
    results: Sequence[Tensor | ScalarResult | None],
    places: Sequence[str],
    max_element_count: int,
) -> None:
    """Writes each result to its place.

    Args:
        results: The function's results.
        places: One per result: ``""`` drops it, ``-`` prints it, ``@file`` overwrites and
            ``+file`` appends, as numpy array where the name ends in ``.npy`` and as bare
            contents otherwise.
        max_element_count: Elements of a tensor to print.

    Raises:
        UsageError: There are more or fewer places than results.
        OSError: A file cannot be written.
    """
    if len(places) != len(results):
        raise UsageError(
            f"--output was given {len(places)} times, but the function has {len(results)} results"
        )
    for result, place in zip(results, places, strict=True):
        if place == "-":
            print(format_result(result, max_element_count))
        elif place:
            _write_file(result, place[0], Path(place[1:]))


def _write_file(result: Tensor | ScalarResult | None, mode: str, path: Path) -> None:
    array = _as_array(result)
    with path.open("wb" if mode == "@" else "ab") as file:
        if path.suffix == ".npy":
            np.lib.format.write_array(file, array, allow_pickle=False)
        else:
            file.write(array.tobytes())


def _as_array(result: Tensor | ScalarResult | None) -> np.ndarray[tuple[int, ...], np.dtype]:
    if result is None:
        return np.zeros(0, np.int8)  # keeps the arrays of one file in step with the results
    if isinstance(result, Tensor):
        return result.array
    type_name, number = result
    return np.array(number, dtype_of(type_name))
