"""Host programs that were verified and translated before, kept in the cache.

Verifying and generating take longer than everything else in a load whose kernels are compiled
already. An entry holds the code objects of a module's functions. That there is one, under the
digest of a FlatBuffer and with an HMAC of ours, says that this very FlatBuffer passed this very
verifier.
"""

from __future__ import annotations

import marshal
from typing import TYPE_CHECKING

from iree_wasm_hal.cache.code_cache import key_of
from iree_wasm_hal.cache.sources import code_identity
from iree_wasm_hal.vm.codegen import GeneratedFunction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iree_wasm_hal.cache.code_cache import CodeCache
    from iree_wasm_hal.vm.archive import Archive

__all__ = ["keep_functions", "restore_functions"]

_KIND = "host-programs"


def restore_functions(archive: Archive, cache: CodeCache) -> list[GeneratedFunction] | None:
    """The functions of a module that was kept, in the order of their ordinals; None if it was not.

    Its FlatBuffer needs no verification then.
    """
    key = _key(archive)
    entry = None if key is None else cache.get(_KIND, key)
    if entry is None:
        return None
    (functions,) = entry
    # Code objects of whoever made the entry: the cache gives out what has our HMAC, and no more.
    return [GeneratedFunction(code, messages) for code, messages in marshal.loads(functions)]


def keep_functions(
    archive: Archive, functions: Sequence[GeneratedFunction], cache: CodeCache
) -> None:
    """Keeps all functions of a module that was verified."""
    key = _key(archive)
    if key is not None:
        entry = marshal.dumps([(function.code, dict(function.messages)) for function in functions])
        cache.put(_KIND, key, [entry])


def _key(archive: Archive) -> bytes | None:
    identity = code_identity()
    return None if identity is None else key_of(archive.flatbuffer, identity)
