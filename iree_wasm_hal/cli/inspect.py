"""``iree-wasm inspect``: what an archive holds, without running any of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iree_wasm_hal.cli.reporting import ExitStatus, print_json
from iree_wasm_hal.errors import WasmError
from iree_wasm_hal.vm.archive import Archive, open_archive
from iree_wasm_hal.wasm.features import needed_features
from iree_wasm_hal.wasm.kernel_reader import read_kernel_module
from iree_wasm_hal.wasm.names import function_names

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["describe", "inspect"]

_DECLARATION = "iree.abi.declaration"
_FORMAT_PREFIXES = ("system-wasm", "embedded-elf", "system-elf", "vmvx-bytecode")
_ELF_MACHINES = {3: "x86", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv"}
"""``e_machine`` of the machines that IREE compiles for."""


def inspect(path: Path, *, as_json: bool) -> int:
    """Prints a description of the archive."""
    document = describe(open_archive(path))
    if as_json:
        print_json(document)
    else:
        print("\n".join(_lines(document)))
    return ExitStatus.DONE


def describe(archive: Archive) -> dict[str, Any]:
    """The archive as plain data, in the shape that ``--json`` prints."""
    module = archive.module
    version = module.bytecode_version
    return {
        "file": archive.file_name,
        "byte_length": archive.byte_length,
        "module": module.name,
        "bytecode_version": f"{version >> 16}.{version & 0xFFFF}",
        "function_count": len(module.function_descriptors),
        "dependencies": [
            {
                "module": dependency.name,
                "minimum_version": dependency.minimum_version,
                "optional": dependency.is_optional,
            }
            for dependency in module.dependencies
        ],
        "imports": [
            {
                "name": imported.full_name,
                "calling_convention": imported.signature.calling_convention
                if imported.signature
                else "",
                "optional": imported.is_optional,
            }
            for imported in module.imported_functions
        ],
        "exports": _exports(archive),
        "executable_formats": _formats(archive),
        "executables": [
            _executable(index, bytes(data))
            for index, data in enumerate(archive.rodata)
            if bytes(data[:4]) in (b"\0asm", b"\x7fELF")
        ],
        "rodata": {
            "segment_count": len(archive.rodata),
            "byte_length": sum(len(data) for data in archive.rodata),
        },
    }


def _exports(archive: Archive) -> list[dict[str, Any]]:
    exports = []
    for export in archive.module.exported_functions:
        signature = archive.module.function_signatures[export.internal_ordinal]
        declarations = [attr.value for attr in signature.attrs if attr.key == _DECLARATION]
        exports.append(
            {
                "name": export.local_name,
                "calling_convention": signature.calling_convention,
                "declaration": declarations[0] if declarations else None,
            }
        )
    return exports


def _formats(archive: Archive) -> list[str]:
    """Format strings that the host program asks the device for."""
    formats = []
    for data in archive.rodata:
        text = bytes(data[:64]).decode("ascii", errors="replace")
        if len(data) <= len(text) and text.startswith(_FORMAT_PREFIXES):
            formats.append(text)
    return formats


def _executable(index: int, data: bytes) -> dict[str, Any]:
    executable: dict[str, Any] = {"rodata_segment": index, "byte_length": len(data)}
    if data[:4] == b"\x7fELF":
        machine = int.from_bytes(data[18:20], "little")
        kind = f"ELF machine code ({_ELF_MACHINES.get(machine, f'machine {machine}')})"
        return {**executable, "kind": kind, "features": [], "kernels": []}
    executable["kind"] = "WebAssembly"
    try:
        features = sorted(feature.value for feature in needed_features(data))
        return {**executable, "features": features, "kernels": _kernel_names(data)}
    except WasmError as error:
        return {**executable, "features": [], "kernels": [], "error": str(error)}


def _kernel_names(wasm: bytes) -> list[str]:
    """Names of the functions in the function table, which is where kernels are."""
    module = read_kernel_module(wasm)
    names = function_names(module)
    indices = [index for segment in module.elements for index in segment.function_indices]
    return [names[index] for index in indices if index in names]


def _lines(document: dict[str, Any]) -> list[str]:
    lines = [
        f"{document['file']}: {document['byte_length']} bytes",
        f"module @{document['module']}, bytecode {document['bytecode_version']}, "
        f"{document['function_count']} functions",
        "",
        "needs:",
    ]
    for dependency in document["dependencies"]:
        optional = ", optional" if dependency["optional"] else ""
        lines.append(
            f"  {dependency['module']} version {dependency['minimum_version']} or newer{optional}"
        )
    lines += ["", "exports:"]
    for export in document["exports"]:
        lines.append(f"  {export['declaration'] or _bare(export)}")
    lines += ["", "executables:"]
    if document["executable_formats"]:
        lines.append(f"  formats: {', '.join(document['executable_formats'])}")
    for executable in document["executables"]:
        lines.append(f"  {executable['kind']}, {executable['byte_length']} bytes")
        lines.append(f"    needs {' '.join(executable['features']) or 'no feature'}")
        if "error" in executable:
            lines.append(f"    cannot be read: {executable['error']}")
        lines += [f"    {name}" for name in executable["kernels"]]
    rodata = document["rodata"]
    lines += ["", f"constants: {rodata['byte_length']} bytes in {rodata['segment_count']} segments"]
    lines += ["", "imports:"]
    for imported in document["imports"]:
        optional = " (optional)" if imported["optional"] else ""
        lines.append(f"  {imported['name']} {imported['calling_convention']}{optional}")
    return lines


def _bare(export: dict[str, Any]) -> str:
    return f"@{export['name']} {export['calling_convention']}"
