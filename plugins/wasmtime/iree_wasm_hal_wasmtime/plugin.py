"""Entry point of the plugin: the one hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.engine import Engine, check_options, hookimpl
from iree_wasm_hal_wasmtime.config import EngineOptions
from iree_wasm_hal_wasmtime.engine import WasmtimeEngine

if TYPE_CHECKING:
    from collections.abc import Mapping


@hookimpl
def iree_wasm_hal_open_engine(options: Mapping[str, object]) -> Engine:
    """Opens wasmtime; see README.md for the options."""
    check_options("wasmtime", options, EngineOptions.names())
    return WasmtimeEngine(EngineOptions.from_mapping(options))
