"""Kernel modules as compiled programs: shared while they live, kept in the cache afterwards.

A program is looked for three times: among those that live in this process on this engine object,
in the cache, and in the engine's compiler. A hit in the cache spares relinking and the check of
the static profile as well: its entry says what came of them, and carries an HMAC of ours.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from iree_wasm_hal.cache.code_cache import key_of
from iree_wasm_hal.cache.sources import code_identity
from iree_wasm_hal.errors import EngineError, WasmError
from iree_wasm_hal.hal.compatibility import check_features
from iree_wasm_hal.wasm.relink import executor_module, relink
from iree_wasm_hal.wasm.relinked_image import decode_image, encode_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.cache.code_cache import CodeCache
    from iree_wasm_hal.engine.contract import Engine, MemoryType, Program
    from iree_wasm_hal.wasm.relink import RelinkedModule

__all__ = ["LinkedProgram", "ProgramSource"]

_KIND = "kernels"
_KERNELS = b"kernels"
_EXECUTOR = b"executor"


@dataclass(frozen=True)  # without slots: weak references need one more
class LinkedProgram:
    """A kernel module, ready to be instantiated. Immutable, shared by devices and threads.

    Attributes:
        module: What relinking found out; without ``wasm`` where that was not needed.
        program: Compiled by the engine.
    """

    module: RelinkedModule
    program: Program


class _LivePrograms:
    """The programs of one engine that somebody holds, and a lock for each that is being made."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._programs: weakref.WeakValueDictionary[bytes, LinkedProgram] = (
            weakref.WeakValueDictionary()
        )
        self._locks: weakref.WeakValueDictionary[bytes, threading.RLock] = (
            weakref.WeakValueDictionary()
        )

    def get(self, key: bytes, make: Callable[[], LinkedProgram]) -> LinkedProgram:
        """The program under a key; two threads that want it at once make it once."""
        with self._mutex:
            # Reentrant: what observes a compilation may load a program itself.
            lock = self._locks.setdefault(key, threading.RLock())
        with lock:
            with self._mutex:
                found = self._programs.get(key)
            if found is None:
                found = make()
                with self._mutex:
                    self._programs[key] = found
        return found


_LIVE: weakref.WeakKeyDictionary[Engine, _LivePrograms] = weakref.WeakKeyDictionary()
_LIVE_LOCK = threading.Lock()


class ProgramSource:
    """Gives one device its programs. Thread-safe.

    Args:
        engine: Compiles and loads them.
        memory: Type of the device's memory.
        atomics: Whether several workers may run one submission.
        cache: Where they are kept; None for nowhere.
    """

    def __init__(
        self, engine: Engine, memory: MemoryType, *, atomics: bool, cache: CodeCache | None
    ) -> None:
        self._engine = engine
        self._memory = memory
        self._atomics = atomics
        self._artifact_key = engine.artifact_key
        self._cache = cache if self._artifact_key is not None else None
        with _LIVE_LOCK:
            self._live = _LIVE.setdefault(engine, _LivePrograms())

    def kernels(self, kernel: bytes, what: str) -> LinkedProgram:
        """The program of a kernel module.

        Args:
            kernel: The wasm module as the compiler emitted it.
            what: It, for messages.

        Raises:
            IncompatibleTargetError: The engine lacks a feature, or the target is another.
            WasmError: The module is malformed, not a kernel module, or refused by the engine.
            LimitError: The module is above a size cap.
        """
        link = partial(relink, kernel, memory=self._memory, atomics=self._atomics)
        return self._program(_KERNELS, kernel, link, what)

    def executor(self) -> LinkedProgram:
        """The program of the executor without kernels."""
        link = partial(executor_module, memory=self._memory, atomics=self._atomics)
        return self._program(_EXECUTOR, b"", link, "the executor")

    def _program(
        self, role: bytes, kernel: bytes, link: Callable[[], RelinkedModule], what: str
    ) -> LinkedProgram:
        memory = self._memory
        key = key_of(
            role,
            kernel,
            f"{memory.min_page_count} {memory.max_page_count} {memory.shared} {memory.index64}",
            f"{self._atomics}",
        )
        found = self._live.get(key, partial(self._make, key, link, what))
        check_features(what, found.module.features, self._engine.info)
        return found

    def _make(self, key: bytes, link: Callable[[], RelinkedModule], what: str) -> LinkedProgram:
        cache = self._cache
        identity = None if cache is None else code_identity()
        if cache is None or identity is None:
            return self._compile(link(), what)
        key = key_of(key, self._artifact_key or "", identity)
        found = self._load(cache, key)
        if found is None:
            found = self._compile(link(), what)
            with contextlib.suppress(EngineError):  # it cannot be kept, but it runs
                cache.put(_KIND, key, encode_image(found.module, found.program.serialize()))
        return found

    def _load(self, cache: CodeCache, key: bytes) -> LinkedProgram | None:
        entry = cache.get(_KIND, key)
        if entry is None:
            return None
        module, image = decode_image(entry)
        try:
            return LinkedProgram(module, self._engine.deserialize(image))
        except (EngineError, WasmError):  # the engine knows better than its key
            cache.remove(_KIND, key)
            return None

    def _compile(self, module: RelinkedModule, what: str) -> LinkedProgram:
        check_features(what, module.features, self._engine.info)
        return LinkedProgram(module, self._engine.compile(module.wasm))
