"""The verifier on whole modules: descriptors, tables, exports."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from iree_wasm_hal.errors import BytecodeError
from iree_wasm_hal.vm.archive import Archive, read_archive
from iree_wasm_hal.vm.module_def import Export, FunctionDescriptor, ModuleDef, ModuleState
from iree_wasm_hal.vm.verifier import verify

if TYPE_CHECKING:
    from collections.abc import Callable

    Assemble = Callable[[str], bytes]

SMALL = """
vm.module @small version 0
vm.type !vm.buffer
vm.import @host.f cconv "0i_v"
vm.export @f
vm.func @f(%i0: i32) -> (i32) {
^bb0:
  %i1 = vm.add.i32 %i0, %i0
  vm.call @host.f(%i1)
  vm.return %i1
}
"""


def _altered(archive: Archive, **changes: Any) -> Archive:
    return dataclasses.replace(archive, module=dataclasses.replace(archive.module, **changes))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("bytecode_offset", -1, "bytes -1 to"),
        ("bytecode_length", 0, "of bytecode"),
        ("bytecode_length", 1 << 30, "of bytecode"),
        ("requirements", 16, "requires features 0x10"),
        ("reserved", 1, "reserved field is 1; expected 0"),
        ("block_count", 2, "1 blocks; its descriptor says 2"),
        ("block_count", 0, "1 blocks; its descriptor says 0"),
        ("i32_register_count", 1, r"register 1 of 1"),
        ("i32_register_count", -1, "-1 value registers"),
        ("ref_register_count", 0x4000, "16384 ref registers"),
    ],
)
def test_function_descriptors(field: str, value: int, message: str, assemble: Assemble) -> None:
    archive = read_archive(assemble(SMALL))
    descriptor: FunctionDescriptor = archive.module.function_descriptors[0]
    changed = dataclasses.replace(descriptor, **{field: value})
    with pytest.raises(BytecodeError, match=message):
        verify(_altered(archive, function_descriptors=(changed,)))


def _tables(module: ModuleDef) -> dict[str, tuple[dict[str, Any], str]]:
    descriptor = module.function_descriptors[0]
    export = module.exported_functions[0]
    signature = module.function_signatures[0]
    return {
        "name": ({"name": ""}, "the module has no name"),
        "features": ({"requirements": 1 << 9}, "the module requires features 0x200"),
        "signatures": ({"function_signatures": ()}, "0 signatures for 1 functions"),
        "export range": (
            {"exported_functions": (Export("f", 1),)},
            "export 'f' is function 1 of 1",
        ),
        "export sign": ({"exported_functions": (Export("f", -1),)}, "is function -1"),
        "export twice": ({"exported_functions": (export, export)}, "exported twice"),
        "export name": ({"exported_functions": (Export("", 0),)}, "export 0 has a name of 0"),
        "state": ({"module_state": ModuleState(-1, 0)}, "module state of -1 bytes"),
        "convention": (
            {"function_signatures": (dataclasses.replace(signature, calling_convention="1i_v"),)},
            "has version '1'",
        ),
        "aliases": (
            {
                "function_descriptors": (descriptor,) * 5000,
                "function_signatures": (signature,) * 5000,
            },
            r"functions of \d+ bytes share \d+ bytes",
        ),
        "length": (
            {"bytecode_data": memoryview(bytes((1 << 24) + 1))},
            r"16777217 bytes of bytecode; at most 16777216",
        ),
    }


@pytest.mark.parametrize(
    "name",
    [
        *("name", "features", "signatures", "export range", "export sign", "export twice"),
        *("export name", "state", "convention", "aliases", "length"),
    ],
)
def test_module_tables(name: str, assemble: Assemble) -> None:
    archive = read_archive(assemble(SMALL), file_name="small.vmfb")
    changes, message = _tables(archive.module)[name]
    with pytest.raises(BytecodeError, match=rf"small\.vmfb: .*{message}"):
        verify(_altered(archive, **changes))


def test_errors_name_file_function_and_byte(assemble: Assemble) -> None:
    archive = read_archive(assemble(SMALL), file_name="small.vmfb")
    changed = dataclasses.replace(archive.module.imported_functions[0], signature=None)
    with pytest.raises(BytecodeError, match=r"small\.vmfb: function 0 \(f\): at byte \d+ \(call\)"):
        verify(_altered(archive, imported_functions=(changed,)))
