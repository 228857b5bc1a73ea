"""Entry point of the plugin: the one hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine import Engine, check_options, hookimpl
from iree_wasm_hal_null.engine import NullEngine

if TYPE_CHECKING:
    from collections.abc import Mapping


@hookimpl
def iree_wasm_hal_open_engine(options: Mapping[str, object]) -> Engine:
    """Opens the null engine, which has no options."""
    check_options("null", options, ())
    return NullEngine()
