"""Host programs that were decoded, verified and translated before, kept in the cache.

That takes longer than everything else in a load whose kernels are compiled already. An entry holds
the module definition and the code objects of its functions. That there is one, under the digest of
a FlatBuffer and with an HMAC of ours, says that this very FlatBuffer passed this very verifier.
"""

from __future__ import annotations

import io
import marshal
import pickle
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from iree_wasm_hal.cache.code_cache import key_of
from iree_wasm_hal.cache.sources import code_identity
from iree_wasm_hal.vm.codegen import GeneratedFunction
from iree_wasm_hal.vm.flatbuffer import DeferredTable
from iree_wasm_hal.vm.module_def import DEBUG_TABLE, ModuleDef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal.cache.code_cache import CodeCache
    from iree_wasm_hal.vm.archive import Archive

__all__ = ["KeptProgram", "keep_program"]

_KIND = "host-programs"


class KeptProgram:
    """What the cache has of a program.

    Attributes:
        functions: Of a module that ``find`` has found, in the order of their ordinals.
    """

    def __init__(self, cache: CodeCache) -> None:
        self._cache = cache
        self.functions: list[GeneratedFunction] | None = None

    def find(self, flatbuffer: memoryview) -> ModuleDef | None:
        """The module definition, if it was kept. The FlatBuffer needs no verification then."""
        key = _key(flatbuffer)
        entry = None if key is None else self._cache.get(_KIND, key)
        if entry is None:
            return None
        definition, functions = entry
        # Objects of whoever made the entry: the cache gives out what has our HMAC, and no more.
        module: ModuleDef = _Unpickler(definition, flatbuffer).load()
        self.functions = [
            GeneratedFunction(code, messages) for code, messages in marshal.loads(functions)
        ]
        return module


def keep_program(
    archive: Archive, functions: Sequence[GeneratedFunction], cache: CodeCache
) -> None:
    """Keeps a module that was verified, and the code of all its functions."""
    key = _key(archive.flatbuffer)
    if key is not None:
        code = marshal.dumps([(function.code, dict(function.messages)) for function in functions])
        cache.put(_KIND, key, [_pickled(archive.module, archive.flatbuffer), code])


def _key(flatbuffer: memoryview) -> bytes | None:
    identity = code_identity()
    return None if identity is None else key_of(flatbuffer, identity)


def _pickled(module: ModuleDef, flatbuffer: memoryview) -> bytes:
    file = io.BytesIO()
    _Pickler(file, flatbuffer).dump(module)
    return file.getvalue()


class _Pickler(pickle.Pickler):
    """Writes views of the FlatBuffer, and what is decoded when it is asked for, as places in it."""

    def __init__(self, file: io.BytesIO, flatbuffer: memoryview) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._start = _address(flatbuffer)

    def persistent_id(self, value: Any) -> tuple[int, int] | int | None:
        if isinstance(value, memoryview):
            return _address(value) - self._start if value else 0, len(value)
        return value.position if isinstance(value, DeferredTable) else None

    def reducer_override(self, value: Any) -> Any:
        # Frozen dataclasses are restored field by field otherwise, which takes three times as long.
        if is_dataclass(value) and not isinstance(value, type):
            return type(value), tuple(getattr(value, field.name) for field in fields(value))
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, flatbuffer: memoryview) -> None:
        super().__init__(io.BytesIO(data))
        self._flatbuffer = flatbuffer

    def persistent_load(self, place: tuple[int, int] | int) -> memoryview | DeferredTable:
        if isinstance(place, int):
            return DeferredTable(self._flatbuffer, place, DEBUG_TABLE)
        start, byte_length = place
        return self._flatbuffer[start : start + byte_length]


def _address(view: memoryview) -> int:
    address: int = np.frombuffer(view, np.uint8).__array_interface__["data"][0]
    return address
