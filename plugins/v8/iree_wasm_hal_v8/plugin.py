"""Entry point of the plugin: the one hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine import Engine, check_options, hookimpl
from iree_wasm_hal_v8.engine import V8Engine

if TYPE_CHECKING:
    from collections.abc import Mapping


@hookimpl
def iree_wasm_hal_open_engine(options: Mapping[str, object]) -> Engine:
    """Opens V8; it has no options."""
    check_options("v8", options, known=())
    return V8Engine()
