"""The static kernel profile: what a kernel module may do, checked before any engine sees it.

Compiler-made kernels use none of what is refused here, so the rules cost nothing; a hostile module
is kept from everything that could reach beyond its linear memory and table, outlive a call, or
block a worker. Bodies are looked at instruction by instruction (`instructions`); that operands
and types fit is left to the engine's validator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import KernelProfileError, LimitError
from iree_wasm_hal.wasm.dylink import DynamicLinkInfo, parse_dylink
from iree_wasm_hal.wasm.features import parse_target_features, type_features
from iree_wasm_hal.wasm.kernel_module import (
    I32,
    I64,
    FunctionType,
    GlobalType,
    KernelModule,
    Limits,
)
from iree_wasm_hal.wasm.profile_code import check_code
from iree_wasm_hal.wasm.sections import SectionId

if TYPE_CHECKING:
    from iree_wasm_hal.engine.contract import Feature
    from iree_wasm_hal.wasm.kernel_module import ConstantExpression, Import

__all__ = [
    "APPLY_RELOCATIONS",
    "MAX_STATIC_DATA_BYTE_LENGTH",
    "MAX_TABLE_SIZE",
    "MEMORY_BASE",
    "QUERY",
    "RESERVED_PREFIX",
    "STACK_POINTER",
    "TABLE_BASES",
    "KernelProfile",
    "check_profile",
]

QUERY = "iree_hal_executable_library_query"
APPLY_RELOCATIONS = "__wasm_apply_data_relocs"
RESERVED_PREFIX = "iree_wasm_"
MEMORY_BASE = "__memory_base"
TABLE_BASES = ("__table_base", "__table_base32")
STACK_POINTER = "__stack_pointer"
_TABLE = "__indirect_function_table"

MAX_TABLE_SIZE = 65_536
MAX_STATIC_DATA_BYTE_LENGTH = 1 << 30

_FORBIDDEN_SECTIONS = {
    SectionId.TABLE: "a table of its own",
    SectionId.MEMORY: "a memory of its own",
    SectionId.START: "a start function",
    SectionId.TAG: "exception tags",
}


@dataclass(frozen=True, slots=True)
class KernelProfile:
    """What the check found out about an accepted module.

    Attributes:
        link_info: Its ``dylink.0`` section.
        index64: Whether its memory is 64-bit.
        table_index64: Whether its table is indexed with i64.
        features: What its code needs.
        target_features: What its ``target_features`` section declares, for messages.
        query_function: Index of the function that returns the executable library.
        relocation_function: Index of the function that applies relocations, if there is one.
    """

    link_info: DynamicLinkInfo
    index64: bool
    table_index64: bool
    features: frozenset[Feature]
    target_features: tuple[str, ...]
    query_function: int
    relocation_function: int | None


def check_profile(module: KernelModule) -> KernelProfile:
    """Checks a decoded module against the profile.

    Raises:
        KernelProfileError: The first rule that is broken, and where.
        MalformedWasmError: A damaged dylink.0 or target_features section or function body.
        LimitError: Above a size cap.
    """
    for section_id, what in _FORBIDDEN_SECTIONS.items():
        if module.section(section_id) is not None:
            raise KernelProfileError(f"kernel module has {what}, which kernels must not have")
    link_info = _link_info(module)
    index64, table_index64 = _check_imports(module)
    _check_architecture(link_info, index64=index64)
    _check_globals(module)
    query, relocations = _check_exports(module, I64 if index64 else I32)
    _check_elements(module, link_info, table_index64=table_index64)
    _check_data(module, link_info, index64=index64)
    features = check_code(module, index64=index64) | type_features(module)
    declared: tuple[str, ...] = ()
    for section in module.custom_sections("target_features"):
        declared += parse_target_features(section.reader(module.data))
    return KernelProfile(
        link_info=link_info,
        index64=index64,
        table_index64=table_index64,
        features=features,
        target_features=declared,
        query_function=query,
        relocation_function=relocations,
    )


def _link_info(module: KernelModule) -> DynamicLinkInfo:
    sections = module.custom_sections("dylink.0")
    if len(sections) != 1 or module.sections[0] is not sections[0]:
        raise KernelProfileError(
            f"kernel module has {len(sections)} dylink.0 sections, expected one, at its start: it "
            "is no wasm dynamic library. Compile with iree-wasm compile (see docs/compiling.md)"
        )
    info = parse_dylink(sections[0].reader(module.data))
    _limit("kernel table entries", info.table_size, MAX_TABLE_SIZE)
    _limit("kernel static data bytes", info.memory_byte_length, MAX_STATIC_DATA_BYTE_LENGTH)
    return info


def _check_architecture(link_info: DynamicLinkInfo, *, index64: bool) -> None:
    expected = "wasm64" if index64 else "wasm32"
    if link_info.architecture not in ("", expected):
        raise KernelProfileError(
            f"kernel module is linked for {link_info.architecture} but imports a memory of "
            f"{expected}"
        )


def _limit(name: str, asked: int, allowed: int) -> None:
    if asked > allowed:
        message = f"kernel module needs {asked} {name}, at most {allowed} are allowed"
        raise LimitError(message, name=name, asked=asked, allowed=allowed)


def _check_imports(module: KernelModule) -> tuple[bool, bool]:
    """Returns whether the memory and the table are indexed with i64."""
    functions = [f"{i.module}.{i.name}" for i in module.imported("function")]
    if functions:
        raise KernelProfileError(
            f"kernel module imports functions: {', '.join(functions[:20])}. Kernels must not "
            "call the host: compile with iree-wasm compile, which links math functions into the "
            "module (see docs/compiling.md)"
        )
    memories = [i for i in module.imports if i.kind == "memory"]
    if len(memories) != 1:
        raise KernelProfileError(f"kernel module imports {len(memories)} memories, expected 1")
    memory = memories[0].type
    index64 = isinstance(memory, Limits) and memory.index64
    table_index64 = index64
    seen: set[tuple[str, str]] = set()
    for entry in module.imports:
        if (entry.module, entry.name) in seen:
            raise KernelProfileError(f"kernel module imports {entry.module}.{entry.name} twice")
        seen.add((entry.module, entry.name))
        _check_import(entry, index64=index64)
        if entry.kind == "table" and isinstance(entry.type, Limits):
            if entry.type.shared:
                raise KernelProfileError("kernel module imports a shared table")
            table_index64 = entry.type.index64
            _limit("kernel table entries", entry.type.minimum, MAX_TABLE_SIZE)
    return index64, table_index64


def _check_import(entry: Import, *, index64: bool) -> None:
    pointer = I64 if index64 else I32
    allowed: dict[str, tuple[str, tuple[GlobalType, ...]]] = {
        "memory": ("memory", ()),
        _TABLE: ("table", ()),
        MEMORY_BASE: ("global", (GlobalType(pointer, mutable=False),)),
        STACK_POINTER: ("global", (GlobalType(pointer, mutable=True),)),
        TABLE_BASES[0]: ("global", (GlobalType(pointer, mutable=False), _TABLE_BASE32)),
        TABLE_BASES[1]: ("global", (_TABLE_BASE32,)),
    }
    name = f"{entry.module}.{entry.name}"
    kind, types = allowed.get(entry.name, ("", ()))
    if entry.module != "env" or not kind:
        known = ", ".join(f"env.{name}" for name in allowed)
        raise KernelProfileError(f"kernel module imports {name}; only {known} are allowed")
    if entry.kind != kind or (types and entry.type not in types):
        raise KernelProfileError(
            f"kernel module imports {name} as {entry.kind} {entry.type}, expected "
            f"{kind} {' or '.join(str(t) for t in types)}".rstrip()
        )


_TABLE_BASE32 = GlobalType(I32, mutable=False)


def _check_globals(module: KernelModule) -> None:
    for index, (global_type, value) in enumerate(module.globals):
        if value.global_index is not None:
            raise KernelProfileError(
                f"kernel module's own global {index} starts as the value of an import; only "
                "constants are allowed"
            )
        if value.value_type != global_type.value_type:
            raise KernelProfileError(
                f"kernel module's own global {index} has type {global_type.value_type:#04x}, its "
                f"value {value.value_type:#04x}"
            )


def _check_exports(module: KernelModule, pointer: int) -> tuple[int, int | None]:
    """Returns the query function and the relocation function."""
    expected = {
        QUERY: FunctionType(bytes([I32, pointer]), bytes([pointer])),
        APPLY_RELOCATIONS: FunctionType(b"", b""),
    }
    counts = {
        "function": len(module.functions),
        "table": len(module.imported("table")),
        "memory": len(module.imported("memory")),
        "global": len(module.imported("global")) + len(module.globals),
        "tag": 0,
    }
    found: dict[str, int] = {}
    for export in module.exports:
        if export.name.startswith(RESERVED_PREFIX):
            raise KernelProfileError(
                f"kernel module exports {export.name!r}; names that start with "
                f"{RESERVED_PREFIX!r} are taken"
            )
        count = counts[export.kind]
        if export.index >= count:
            raise KernelProfileError(
                f"kernel module exports {export.kind} {export.index} of {count}"
            )
        if export.name not in expected:
            continue
        if (
            export.kind != "function"
            or module.types[module.functions[export.index]] != expected[export.name]
        ):
            raise KernelProfileError(
                f"kernel module exports {export.name!r} with another type than "
                f"{expected[export.name]}"
            )
        found[export.name] = export.index
    if QUERY not in found:
        names = ", ".join(repr(e.name) for e in module.exports[:20]) or "nothing"
        raise KernelProfileError(f"kernel module does not export {QUERY!r}; it exports {names}")
    return found[QUERY], found.get(APPLY_RELOCATIONS)


def _relative_offset(
    module: KernelModule,
    offset: ConstantExpression,
    names: tuple[str, ...],
    index64: bool,
    what: str,
) -> int:
    """The constant distance of an offset from one of the base globals."""
    base = None
    if offset.global_index is not None:
        base = module.imported("global")[offset.global_index].name
    if offset.value_type != (I64 if index64 else I32):
        raise KernelProfileError(f"kernel module has {what} at an offset of the wrong type")
    if base not in names or offset.addend < 0:
        raise KernelProfileError(
            f"kernel module has {what} at {base or 'absolute'} + {offset.addend}; segments must "
            f"be relative to env.{names[0]}"
        )
    return offset.addend


def _check_elements(
    module: KernelModule, link_info: DynamicLinkInfo, *, table_index64: bool
) -> None:
    for index, segment in enumerate(module.elements):
        what = f"element segment {index}"
        if segment.table_index or not module.imported("table"):
            raise KernelProfileError(f"kernel module has {what} for a table it does not import")
        start = _relative_offset(module, segment.offset, TABLE_BASES, table_index64, what)
        end = start + len(segment.function_indices)
        if end > link_info.table_size:
            raise KernelProfileError(
                f"kernel module has {what} up to entry {end}; dylink.0 announces "
                f"{link_info.table_size}"
            )
        for function_index in segment.function_indices:
            if function_index >= len(module.functions):
                raise KernelProfileError(
                    f"kernel module has {what} with function {function_index} of "
                    f"{len(module.functions)}"
                )


def _check_data(module: KernelModule, link_info: DynamicLinkInfo, *, index64: bool) -> None:
    for index, segment in enumerate(module.data_segments):
        what = f"data segment {index}"
        if segment.offset is None:
            raise KernelProfileError(f"kernel module has {what}, which is passive")
        if segment.memory_index:
            raise KernelProfileError(f"kernel module has {what} for another memory")
        end = _relative_offset(module, segment.offset, (MEMORY_BASE,), index64, what)
        end += segment.end - segment.start
        if end > link_info.memory_byte_length:
            raise KernelProfileError(
                f"kernel module has {what} up to byte {end}; dylink.0 announces "
                f"{link_info.memory_byte_length}"
            )
