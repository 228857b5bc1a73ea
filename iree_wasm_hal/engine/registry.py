"""Finds engine plugins by entry-point name and opens them, one at a time."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import pluggy

from iree_wasm_hal.engine.contract import EngineInfo, Feature
from iree_wasm_hal.engine.hookspecs import ENTRY_POINT_GROUP, EngineHooks
from iree_wasm_hal.engine.signal_guard import SIGNAL_GUARD
from iree_wasm_hal.errors import EngineError, EngineUnavailableError, Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from iree_wasm_hal.engine.contract import Engine

__all__ = ["EngineRecord", "check_options", "list_engines", "open_engine"]

_OPEN_HOOK = "iree_wasm_hal_open_engine"


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


@dataclass(frozen=True, slots=True)
class _Plugin:
    name: str
    distribution: str
    version: str
    entry_point: metadata.EntryPoint


def open_engine(name: str, **options: object) -> Engine:
    """Opens the engine that is installed under an entry-point name.

    Imports that plugin and no other. There is no fallback to another engine.

    Args:
        name: Entry-point name, such as ``"wasmtime"``.
        options: The engine's own options, described in its plugin's README.

    Raises:
        EngineUnavailableError: No plugin of that name is installed, two distributions claim it, or
            the plugin cannot be imported or opened; says what to install.
        EngineError: An option is unknown or has a bad value.
    """
    return _open(_find(name), options)


def list_engines() -> list[EngineRecord]:
    """Tries every installed engine plugin, each on its own.

    Returns:
        One record per installed plugin, sorted by name. A broken one hides no other.
    """
    return [_try(plugin) for name in _installed_names() for plugin in _plugins(name)]


def check_options(engine: str, options: Mapping[str, object], known: Iterable[str]) -> None:
    """Refuses options that an engine does not have; for use in a plugin's hook.

    Raises:
        EngineError: Names each unknown option, the nearest known one, and all known ones.
    """
    known = sorted(known)
    unknown = sorted(set(options) - set(known))
    if not unknown:
        return
    named = ", ".join(f"{option!r}{_did_you_mean(option, known)}" for option in unknown)
    listed = ", ".join(known) if known else "none"
    msg = f"engine {engine!r} has no option {named}; its options are: {listed}"
    raise EngineError(msg)


def _installed_names() -> list[str]:
    return sorted({point.name for point in metadata.entry_points(group=ENTRY_POINT_GROUP)})


def _plugins(name: str) -> list[_Plugin]:
    """The distributions that claim a name; one that is on the path twice counts once."""
    found: dict[str, _Plugin] = {}
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP, name=name):
        distribution = point.dist.name if point.dist else point.value.partition(":")[0]
        version = point.dist.version if point.dist else "unknown"
        # Spec: https://packaging.python.org/en/latest/specifications/name-normalization/
        normalized = re.sub(r"[-_.]+", "-", distribution).lower()
        found.setdefault(normalized, _Plugin(name, normalized, version, point))
    return [found[distribution] for distribution in sorted(found)]


def _find(name: str) -> _Plugin:
    plugins = _plugins(name)
    if not plugins:
        installed = _installed_names()
        listed = (
            f"Installed engines: {', '.join(installed)}" if installed else "No engine is installed"
        )
        msg = (
            f"engine {name!r} is not installed{_did_you_mean(name, installed)}. "
            f"{listed}. To install it: pip install 'iree-wasm-hal[{name}]'"
        )
        raise EngineUnavailableError(msg)
    if len(plugins) > 1:
        raise EngineUnavailableError(_claim_conflict(name, plugins))
    return plugins[0]


def _claim_conflict(name: str, plugins: list[_Plugin]) -> str:
    claims = " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in plugins)
    return f"engine name {name!r} is claimed by {claims}; uninstall all but one of them"


def _open(plugin: _Plugin, options: Mapping[str, object]) -> Engine:
    manager = pluggy.PluginManager(ENTRY_POINT_GROUP)
    manager.add_hookspecs(EngineHooks)
    _register(manager, plugin)
    try:
        with SIGNAL_GUARD.opening(plugin.name):
            engine: Engine | None = manager.hook.iree_wasm_hal_open_engine(options=options)
    except Error:
        raise
    except Exception as error:  # a plugin's own exception must not reach users untranslated
        msg = (
            f"engine {plugin.name!r} could not be opened: {_describe(error)}. {_reinstall(plugin)}"
        )
        raise EngineUnavailableError(msg) from error
    return _verified(engine, plugin)


def _register(manager: pluggy.PluginManager, plugin: _Plugin) -> None:
    """Imports the entry point and registers it, refusing whatever is not exactly the hook."""
    try:
        module = plugin.entry_point.load()
    except Exception as error:  # importing runs the plugin's code, which may raise anything
        msg = (
            f"engine {plugin.name!r} is installed ({plugin.distribution} {plugin.version}) but its "
            f"plugin {plugin.entry_point.value!r} cannot be imported: {_describe(error)}. "
            f"{_reinstall(plugin)}"
        )
        raise EngineUnavailableError(msg) from error
    where = f"plugin {plugin.entry_point.value!r} of {plugin.distribution} {plugin.version}"
    try:
        manager.register(module, name=plugin.name)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        msg = f"{where} does not implement {_OPEN_HOOK}(options): {error}"
        raise EngineUnavailableError(msg) from error
    if not manager.hook.iree_wasm_hal_open_engine.get_hookimpls():
        msg = (
            f"{where} has no {_OPEN_HOOK}(options) marked with "
            f"@iree_wasm_hal.engine.hookimpl; see docs/adding-an-engine.md"
        )
        raise EngineUnavailableError(msg)


def _verified(engine: Engine | None, plugin: _Plugin) -> Engine:
    """Checks the hook's result where a wrong one would be met much later."""
    where = f"plugin {plugin.entry_point.value!r} of {plugin.distribution} {plugin.version}"
    info = getattr(engine, "info", None)
    if engine is None or not isinstance(info, EngineInfo):
        msg = f"{where}: {_OPEN_HOOK} returned {engine!r}; expected an Engine with an EngineInfo"
        raise EngineUnavailableError(msg)
    if info.name != plugin.name:
        msg = f"{where}: its engine calls itself {info.name!r}; expected {plugin.name!r}"
        raise EngineUnavailableError(msg)
    strange = [feature for feature in info.features if not isinstance(feature, Feature)]
    if strange:
        msg = f"{where}: {strange!r} in info.features are not iree_wasm_hal.engine.Feature values"
        raise EngineUnavailableError(msg)
    return engine


def _try(plugin: _Plugin) -> EngineRecord:
    """Opens and closes one engine, turning failure into the record's cause."""
    claims = _plugins(plugin.name)
    info: EngineInfo | None = None
    cause: str | None = None
    if len(claims) > 1:
        cause = _claim_conflict(plugin.name, claims)
    else:
        try:
            engine = _open(plugin, {})
        except Error as error:
            cause = str(error)
        else:
            info = engine.info
            engine.close()
    return EngineRecord(plugin.name, plugin.distribution, plugin.version, info, cause)


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _reinstall(plugin: _Plugin) -> str:
    return f"To repair it: pip install --force-reinstall {plugin.distribution}"


def _did_you_mean(name: str, candidates: list[str]) -> str:
    near = difflib.get_close_matches(name, candidates, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
