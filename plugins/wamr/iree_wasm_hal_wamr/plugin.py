"""Entry point of the plugin: the one hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine import Engine, check_options, hookimpl
from iree_wasm_hal_wamr.config import EngineOptions
from iree_wasm_hal_wamr.engine import WamrEngine

if TYPE_CHECKING:
    from collections.abc import Mapping


@hookimpl
def iree_wasm_hal_open_engine(options: Mapping[str, object]) -> Engine:
    """Opens WAMR; see README.md for the options."""
    check_options("wamr", options, EngineOptions.names())
    return WamrEngine(EngineOptions.from_mapping(options))
