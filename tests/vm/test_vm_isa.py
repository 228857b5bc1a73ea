"""The ISA table against IREE's disassembler, and archives of three compiler releases."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.vm.archive import open_archive
from iree_wasm_hal.vm.context import Context
from iree_wasm_hal.vm.isa import INSTRUCTION_SETS, MOVE_BIT, PREFIXES, REF_BIT
from iree_wasm_hal.vm.module import BytecodeModule
from iree_wasm_hal.vm.native import PyModule

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.vm.instructions import Instruction

_REGISTER = re.compile(r"%([irR])(\d+)")
_INSTRUCTION = re.compile(r"^  (?:[^\"=]* = )?vm\.([a-z0-9_.]+)")
_RELEASES = ("3.11", "3.12", "3.13")


def _archive(release: str) -> Path:
    return Path(__file__).with_name("archives") / f"add-{release}.vmfb"


def _disassembled(text: str) -> list[tuple[str, frozenset[str]]]:
    """Mnemonic and registers of every instruction of a listing."""
    found = []
    for line in text.splitlines():
        match = _INSTRUCTION.match(line)
        if match:
            code = line.split("//")[0]
            registers = frozenset(f"{bank}{ordinal}" for bank, ordinal in _REGISTER.findall(code))
            found.append((match.group(1), registers))
    return found


def _registers(instruction: Instruction) -> frozenset[str]:
    found: set[int] = set()
    for encoding, value in zip(instruction.opcode.operands, instruction.operands, strict=True):
        kind = encoding.removeprefix(">")
        if kind in ("i", "I", "f", "F", "r", "R"):
            found.add(value)
        elif kind[0] == "*":
            found.update(value)
        elif kind == "moves":
            found.update(register for pair in value for register in pair)
        elif kind == "cases":
            found.update(register for _, moves in value for pair in moves for register in pair)
    return frozenset(map(_name, found))


def _name(register: int) -> str:
    if not register & REF_BIT:
        return f"i{register}"
    return f"{'R' if register & MOVE_BIT else 'r'}{register & ~(REF_BIT | MOVE_BIT)}"


def _decoded(module: BytecodeModule) -> list[tuple[str, frozenset[str]]]:
    return [
        (instruction.opcode.mnemonic, _registers(instruction))
        for function in module.verified.functions
        for block in function.blocks
        for instruction in block.instructions
    ]


@pytest.mark.parametrize("index", [0, 1])
def test_decoding_equals_the_assembly(
    index: int, assemble: Callable[[str], bytes], sources: list[str]
) -> None:
    expected = _disassembled(sources[index])
    assert len(expected) > 500
    assert _decoded(BytecodeModule.from_bytes(assemble(sources[index]))) == expected


@pytest.mark.parametrize("source", ["objects", *_RELEASES])
def test_decoding_equals_the_disassembler(
    source: str,
    assemble: Callable[[str], bytes],
    sources: list[str],
    tool: Callable[[str], str],
    tmp_path: Path,
) -> None:
    path = _archive(source)
    if source not in _RELEASES:
        path = tmp_path / "module.vmfb"
        path.write_bytes(assemble(sources[1]))
    listing = subprocess.run(
        [tool("iree-dump-module"), str(path)], capture_output=True, text=True, check=True
    ).stdout
    expected = _disassembled(listing)
    assert len(expected) > 50
    assert _decoded(BytecodeModule.from_file(path)) == expected


def test_size_and_prefixes() -> None:
    assert sum(map(len, INSTRUCTION_SETS.values())) == 265
    assert set(PREFIXES.values()) == {"ext_f32", "ext_f64"}
    for code, name in PREFIXES.items():
        assert INSTRUCTION_SETS["core"][code].mnemonic == f"prefix.{name}"


@pytest.mark.parametrize("release", _RELEASES)
def test_archives_of_each_release(release: str) -> None:
    archive = open_archive(_archive(release))
    assert archive.module.name == "module"
    (dependency,) = archive.module.dependencies
    assert dependency.name == "hal"
    assert dependency.minimum_version == (6 if release == "3.11" else 7)
    conventions = {
        item.full_name: item.signature.calling_convention
        for item in archive.module.imported_functions
        if item.signature
    }
    dispatch = "0rriiiiICiDCiirIID_v" if release == "3.11" else "0rrIiiiICiDCiirIID_v"
    assert conventions["hal.command_buffer.dispatch"] == dispatch
    assert ("hal.executable.lookup.function" in conventions) == (release != "3.11")
    assert any(bytes(segment[:4]) == b"\0asm" for segment in archive.rodata)


@pytest.mark.parametrize("release", _RELEASES)
def test_host_program_of_each_release_runs(release: str) -> None:
    """With a hal that records: the program finds its device, records commands, submits them."""

    class Ref:
        pass

    module = BytecodeModule.from_file(_archive(release))
    names = [d.full_name[1:] for d in module.archive.module.types if d.full_name[:5] == "!hal."]
    hal = PyModule("hal", version=7, types=dict.fromkeys(names, Ref))
    calls: list[str] = []
    answers = {"devices.count": 1, "device.query.i64": (1, 1), "fence.await": 0}

    def serve(name: str, results: str) -> Callable[..., object]:
        def call(*_: object) -> object:
            calls.append(name)
            return answers.get(name, Ref() if results == "r" else 0)

        return call

    for item, convention in zip(module.imports, module.verified.imports, strict=True):
        name = item.full_name.removeprefix("hal.")
        hal.function(name, convention.text)(serve(name, convention.results))
    context = Context([hal, module])
    assert calls[0] == "devices.count"
    assert "executable.create" in calls
    calls.clear()
    assert isinstance(context.function("main")(Ref(), Ref()), Ref)
    assert calls[-1] == "buffer_view.create"
    assert "device.queue.execute.indirect" in calls
