"""The one hook that an engine plugin implements, and the markers that go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iree_wasm_hal.engine.contract import Engine

__all__ = ["ENTRY_POINT_GROUP", "hookimpl"]

ENTRY_POINT_GROUP = "iree_wasm_hal"
"""Entry-point group and pluggy project name; the name of an entry point is the engine's name."""

hookspec = pluggy.HookspecMarker(ENTRY_POINT_GROUP)
hookimpl = pluggy.HookimplMarker(ENTRY_POINT_GROUP)
"""Decorator for the plugin's ``iree_wasm_hal_open_engine``."""


class EngineHooks:
    """Hooks of the entry-point group ``iree_wasm_hal``."""

    @hookspec(firstresult=True)
    def iree_wasm_hal_open_engine(self, options: Mapping[str, object]) -> Engine:  # type: ignore[empty-body]  # the body is the plugin's
        """Opens the engine.

        Args:
            options: Engine options by name, as given to ``open_engine``. Refuse unknown ones with
                ``check_options``.

        Raises:
            EngineUnavailableError: The native library is missing, of a wrong version, or cannot
                run on this machine; says why.
            EngineError: An option is unknown or has a bad value.
        """
