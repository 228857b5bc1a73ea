"""A WebAssembly validator for wasm3's dialect, since wasm3 0.5.0 has none.

wasm3 trusts its input: it keeps operand types and slot numbers in arrays of fixed size and runs
what it made of them without looking again. So every module is validated here first, with the
algorithm of the specification's appendix, for the MVP with sign extension, saturating truncation
and ``memory.copy`` / ``memory.fill``. What else the specification allows is refused, and so are
modules that are valid but larger than wasm3's arrays (``limits.py``).

Spec: https://webassembly.github.io/spec/core/appendix/algorithm.html
"""

from iree_wasm_hal_wasm3.validation.module import ModuleInfo
from iree_wasm_hal_wasm3.validation.sections import validate

__all__ = ["ModuleInfo", "validate"]
