"""Entry point of the plugin: the one hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine import Engine, check_options, hookimpl
from iree_wasm_hal_wasmer.config import EngineOptions
from iree_wasm_hal_wasmer.engine import WasmerEngine

if TYPE_CHECKING:
    from collections.abc import Mapping


@hookimpl
def iree_wasm_hal_open_engine(options: Mapping[str, object]) -> Engine:
    """Opens Wasmer; see README.md for the options."""
    check_options("wasmer", options, EngineOptions.names())
    return WasmerEngine(EngineOptions.from_mapping(options))
