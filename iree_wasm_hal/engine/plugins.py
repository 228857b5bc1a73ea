"""Which engine plugins are installed: entry points of the group ``iree_wasm_hal``."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from importlib import metadata

from iree_wasm_hal.engine.hookspecs import ENTRY_POINT_GROUP
from iree_wasm_hal.engine.known_engines import BUILD_NEEDS, KNOWN_ENGINES
from iree_wasm_hal.errors import EngineUnavailableError

__all__ = [
    "InstalledPlugin",
    "did_you_mean",
    "find_plugin",
    "installed_names",
    "installed_plugins",
]


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """A distribution that claims an engine's name. Nothing of it is imported."""

    name: str
    """Entry-point name, which is the engine's."""
    distribution: str
    """Normalized name of the distribution."""
    version: str
    """Version of the distribution."""
    entry_point: metadata.EntryPoint


def installed_names() -> list[str]:
    """Names of all installed engines, sorted."""
    return sorted({point.name for point in metadata.entry_points(group=ENTRY_POINT_GROUP)})


def installed_plugins(name: str) -> list[InstalledPlugin]:
    """The distributions that claim a name; one that is on the path twice counts once."""
    found: dict[str, InstalledPlugin] = {}
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP, name=name):
        distribution = point.dist.name if point.dist else point.value.partition(":")[0]
        version = point.dist.version if point.dist else "unknown"
        # Spec: https://packaging.python.org/en/latest/specifications/name-normalization/
        normalized = re.sub(r"[-_.]+", "-", distribution).lower()
        found.setdefault(normalized, InstalledPlugin(name, normalized, version, point))
    return [found[distribution] for distribution in sorted(found)]


def find_plugin(name: str) -> InstalledPlugin:
    """The one plugin of that name.

    Raises:
        EngineUnavailableError: There is none, or there are two; says what to do.
    """
    plugins = installed_plugins(name)
    if not plugins:
        raise EngineUnavailableError(_not_installed(name))
    if len(plugins) > 1:
        claims = " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in plugins)
        msg = f"engine name {name!r} is claimed by {claims}; uninstall all but one of them"
        raise EngineUnavailableError(msg)
    return plugins[0]


def did_you_mean(name: str, candidates: list[str]) -> str:
    """A remark on the nearest candidate, or ``""``."""
    near = difflib.get_close_matches(name, candidates, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _not_installed(name: str) -> str:
    installed = installed_names()
    listed = f"Installed engines: {', '.join(installed)}" if installed else "No engine is installed"
    if name not in KNOWN_ENGINES:
        near = did_you_mean(name, sorted({*installed, *KNOWN_ENGINES}))
        return (
            f"there is no engine {name!r}{near}. {listed}. To install one: pip install "
            f"'iree-wasm-hal[NAME]', where NAME is one of {', '.join(KNOWN_ENGINES)}"
        )
    needs = f" ({BUILD_NEEDS[name]})" if name in BUILD_NEEDS else ""
    return (
        f"engine {name!r} is not installed. {listed}. To install it: "
        f"pip install 'iree-wasm-hal[{name}]'{needs}"
    )
