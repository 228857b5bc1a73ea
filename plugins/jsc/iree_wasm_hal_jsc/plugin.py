"""Entry point of the plugin: the one hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine import Engine, check_options, hookimpl
from iree_wasm_hal_jsc.engine import JscEngine

if TYPE_CHECKING:
    from collections.abc import Mapping


@hookimpl
def iree_wasm_hal_open_engine(options: Mapping[str, object]) -> Engine:
    """Opens JavaScriptCore, which has no options of its own; see README.md for its environment."""
    check_options("jsc", options, known=())
    return JscEngine()
