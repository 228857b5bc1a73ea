"""The ``dylink.0`` section of a wasm dynamic library.

Spec: https://github.com/WebAssembly/tool-conventions/blob/main/DynamicLinking.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import KernelProfileError

if TYPE_CHECKING:
    from iree_wasm_hal.wasm.binary import Reader

__all__ = ["DynamicLinkInfo", "parse_dylink"]

_MEM_INFO = 1
_NEEDED = 2
_EXPORT_INFO = 3
_IMPORT_INFO = 4
_RUNTIME_PATH = 5
# Not in the conventions yet: a name, "wasm32" or "wasm64", as the linker of
# iree-base-compiler 3.13 writes it.
_ARCHITECTURE = 6
_NAMES = {
    _MEM_INFO: "memory info",
    _NEEDED: "needed",
    _EXPORT_INFO: "export info",
    _IMPORT_INFO: "import info",
    _RUNTIME_PATH: "runtime path",
    _ARCHITECTURE: "architecture",
}
_MAX_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class DynamicLinkInfo:
    """What a dynamic library needs from its loader.

    Attributes:
        memory_byte_length: Static data.
        memory_alignment: Of the static data, in bytes.
        table_size: Table entries.
        table_alignment: Of the first one, in entries.
        needed: Other libraries it needs.
        export_flags: Symbol flags by export name.
        import_flags: Symbol flags by (module, field).
        runtime_paths: Where it would look for needed libraries.
        architecture: ``"wasm32"``, ``"wasm64"`` or, where older linkers say nothing, ``""``.
    """

    memory_byte_length: int = 0
    memory_alignment: int = 1
    table_size: int = 0
    table_alignment: int = 1
    needed: tuple[str, ...] = ()
    export_flags: tuple[tuple[str, int], ...] = ()
    import_flags: tuple[tuple[str, str, int], ...] = ()
    runtime_paths: tuple[str, ...] = ()
    architecture: str = ""


def parse_dylink(reader: Reader) -> DynamicLinkInfo:
    """Decodes the contents of a ``dylink.0`` section.

    Raises:
        MalformedWasmError: Cut, repeated, or of an unknown kind.
        KernelProfileError: The library needs other libraries.
    """
    fields: dict[str, object] = {}
    seen: set[int] = set()
    while reader.remaining:
        at = reader.offset
        kind = reader.u8()
        if kind not in _NAMES:
            raise reader.error(f"unknown dylink.0 subsection {kind}", at)
        if kind in seen:
            raise reader.error(f"dylink.0 {_NAMES[kind]} subsection repeated", at)
        seen.add(kind)
        contents = reader.sub_reader(reader.uleb128(), f"dylink.0 {_NAMES[kind]} subsection")
        fields.update(_subsection(kind, contents))
        contents.finish()
    if _MEM_INFO not in seen:
        raise reader.error("dylink.0 has no memory info subsection")
    info = DynamicLinkInfo(**fields)  # type: ignore[arg-type]  # keyed by kind just above
    if info.needed:
        raise KernelProfileError(
            f"kernel module needs other libraries: {', '.join(info.needed)}; kernels must be "
            "linked statically"
        )
    return info


def _subsection(kind: int, contents: Reader) -> dict[str, object]:
    if kind == _MEM_INFO:
        memory_byte_length, memory_power = contents.uleb128(), _power(contents)
        table_size, table_power = contents.uleb128(), _power(contents)
        return {
            "memory_byte_length": memory_byte_length,
            "memory_alignment": 1 << memory_power,
            "table_size": table_size,
            "table_alignment": 1 << table_power,
        }
    if kind == _ARCHITECTURE:
        at = contents.offset
        architecture = contents.name()
        if architecture not in ("wasm32", "wasm64"):
            raise contents.error(f"unknown architecture {architecture!r}", at)
        return {"architecture": architecture}
    count = contents.count(f"dylink.0 {_NAMES[kind]} entries", _MAX_ENTRIES)
    if kind == _EXPORT_INFO:
        exports = tuple((contents.name(), contents.uleb128()) for _ in range(count))
        return {"export_flags": exports}
    if kind == _IMPORT_INFO:
        imports = tuple(
            (contents.name(), contents.name(), contents.uleb128()) for _ in range(count)
        )
        return {"import_flags": imports}
    names = tuple(contents.name() for _ in range(count))
    return {"needed" if kind == _NEEDED else "runtime_paths": names}


def _power(contents: Reader) -> int:
    at = contents.offset
    power = contents.uleb128()
    if power > 16:
        raise contents.error(f"alignment 2**{power}, at most 2**16 is supported", at)
    return power
