"""Decodes a kernel module: types, imports, functions, globals, exports, segments.

Decodes what relinking needs and refuses what it cannot represent; whether the rest is allowed in
a kernel is `profile`'s matter. Spec:
https://webassembly.github.io/spec/core/binary/modules.html
"""

from __future__ import annotations

from iree_wasm_hal.wasm.binary import Reader
from iree_wasm_hal.wasm.kernel_module import (
    EXTERNREF,
    F32,
    F64,
    FUNCREF,
    I32,
    I64,
    V128,
    ConstantExpression,
    DataSegment,
    ElementSegment,
    Export,
    FunctionBody,
    FunctionType,
    GlobalType,
    Import,
    KernelModule,
    Limits,
)
from iree_wasm_hal.wasm.sections import SectionId, read_sections

__all__ = ["read_kernel_module"]

MAX_TYPE_COUNT = 10_000
MAX_IMPORT_COUNT = 1_000
MAX_FUNCTION_COUNT = 100_000
MAX_GLOBAL_COUNT = 10_000
MAX_EXPORT_COUNT = 100_000
MAX_SEGMENT_COUNT = 100_000
MAX_LOCAL_COUNT = 50_000
"""Per function, as all engines have it: https://webassembly.github.io/spec/js-api/#limits"""
MAX_PARAMETER_COUNT = 1_000

_VALUE_TYPES = frozenset((I32, I64, F32, F64, V128, FUNCREF, EXTERNREF))
_ADDITIONS = {0x6A: I32, 0x7C: I64}
_FLOAT_BYTE_LENGTHS = {0x43: (F32, 4), 0x44: (F64, 8)}
_FUNCTION_KIND, _TABLE_KIND, _MEMORY_KIND, _GLOBAL_KIND, _TAG_KIND = range(5)
_KIND_NAMES = ("function", "table", "memory", "global", "tag")


def read_kernel_module(data: bytes) -> KernelModule:
    """Decodes a module.

    Raises:
        MalformedWasmError: Not well-formed, or beyond the limits at the top of this file.
        LimitError: Too large.
    """
    module = KernelModule(data, read_sections(data))
    for section in module.sections:
        decode = _DECODERS.get(section.id)
        if decode is not None:
            reader = section.reader(data)
            decode(module, reader)
            reader.finish()
    if len(module.functions) != len(module.bodies):
        raise Reader(data, "code section", len(data)).error(
            f"{len(module.bodies)} function bodies for {len(module.functions)} functions"
        )
    if module.data_count not in (None, len(module.data_segments)):
        raise Reader(data, "data count section", len(data)).error(
            f"announces {module.data_count} data segments, there are {len(module.data_segments)}"
        )
    return module


def _types(module: KernelModule, reader: Reader) -> None:
    for _ in range(reader.count("types", MAX_TYPE_COUNT)):
        at = reader.offset
        form = reader.u8()
        if form != 0x60:
            raise reader.error(f"type of form {form:#04x}, expected a function type (0x60)", at)
        module.types.append(FunctionType(_value_types(reader), _value_types(reader)))


def _value_types(reader: Reader) -> bytes:
    types = reader.take(reader.count("value types", MAX_PARAMETER_COUNT))
    for kind in types:
        _check_value_type(reader, kind)
    return types


def _check_value_type(reader: Reader, kind: int) -> int:
    if kind not in _VALUE_TYPES:
        raise reader.error(f"unsupported value type {kind:#04x}")
    return kind


def _imports(module: KernelModule, reader: Reader) -> None:
    for _ in range(reader.count("imports", MAX_IMPORT_COUNT)):
        module_name, name = reader.name(), reader.name()
        at = reader.offset
        kind = reader.u8()
        imported: int | GlobalType | Limits
        if kind == _FUNCTION_KIND:
            imported = _type_index(module, reader)
        elif kind == _TABLE_KIND:
            element_type = reader.u8()
            if element_type != 0x70:
                raise reader.error(f"table of {element_type:#04x}, expected funcref (0x70)", at)
            imported = _limits(reader)
        elif kind == _MEMORY_KIND:
            imported = _memory_limits(reader)
        elif kind == _GLOBAL_KIND:
            imported = _global_type(reader)
        elif kind == _TAG_KIND:
            reader.u8()
            imported = _type_index(module, reader)
        else:
            raise reader.error(f"import of unknown kind {kind}", at)
        module.add_import(Import(module_name, name, _KIND_NAMES[kind], imported))


