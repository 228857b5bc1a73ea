"""Lists the installed engines without loading one into the calling process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.engine.plugins import find_plugin, installed_names, installed_plugins
from iree_wasm_hal.engine.trial import run_trials
from iree_wasm_hal.errors import EngineUnavailableError

if TYPE_CHECKING:
    from iree_wasm_hal.engine.contract import EngineInfo
    from iree_wasm_hal.engine.plugins import InstalledPlugin

__all__ = ["EngineRecord", "list_engines"]


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """One installed engine plugin, working or not."""

    name: str
    """Entry-point name, which is what ``open_engine`` takes."""
    distribution: str
    """Name of the distribution that carries the plugin."""
    version: str
    """Version of that distribution (the engine's own is ``info.version``)."""
    info: EngineInfo | None
    """What the engine says of itself; None if it could not be opened."""
    cause: str | None
    """Why it could not be opened; None if it could."""

    @property
    def available(self) -> bool:
        """Whether the engine opened."""
        return self.info is not None


def list_engines(*, timeout_s: float = 60.0) -> list[EngineRecord]:
    """Tries every installed engine plugin, each in a process of its own, all at once.

    A plugin brings native code. Whatever that does, it ends a child and not the caller.

    Args:
        timeout_s: Seconds after which an engine that has not opened counts as broken.

    Returns:
        One record per installed plugin, sorted by name. A broken one hides no other.
    """
    results: dict[str, EngineInfo | str] = {}
    for name in installed_names():
        try:
            find_plugin(name)
        except EngineUnavailableError as error:  # two distributions claim it
            results[name] = str(error)
    results |= run_trials([name for name in installed_names() if name not in results], timeout_s)
    return [
        _record(plugin, result)
        for name, result in sorted(results.items())
        for plugin in installed_plugins(name)
    ]


def _record(plugin: InstalledPlugin, result: EngineInfo | str) -> EngineRecord:
    info, cause = (None, result) if isinstance(result, str) else (result, None)
    return EngineRecord(plugin.name, plugin.distribution, plugin.version, info, cause)
