"""The ``name`` section: function names, which engines show in trap frames.

Spec: https://webassembly.github.io/spec/core/appendix/custom.html#name-section
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.errors import MalformedWasmError
from iree_wasm_hal.wasm.binary import encode_name, encode_uleb128, encode_vector

if TYPE_CHECKING:
    from iree_wasm_hal.wasm.kernel_module import KernelModule

__all__ = ["function_names", "name_section"]

_FUNCTION_NAMES = 1
_MAX_NAME_LENGTH = 1_000


def function_names(module: KernelModule) -> dict[int, str]:
    """Function names by index.

    A damaged name section counts as none: the wasm spec says that an error in a custom section
    does not invalidate the module, and nothing but messages depends on it.
    """
    names: dict[int, str] = {}
    for section in module.custom_sections("name"):
        reader = section.reader(module.data)
        try:
            while reader.remaining:
                kind = reader.u8()
                contents = reader.sub_reader(reader.uleb128(), "name subsection")
                if kind != _FUNCTION_NAMES:
                    continue
                for _ in range(contents.count("function names", contents.remaining)):
                    index = contents.uleb128()
                    names[index] = contents.name()[:_MAX_NAME_LENGTH]
        except MalformedWasmError:
            return {}
    function_count = len(module.functions)
    return {index: name for index, name in sorted(names.items()) if index < function_count}


def name_section(names: dict[int, str]) -> bytes:
    """Contents of a custom section, its own name included, with function names by index."""
    entries = [encode_uleb128(index) + encode_name(name) for index, name in names.items()]
    functions = encode_vector(entries)
    subsection = bytes([_FUNCTION_NAMES]) + encode_uleb128(len(functions)) + functions
    return encode_name("name") + subsection