def _type_index(module: KernelModule, reader: Reader) -> int:
    at = reader.offset
    index = reader.uleb128()
    if index >= len(module.types):
        raise reader.error(f"type {index} of {len(module.types)}", at)
    return index


def _limits(reader: Reader) -> Limits:
    at = reader.offset
    flags = reader.u8()
    if flags > 7:
        raise reader.error(f"unsupported limits flags {flags:#04x}", at)
    bit_count = 64 if flags & 4 else 32
    minimum = reader.uleb128(bit_count)
    maximum = reader.uleb128(bit_count) if flags & 1 else None
    if maximum is not None and minimum > maximum:
        raise reader.error(f"limits have minimum {minimum} above maximum {maximum}", at)
    return Limits(minimum, maximum, bool(flags & 2), bool(flags & 4))


def _memory_limits(reader: Reader) -> Limits:
    at = reader.offset
    limits = _limits(reader)
    # Of 64 KiB: all that an address can reach.
    page_limit = 1 << (48 if limits.index64 else 16)
    largest = limits.minimum if limits.maximum is None else limits.maximum
    if largest > page_limit:
        raise reader.error(f"memory of {largest} pages, at most {page_limit} are possible", at)
    if limits.shared and limits.maximum is None:
        raise reader.error("shared memory without a maximum", at)
    return limits


def _global_type(reader: Reader) -> GlobalType:
    value_type = _check_value_type(reader, reader.u8())
    at = reader.offset
    mutable = reader.u8()
    if mutable > 1:
        raise reader.error(f"global mutability {mutable}, expected 0 or 1", at)
    return GlobalType(value_type, bool(mutable))


def _functions(module: KernelModule, reader: Reader) -> None:
    for _ in range(reader.count("functions", MAX_FUNCTION_COUNT)):
        module.functions.append(_type_index(module, reader))


def _globals(module: KernelModule, reader: Reader) -> None:
    for _ in range(reader.count("globals", MAX_GLOBAL_COUNT)):
        global_type = _global_type(reader)
        module.globals.append((global_type, _constant_expression(module, reader)))


def _constant_expression(module: KernelModule, reader: Reader) -> ConstantExpression:
    """Decodes constants, ``global.get`` and integer additions of these."""
    at = reader.offset
    stack: list[ConstantExpression] = []
    while (opcode := reader.u8()) != 0x0B:
        if opcode in _ADDITIONS:
            if len(stack) < 2:
                raise reader.error("constant expression adds what is not there", at)
            stack.append(_sum(reader, _ADDITIONS[opcode], stack.pop(), stack.pop()))
        else:
            stack.append(_constant(module, reader, opcode))
    if len(stack) != 1:
        raise reader.error(f"constant expression leaves {len(stack)} values, expected 1", at)
    return stack[0]


def _sum(
    reader: Reader, value_type: int, a: ConstantExpression, b: ConstantExpression
) -> ConstantExpression:
    if not a.value_type == b.value_type == value_type:
        raise reader.error("constant expression adds values of other types")
    if a.global_index is not None and b.global_index is not None:
        raise reader.error("constant expression adds two globals")
    index = b.global_index if a.global_index is None else a.global_index
    return ConstantExpression(value_type, index, a.addend + b.addend)


