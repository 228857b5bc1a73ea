"""The static kernel profile's rules for code: no forbidden instruction, no index beyond the kernel.

Relinking appends functions and types and makes globals settable, so an index that was out of
range in the kernel would name something of ours afterwards: such indices are refused here, before
any engine could take the module for valid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.errors import KernelProfileError, MalformedWasmError
from iree_wasm_hal.wasm.binary import Reader
from iree_wasm_hal.wasm.features import instruction_features
from iree_wasm_hal.wasm.instructions import scan_body
from iree_wasm_hal.wasm.kernel_module import GlobalType

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.engine.contract import Feature
    from iree_wasm_hal.wasm.kernel_module import KernelModule

__all__ = ["check_code"]

_FORBIDDEN_INSTRUCTIONS = {
    b"\x25": "table.get",
    b"\x26": "table.set",
    b"\x40": "memory.grow",
    b"\xfc\x08": "memory.init",
    b"\xfc\x09": "data.drop",
    b"\xfc\x0c": "table.init",
    b"\xfc\x0d": "elem.drop",
    b"\xfc\x0e": "table.copy",
    b"\xfc\x0f": "table.grow",
    b"\xfc\x10": "table.size",
    b"\xfc\x11": "table.fill",
    b"\xfe\x00": "memory.atomic.notify",
    b"\xfe\x01": "memory.atomic.wait32",
    b"\xfe\x02": "memory.atomic.wait64",
}


def check_code(module: KernelModule, *, index64: bool) -> frozenset[Feature]:
    """Checks every function body; returns the features that their instructions need.

    Raises:
        KernelProfileError: An instruction that kernels must not use.
        MalformedWasmError: A damaged body, or an index out of range.
    """
    features: frozenset[Feature] = frozenset()
    for function_index, body in enumerate(module.bodies):
        found = scan_body(module.data, body.code_start, body.end, index64=index64)
        for instruction in found:
            # Three prefixes start opcodes of two bytes.
            opcode = instruction[: 2 if instruction[0] >= 0xFC else 1]
            if opcode in _FORBIDDEN_INSTRUCTIONS:
                raise KernelProfileError(
                    f"kernel module uses {_FORBIDDEN_INSTRUCTIONS[opcode]} in function "
                    f"{function_index}, which kernels must not"
                )
            check = _INDEX_CHECKS.get(instruction[0])
            if check is not None:
                check(module, instruction, function_index)
        features |= instruction_features(found)
    return features


def _index(instruction: bytes) -> int:
    return Reader(instruction, "instruction", 1).uleb128()


def _check_function(module: KernelModule, instruction: bytes, function_index: int) -> None:
    _check_index("function", _index(instruction), len(module.functions), function_index)


def _check_type(module: KernelModule, instruction: bytes, function_index: int) -> None:
    _check_index("type", _index(instruction), len(module.types), function_index)


def _check_block_type(module: KernelModule, instruction: bytes, function_index: int) -> None:
    index = Reader(instruction, "instruction", 1).sleb128(33)
    # Negative ones are value types or the empty type.
    _check_index("type", index, len(module.types), function_index)


def _check_global_set(module: KernelModule, instruction: bytes, function_index: int) -> None:
    index = _index(instruction)
    imported = module.imported("global")
    if index < len(imported):
        global_type = imported[index].type
        if not isinstance(global_type, GlobalType) or not global_type.mutable:
            raise MalformedWasmError(
                f"kernel module sets env.{imported[index].name}, a constant, in function "
                f"{function_index}"
            )


def _check_index(what: str, index: int, count: int, function_index: int) -> None:
    if index >= count:
        raise MalformedWasmError(
            f"kernel module names {what} {index} of {count} in function {function_index}"
        )


_INDEX_CHECKS: dict[int, Callable[[KernelModule, bytes, int], None]] = {
    **dict.fromkeys((0x10, 0x12, 0xD2), _check_function),
    **dict.fromkeys((0x11, 0x13), _check_type),
    **dict.fromkeys((0x02, 0x03, 0x04, 0x06, 0x1F), _check_block_type),
    0x24: _check_global_set,
}
