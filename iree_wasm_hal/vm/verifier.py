"""Verification of a whole module, once, when it is loaded.

Afterwards nothing is re-checked but what only run time knows: refs that are null or of another
type, buffer and list ranges, indirect globals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import BytecodeError
from iree_wasm_hal.vm.calling_convention import CallingConvention, parse_calling_convention
from iree_wasm_hal.vm.instructions import Block, Bounds, decode_function
from iree_wasm_hal.vm.isa import IMPORT_BIT, MAX_I32_REGISTERS, MAX_REF_REGISTERS, REF_BIT
from iree_wasm_hal.vm.module_def import Export, Features, FunctionDescriptor, ModuleDef
from iree_wasm_hal.vm.operands import argument_registers, call_parts
from iree_wasm_hal.vm.typeflow import Effort, Flow, check_types

if TYPE_CHECKING:
    from iree_wasm_hal.vm.archive import Archive

__all__ = ["Interface", "VerifiedFunction", "VerifiedModule", "read_interface", "verify"]

_KNOWN_FEATURES = int(Features.EXT_F32 | Features.EXT_F64 | Features.YIELD | Features.UNWIND)
_MAX_BYTECODE_BYTES = 1 << 24
"""Real modules have some tens of KB; decoded, the worst bytecode takes 36 times its length."""
_ALIAS_FACTOR = 2
_ALIAS_SLACK = 1 << 16
"""Functions may share bytecode; their lengths may add up to the factor times it plus the slack."""
_MAX_INSTRUCTIONS = 1_000_000
"""Bound per module; see ``instructions.MAX_FUNCTION_INSTRUCTIONS`` for one function."""
_MAX_NAME = 1 << 16


@dataclass(frozen=True, slots=True)
class VerifiedFunction:
    """An internal function whose bytecode is safe to execute.

    Attributes:
        ordinal: Position in the function table.
        name: Export or debug name, for messages; may be empty.
        convention: Its calling convention.
        arguments: Encoded registers that the arguments arrive in.
        blocks: Decoded blocks, entry first.
        flow: Reachable blocks and initial register values.
    """

    ordinal: int
    name: str
    convention: CallingConvention
    arguments: tuple[int, ...]
    blocks: tuple[Block, ...]
    flow: Flow


@dataclass(frozen=True, slots=True)
class Interface:
    """What a module is apart from the code of its functions.

    Attributes:
        functions: Calling conventions of the internal functions.
        imports: Calling conventions of the imports.
        exports: Ordinals of the exported functions by name, in the file's order.
        global_byte_length: Bytes of number globals.
        global_ref_count: Number of ref globals.
    """

    functions: tuple[CallingConvention, ...]
    imports: tuple[CallingConvention, ...]
    exports: dict[str, int]
    global_byte_length: int
    global_ref_count: int


@dataclass(frozen=True, slots=True)
class VerifiedModule:
    """A module that passed verification.

    Attributes:
        archive: Where it came from.
        interface: What it is to others.
        functions: All internal functions.
        instruction_count: Of all functions.
    """

    archive: Archive
    interface: Interface
    functions: tuple[VerifiedFunction, ...]
    instruction_count: int

    @property
    def imports(self) -> tuple[CallingConvention, ...]:
        """Calling conventions of the imports."""
        return self.interface.imports


def read_interface(archive: Archive) -> Interface:
    """Checks a decoded archive but for the code of its functions.

    Raises:
        BytecodeError: What is wrong.
    """
    try:
        return _interface(archive.module)
    except BytecodeError as cause:
        raise BytecodeError(f"{archive.file_name}: {cause}") from cause


def verify(archive: Archive) -> VerifiedModule:
    """Verifies a decoded archive.

    Raises:
        BytecodeError: What is wrong, and in which function at which byte.
    """
    try:
        return _verify(archive)
    except BytecodeError as cause:
        raise BytecodeError(f"{archive.file_name}: {cause}") from cause


def _interface(module: ModuleDef) -> Interface:
    _check_tables(module)
    exports = _exports(module)
    state = module.module_state
    global_bytes = state.global_bytes_capacity if state else 0
    global_refs = state.global_ref_count if state else 0
    if global_bytes < 0 or global_refs < 0:
        raise BytecodeError(f"module state of {global_bytes} bytes and {global_refs} refs")
    imports = tuple(
        parse_calling_convention(item.signature.calling_convention if item.signature else "")
        for item in module.imported_functions
    )
    conventions = tuple(
        parse_calling_convention(signature.calling_convention)
        for signature in module.function_signatures
    )
    return Interface(conventions, imports, exports, global_bytes, global_refs)


def _verify(archive: Archive) -> VerifiedModule:
    module = archive.module
    interface = _interface(module)
    bounds = Bounds(
        type_count=len(module.types),
        rodata_count=len(archive.rodata),
        import_count=len(module.imported_functions),
        function_count=len(module.function_descriptors),
        global_byte_length=interface.global_byte_length,
        global_ref_count=interface.global_ref_count,
    )
    names = {ordinal: name for name, ordinal in reversed(interface.exports.items())}
    effort = Effort(len(module.bytecode_data or b""))
    verifier = _Verifier(module, bounds, interface.imports, interface.functions, effort)
    functions: list[VerifiedFunction] = []
    instruction_count = 0
    for ordinal in range(bounds.function_count):
        functions.append(verifier.function(ordinal, names.get(ordinal, "")))
        instruction_count += sum(len(block.instructions) for block in functions[-1].blocks)
        if instruction_count > _MAX_INSTRUCTIONS:
            raise BytecodeError(f"the module has more than {_MAX_INSTRUCTIONS} instructions")
    return VerifiedModule(archive, interface, tuple(functions), instruction_count)


def _check_tables(module: ModuleDef) -> None:
    if not module.name:
        raise BytecodeError("the module has no name")
    _check_features("the module", module.requirements)
    if len(module.function_signatures) != len(module.function_descriptors):
        raise BytecodeError(
            f"{len(module.function_signatures)} signatures for"
            f" {len(module.function_descriptors)} functions"
        )
    named = (
        ("type", [item.full_name for item in module.types]),
        ("dependency", [item.name for item in module.dependencies]),
        ("import", [item.full_name for item in module.imported_functions]),
        ("export", [item.local_name for item in module.exported_functions]),
    )
    for what, names in named:
        for index, name in enumerate(names):
            if not 0 < len(name) <= _MAX_NAME:
                raise BytecodeError(f"{what} {index} has a name of {len(name)} characters")
    length = len(module.bytecode_data or b"")
    if length > _MAX_BYTECODE_BYTES:
        raise BytecodeError(f"{length} bytes of bytecode; at most {_MAX_BYTECODE_BYTES} are taken")
    total = 0
    for index, descriptor in enumerate(module.function_descriptors):
        _check_descriptor(index, descriptor, length)
        total += descriptor.bytecode_length
    if total > _ALIAS_FACTOR * length + _ALIAS_SLACK:
        raise BytecodeError(f"functions of {total} bytes share {length} bytes of bytecode")


def _check_features(what: str, requirements: int) -> None:
    unknown = requirements & ~_KNOWN_FEATURES
    if unknown:
        raise BytecodeError(f"{what} requires features {unknown:#x}, which this VM does not have")


def _check_descriptor(index: int, descriptor: FunctionDescriptor, length: int) -> None:
    what = f"function {index}"
    _check_features(what, descriptor.requirements)
    start, size = descriptor.bytecode_offset, descriptor.bytecode_length
    if start < 0 or size <= 0 or start + size > length:
        raise BytecodeError(f"{what}: bytes {start} to {start + size} of {length} of bytecode")
    if descriptor.reserved != 0:
        raise BytecodeError(f"{what}: reserved field is {descriptor.reserved}; expected 0")
    if not 0 <= descriptor.i32_register_count <= MAX_I32_REGISTERS:
        raise BytecodeError(f"{what}: {descriptor.i32_register_count} value registers")
    if not 0 <= descriptor.ref_register_count <= MAX_REF_REGISTERS:
        raise BytecodeError(f"{what}: {descriptor.ref_register_count} ref registers")


def _exports(module: ModuleDef) -> dict[str, int]:
    exports: dict[str, int] = {}
    for export in module.exported_functions:
        _check_export(export, exports, len(module.function_descriptors))
        exports[export.local_name] = export.internal_ordinal
    return exports


def _check_export(export: Export, exports: dict[str, int], function_count: int) -> None:
    if not 0 <= export.internal_ordinal < function_count:
        raise BytecodeError(
            f"export {export.local_name!r} is function {export.internal_ordinal} of"
            f" {function_count}"
        )
    if export.local_name in exports:
        raise BytecodeError(f"{export.local_name!r} is exported twice")


@dataclass(frozen=True, slots=True)
class _Verifier:
    """What the functions of one module are verified against."""

    module: ModuleDef
    bounds: Bounds
    imports: tuple[CallingConvention, ...]
    conventions: tuple[CallingConvention, ...]
    effort: Effort

    def callee(self, ordinal: int) -> CallingConvention:
        if ordinal & IMPORT_BIT:
            return self.imports[ordinal ^ IMPORT_BIT]
        return self.conventions[ordinal]

    def function(self, ordinal: int, name: str) -> VerifiedFunction:
        descriptor = self.module.function_descriptors[ordinal]
        convention = self.conventions[ordinal]
        try:
            arguments = argument_registers(convention)
            i32_count, ref_count = _frame(descriptor, convention, arguments)
            blocks = _decode(self.module, descriptor, self.bounds, (i32_count, ref_count))
            _check_imports_only(blocks)
            flow = check_types(
                blocks,
                convention,
                self.callee,
                i32_count=i32_count,
                ref_count=ref_count,
                effort=self.effort,
            )
        except BytecodeError as cause:
            label = f"function {ordinal}" + (f" ({name})" if name else "")
            raise BytecodeError(f"{label}: {cause}") from cause
        return VerifiedFunction(ordinal, name, convention, arguments, blocks, flow)


def _frame(
    descriptor: FunctionDescriptor, convention: CallingConvention, arguments: tuple[int, ...]
) -> tuple[int, int]:
    """Value and ref registers of a frame.

    An argument that the function never touches may lie past the descriptor's counts: IREE's
    assembler counts only the registers that instructions name.
    """
    counts = [descriptor.i32_register_count, descriptor.ref_register_count]
    for register, kind in zip(arguments, convention.arguments, strict=True):
        is_ref = bool(register & REF_BIT)
        end = (register & ~REF_BIT) + (2 if kind in ("I", "F") else 1)
        counts[is_ref] = max(counts[is_ref], end)
    return counts[0], counts[1]


def _decode(
    module: ModuleDef, descriptor: FunctionDescriptor, bounds: Bounds, counts: tuple[int, int]
) -> tuple[Block, ...]:
    assert module.bytecode_data is not None
    start = descriptor.bytecode_offset
    blocks = decode_function(
        module.bytecode_data[start : start + descriptor.bytecode_length],
        bounds,
        i32_count=counts[0],
        ref_count=counts[1],
        requirements=descriptor.requirements,
    )
    if len(blocks) != descriptor.block_count:
        raise BytecodeError(f"{len(blocks)} blocks; its descriptor says {descriptor.block_count}")
    return blocks


def _check_imports_only(blocks: tuple[Block, ...]) -> None:
    """Variadic calls and ``import.resolved`` name imports."""
    for block in blocks:
        for instruction in block.instructions:
            opcode = instruction.opcode
            if "sizes" in opcode.operands:
                ordinal = call_parts(instruction)[0]
            elif opcode.mnemonic == "import.resolved":
                ordinal = instruction.operands[0]
            else:
                continue
            if not ordinal & IMPORT_BIT:
                raise BytecodeError(
                    f"at byte {instruction.offset} ({opcode.mnemonic}): function {ordinal} is no"
                    " import"
                )
