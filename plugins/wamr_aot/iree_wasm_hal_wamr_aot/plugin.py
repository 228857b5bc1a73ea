"""Entry point of the plugin: the one hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine import Engine, check_options, hookimpl
from iree_wasm_hal_wamr_aot.config import EngineOptions
from iree_wasm_hal_wamr_aot.engine import WamrAotEngine

if TYPE_CHECKING:
    from collections.abc import Mapping


@hookimpl
def iree_wasm_hal_open_engine(options: Mapping[str, object]) -> Engine:
    """Opens the engine; see README.md for the options."""
    check_options("wamr-aot", options, EngineOptions.names())
    return WamrAotEngine(EngineOptions.from_mapping(options))
