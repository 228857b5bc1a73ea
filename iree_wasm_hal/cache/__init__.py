"""Compiled code that outlives a process: a folder of entries that only their user can have made.

Nothing here knows what an entry is for. ``hal.programs`` keeps compiled kernels, ``vm.prepared``
verified host programs. Both load what they get as machine code or Python bytecode, so an entry is
believed only if it carries the right HMAC. Internal but for ``CodeCache``.
"""

from iree_wasm_hal.cache.code_cache import CacheInfo, CodeCache
from iree_wasm_hal.cache.settings import choose_cache

__all__ = ["CacheInfo", "CodeCache", "choose_cache"]
