"""Imports and opens engine plugins, one at a time, and holds them to the hook."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

import pluggy

from iree_wasm_hal.engine.contract import EngineInfo, Feature
from iree_wasm_hal.engine.hookspecs import ENTRY_POINT_GROUP, EngineHooks
from iree_wasm_hal.engine.plugins import InstalledPlugin, find_plugin
from iree_wasm_hal.engine.signal_guard import SIGNAL_GUARD
from iree_wasm_hal.errors import EngineUnavailableError, Error, LimitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from iree_wasm_hal.engine.contract import Engine

__all__ = ["open_engine", "open_plugin"]

_OPEN_HOOK = "iree_wasm_hal_open_engine"


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
        LimitError: The engine needs more of something than this process may have.
    """
    return open_plugin(find_plugin(name), options)


def open_plugin(plugin: InstalledPlugin, options: Mapping[str, object]) -> Engine:
    """Opens the engine of a plugin; raises as ``open_engine`` does."""
    with SIGNAL_GUARD.opening(plugin.name) as opening:  # importing may install handlers as well
        engine = _verified(_call_hook(plugin, options), plugin)
        opening.library_path = engine.info.library_path
        return engine


def _call_hook(plugin: InstalledPlugin, options: Mapping[str, object]) -> Engine | None:
    manager = pluggy.PluginManager(ENTRY_POINT_GROUP)
    manager.add_hookspecs(EngineHooks)
    _register(manager, plugin)
    try:
        engine: Engine | None = _with_room(manager.hook.iree_wasm_hal_open_engine, options)
    except LimitError as error:
        msg = f"engine {plugin.name!r} cannot be opened: {error}"
        raise LimitError(msg, name=error.name, asked=error.asked, allowed=error.allowed) from error
    except Error:
        raise
    except (Exception, SystemExit) as error:  # a plugin's own must not reach users untranslated
        msg = (
            f"engine {plugin.name!r} could not be opened: {_describe(error)}. {_reinstall(plugin)}"
        )
        raise EngineUnavailableError(msg) from error
    return engine


def _with_room(hook: Callable[..., Engine | None], options: Mapping[str, object]) -> Engine | None:
    """Calls the hook, if need be with the room of what nobody uses any more.

    A program that was dropped without ``close`` holds its address space until Python collects it.
    """
    with contextlib.suppress(LimitError):
        return hook(options=options)
    gc.collect()
    return hook(options=options)


def _register(manager: pluggy.PluginManager, plugin: InstalledPlugin) -> None:
    """Imports the entry point and registers it, refusing whatever is not exactly the hook."""
    try:
        module = plugin.entry_point.load()
    except (Exception, SystemExit) as error:  # the plugin's code may raise anything
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


def _verified(engine: Engine | None, plugin: InstalledPlugin) -> Engine:
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
    key = getattr(engine, "artifact_key", "")
    if not (key is None or (key and isinstance(key, str) and Feature.SERIALIZE in info.features)):
        msg = (
            f"{where}: artifact_key of its engine is {key!r}; expected a text if it serializes "
            "programs, and None if it does not or is not to be cached"
        )
        raise EngineUnavailableError(msg)
    return engine


def _describe(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())  # on one line


def _reinstall(plugin: InstalledPlugin) -> str:
    return f"To repair it: pip install --force-reinstall {plugin.distribution}"