def _constant(module: KernelModule, reader: Reader, opcode: int) -> ConstantExpression:
    at = reader.offset - 1
    if opcode == 0x23:
        index = reader.uleb128()
        imported = module.imported("global")
        if index >= len(imported):
            raise reader.error(f"constant expression reads global {index}, not an import", at)
        global_type = imported[index].type
        if not isinstance(global_type, GlobalType) or global_type.mutable:
            raise reader.error(f"constant expression reads global {index}, which is mutable", at)
        return ConstantExpression(global_type.value_type, index)
    if opcode == 0x41:
        return ConstantExpression(I32, None, reader.sleb128(32))
    if opcode == 0x42:
        return ConstantExpression(I64, None, reader.sleb128(64))
    if opcode in _FLOAT_BYTE_LENGTHS:
        value_type, byte_length = _FLOAT_BYTE_LENGTHS[opcode]
        reader.take(byte_length)
        return ConstantExpression(value_type)
    if opcode == 0xFD and reader.uleb128() == 0x0C:
        reader.take(16)
        return ConstantExpression(V128)
    if opcode == 0xD0:
        return ConstantExpression(_check_value_type(reader, reader.u8()))
    raise reader.error("constant expression of a shape that is not supported", at)


def _exports(module: KernelModule, reader: Reader) -> None:
    seen: set[str] = set()
    for _ in range(reader.count("exports", MAX_EXPORT_COUNT)):
        at = reader.offset
        name = reader.name()
        kind, index = reader.u8(), reader.uleb128()
        if kind >= len(_KIND_NAMES):
            raise reader.error(f"export of unknown kind {kind}", at)
        if name in seen:
            raise reader.error(f"export {name!r} repeated", at)
        seen.add(name)
        module.exports.append(Export(name, _KIND_NAMES[kind], index))


def _elements(module: KernelModule, reader: Reader) -> None:
    for _ in range(reader.count("element segments", MAX_SEGMENT_COUNT)):
        at = reader.offset
        flags = reader.uleb128()
        if flags not in (0, 2):
            raise reader.error(
                f"element segment with flags {flags}; only active ones of function indices "
                "(0 and 2) are supported",
                at,
            )
        table_index = reader.uleb128() if flags == 2 else 0
        offset = _constant_expression(module, reader)
        if flags == 2 and reader.u8() != 0:
            raise reader.error("element segment of unknown element kind", at)
        count = reader.count("element entries", MAX_SEGMENT_COUNT)
        indices = tuple(reader.uleb128() for _ in range(count))
        module.elements.append(ElementSegment(flags, table_index, offset, indices))


def _code(module: KernelModule, reader: Reader) -> None:
    for _ in range(reader.count("function bodies", MAX_FUNCTION_COUNT)):
        start = reader.offset
        body = reader.sub_reader(reader.uleb128(), "function body")
        local_count = 0
        local_types: set[int] = set()
        for _ in range(body.count("local groups", MAX_LOCAL_COUNT)):
            local_count += body.uleb128()
            local_types.add(_check_value_type(body, body.u8()))
        if local_count > MAX_LOCAL_COUNT:
            raise body.error(f"{local_count} locals, at most {MAX_LOCAL_COUNT} are supported")
        module.bodies.append(FunctionBody(start, body.offset, body.end, frozenset(local_types)))


def _data(module: KernelModule, reader: Reader) -> None:
    for _ in range(reader.count("data segments", MAX_SEGMENT_COUNT)):
        at = reader.offset
        flags = reader.uleb128()
        if flags > 2:
            raise reader.error(f"data segment with unknown flags {flags}", at)
        memory_index = reader.uleb128() if flags == 2 else 0
        offset = None if flags == 1 else _constant_expression(module, reader)
        contents = reader.sub_reader(reader.uleb128(), "data segment")
        segment = DataSegment(flags, memory_index, offset, contents.offset, contents.end)
        module.data_segments.append(segment)


def _data_count(module: KernelModule, reader: Reader) -> None:
    module.data_count = reader.uleb128()


_DECODERS = {
    SectionId.TYPE: _types,
    SectionId.IMPORT: _imports,
    SectionId.FUNCTION: _functions,
    SectionId.GLOBAL: _globals,
    SectionId.EXPORT: _exports,
    SectionId.ELEMENT: _elements,
    SectionId.CODE: _code,
    SectionId.DATA: _data,
    SectionId.DATA_COUNT: _data_count,
}
