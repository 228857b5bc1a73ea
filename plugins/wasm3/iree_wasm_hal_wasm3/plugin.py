"""Entry point of the plugin: the one hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine import Engine, check_options, hookimpl
from iree_wasm_hal_wasm3.config import EngineOptions
from iree_wasm_hal_wasm3.engine import Wasm3Engine

if TYPE_CHECKING:
    from collections.abc import Mapping


@hookimpl
def iree_wasm_hal_open_engine(options: Mapping[str, object]) -> Engine:
    """Opens wasm3; see README.md for the options."""
    check_options("wasm3", options, EngineOptions.names())
    return Wasm3Engine(EngineOptions.from_mapping(options))
