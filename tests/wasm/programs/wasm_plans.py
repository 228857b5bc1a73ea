"""Kernels compiled by iree-compile, and the command buffer that its own IR records for them.

The plan (dispatches, barriers, bindings, results) is read off the textual HAL dialect, so that
these tests need no VM and no archive decoder.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iree_wasm_hal.wasm.stream import BindingRef
from iree_wasm_hal.wasm.stream_builder import CommandStreamBuilder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from wasm_guest import Guest

    from iree_wasm_hal.wasm.stream_builder import EncodedStream

SOURCES = Path(__file__).parent / "mlir"
COMPILER = Path(sys.executable).parent / "iree-compile"
# The compiler's own linker with the one flag that it is not given for wasm64.
LINK_WASM64 = """#!{python}
import os, sys
from iree.compiler import _mlir_libs
linker = os.path.join(os.path.dirname(_mlir_libs.__file__), "iree-lld")
os.execv(linker, [linker, *sys.argv[1:], "-mwasm64"])
"""

Slot = tuple[int, int, int]
"""Slot, byte offset, byte length."""


@dataclass
class Plan:
    """A recorded command buffer.

    Attributes:
        commands: ``("barrier",)`` or ``("dispatch", kernel, counts, bindings)``.
        slots: Per slot the index of the input, or -1 for scratch memory, and the byte length.
        results: Per result the slot, byte offset, shape and dtype.
    """

    commands: list[tuple[Any, ...]] = field(default_factory=list)
    slots: list[tuple[int, int]] = field(default_factory=list)
    results: list[tuple[int, int, tuple[int, ...], str]] = field(default_factory=list)


@dataclass
class Kernels:
    """A compiled module and its plan."""

    wasm: bytes
    plan: Plan


def compile_kernels(name: str, features: str, folder: Path, *, wasm64: bool = False) -> Kernels:
    """Compiles ``mlir/<name>.mlir`` for wasm with CPU features such as ``+simd128``."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        str(COMPILER),
        str(SOURCES / f"{name}.mlir"),
        "--iree-hal-target-device=local",
        "--iree-hal-local-target-device-backends=llvm-cpu",
        f"--iree-llvmcpu-target-triple=wasm{64 if wasm64 else 32}-unknown-unknown",
        "--iree-llvmcpu-link-embedded=false",
        "--iree-llvmcpu-target-cpu=generic",
        f"--iree-llvmcpu-target-cpu-features={features}",
    ]
    if wasm64:
        linker = folder / "link_wasm64"
        linker.write_text(LINK_WASM64.format(python=sys.executable))
        linker.chmod(0o755)
        command.append(f"--iree-llvmcpu-wasm-linker-path={linker}")
    command += ["--compile-to=hal", f"--iree-hal-dump-executable-binaries-to={folder}"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (module,) = folder.glob("*.wasm")
    return Kernels(module.read_bytes(), parse_plan(text))


def parse_plan(text: str) -> Plan:
    """Reads the memoized command buffer and its use in ``@main``."""
    plan = Plan()
    record = text[text.index("hal.command_buffer.create") :]
    for line in re.finditer(
        r"function\(@\w+::@\w+::@(\w+)\)|hal\.command_buffer\.execution_barrier"
        r"|hal\.command_buffer\.dispatch<.*?workgroups\(\[(.*?)\]\)(.*?)"
        r"bindings\(\[(.*?)\]\) flags",
        record,
        re.DOTALL,
    ):
        if line[1]:
            kernel = line[1]
        elif line[2]:
            assert "constants" not in line[3]
            plan.commands.append(("dispatch", kernel, _numbers(line[2]), _slots(line[4])))
        else:
            plan.commands.append(("barrier",))
    bindings = re.search(r"execute\.indirect<.*?bindings\(\[(.*?)\]\) flags", record, re.DOTALL)
    assert bindings
    names = re.findall(r"\(%(\w+) : !hal\.buffer\)\[", bindings[1])
    lengths = [_numbers(x)[1] for x in re.findall(r"\)\[(.*?)\]", bindings[1])]
    input_count = 0
    for name, byte_length in zip(names, lengths, strict=True):
        is_input = not name.startswith("transient")
        plan.slots.append((input_count if is_input else -1, byte_length))
        input_count += is_input
    for view in re.finditer(
        r"buffer_view\.create buffer\(%(\w+) .*?\)\[(.*?)\] shape\(\[(.*?)\]\) "
        r"type\(%element_type_(\w+)\)",
        record,
    ):
        shape = tuple(_numbers(view[3]))
        plan.results.append((names.index(view[1]), _numbers(view[2])[0], shape, view[4]))
    return plan


def _numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"%c(\d+)", text)]


def _slots(text: str) -> list[Slot]:
    slots = []
    for slot, rest in re.findall(r"\(%c(\d+) : index\)\[(.*?)\]", text):
        byte_offset, byte_length = _numbers(rest)
        slots.append((int(slot), byte_offset, byte_length))
    return slots


def record(
    guest: Guest, kernels: dict[str, int], plan: Plan, executable_index: int
) -> EncodedStream:
    """Encodes a plan for a loaded module."""
    builder = CommandStreamBuilder(8 if guest.index64 else 4)
    for command in plan.commands:
        if command[0] == "barrier":
            builder.barrier()
            continue
        _, kernel, counts, slots = command
        builder.dispatch(
            executable_index,
            kernels[kernel],
            guest.environment,
            tuple(counts),
            bindings=[BindingRef(*slot) for slot in slots],
        )
    return builder.finish()


def run(guest: Guest, kernels: Kernels, inputs: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """Loads, records and executes; returns the results."""
    executable = guest.load(kernels.wasm)
    index = len(guest.executables) - 1
    plan = kernels.plan
    stream = record(guest, executable.kernels, plan, index)
    return execute(guest, stream, plan, inputs, index)


def execute(
    guest: Guest, stream: EncodedStream, plan: Plan, inputs: list[NDArray[Any]], index: int
) -> list[NDArray[Any]]:
    """Executes a recorded plan once."""
    table = []
    for source, byte_length in plan.slots:
        if source < 0:
            table.append((guest.allocate(byte_length), byte_length))
        else:
            data = np.ascontiguousarray(inputs[source]).tobytes()
            table.append((guest.place(data), len(data)))
    for slot, byte_length in stream.slot_requirements.items():
        assert table[slot][1] >= byte_length
    results = guest.execute(stream, table, first=index)
    assert results == [0] * len(results), guest.report()
    outputs = []
    for slot, byte_offset, shape, element_type in plan.results:
        dtype = {"f32": np.float32, "i32": np.int32}[element_type]
        data = guest.read(table[slot][0] + byte_offset, 4 * math.prod(shape))
        outputs.append(np.frombuffer(data, dtype).reshape(shape))
    return outputs
