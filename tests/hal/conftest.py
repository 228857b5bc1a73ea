"""Devices on a real engine, kernels from iree-compile and kernels written by hand."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from iree_wasm_hal.engine.registry import open_engine
from iree_wasm_hal.hal.device import Device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from iree_wasm_hal.engine.contract import Engine
    from iree_wasm_hal.hal.executable import Executable

STOCK_FORMAT = "system-wasm-wasm_32"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    engine = open_engine("wasmtime")
    yield engine
    engine.close()


@pytest.fixture
def device(engine: Engine) -> Iterator[Device]:
    device = Device(engine, max_memory_bytes=256 << 20)
    yield device
    device.close()


@pytest.fixture(scope="session")
def session_device(engine: Engine) -> Iterator[Device]:
    """For property tests, which make too many examples for a device each."""
    device = Device(engine, max_memory_bytes=256 << 20)
    yield device
    device.close()


@pytest.fixture(scope="session")
def compile_kernels(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], list[bytes]]:
    """Compiles MLIR and returns the kernel modules inside, linked into one unless told not to."""
    beside = Path(sys.executable).with_name("iree-compile")
    compiler = str(beside) if beside.exists() else shutil.which("iree-compile")
    assert compiler, "iree-compile is not installed: pip install iree-base-compiler"
    cache: dict[tuple[str, ...], list[bytes]] = {}

    def compile_(mlir: str, *flags: str) -> list[bytes]:
        key = (mlir, *flags)
        if key not in cache:
            directory = tmp_path_factory.mktemp("kernels")
            source = directory / "module.mlir"
            source.write_text(mlir)
            subprocess.run(
                [
                    compiler,
                    str(source),
                    "-o",
                    str(directory / "module.vmfb"),
                    "--iree-hal-target-device=local",
                    "--iree-hal-local-target-device-backends=llvm-cpu",
                    "--iree-llvmcpu-target-triple=wasm32-unknown-unknown",
                    "--iree-llvmcpu-link-embedded=false",
                    "--iree-llvmcpu-target-cpu-features=+simd128",
                    f"--iree-hal-dump-executable-binaries-to={directory}",
                    *flags,
                ],
                check=True,
                capture_output=True,
                timeout=120,
            )
            cache[key] = [p.read_bytes() for p in sorted(directory.glob("*.wasm"))]
        return cache[key]

    return compile_


ADD = """
func.func @main(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  %0 = arith.addf %a, %b : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""


@pytest.fixture(scope="session")
def add_kernel(compile_kernels: Callable[[str], list[bytes]]) -> bytes:
    """One kernel: c = a + b on four floats; bindings a, b, c."""
    (kernel,) = compile_kernels(ADD)
    return kernel


@dataclass(frozen=True)
class HandKernel:
    """A kernel in WebAssembly text: ``(environment, dispatch state, workgroup state) -> i32``.

    Its body sees $env, $dispatch and $workgroup, the functions $binding(i) and $constant(i), and
    the stack pointer $sp.
    """

    body: str
    constant_count: int = 0
    binding_count: int = 0
    local_memory_pages: int = 0
    table_entry: int | None = None


class MakeModule(Protocol):
    def __call__(
        self,
        kernels: dict[str, HandKernel],
        *,
        imports: Sequence[str] = (),
        version: int = 6,
        constant_count: int = 0,
        while_loaded: str = "",
    ) -> bytes: ...


class _StaticData:
    """Bytes with the positions of pointers in them."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.pointers: list[int] = []
        self.table_indices: list[int] = []

    def append(self, data: bytes, alignment: int = 8) -> int:
        self.data += bytes(-len(self.data) % alignment)
        at = len(self.data)
        self.data += data
        return at

    def pointer_array(self, targets: Sequence[int]) -> int:
        at = self.append(struct.pack(f"<{len(targets)}I", *targets))
        self.pointers += [at + 4 * i for i in range(len(targets))]
        return at


def _library(
    kernels: dict[str, HandKernel], imports: Sequence[str], version: int, constant_count: int
) -> tuple[_StaticData, int]:
    static = _StaticData()
    name = static.append(b"hand_made\0")
    names = static.pointer_array([static.append(n.encode() + b"\0", 1) for n in kernels])
    symbols = static.pointer_array([static.append(n.encode() + b"\0", 1) for n in imports])
    attrs = static.append(
        b"".join(
            struct.pack("<QHBB", 0, k.local_memory_pages, k.constant_count, k.binding_count).ljust(
                64, b"\0"
            )
            for k in kernels.values()
        )
    )
    entries = [
        i if k.table_entry is None else k.table_entry for i, k in enumerate(kernels.values())
    ]
    functions = static.append(struct.pack(f"<{len(entries)}i", *entries))
    static.table_indices += [functions + 4 * i for i in range(len(entries))]
    header = static.append(struct.pack("<4I", version, name, 0, 0))
    static.pointers.append(header + 4)
    fields = [header, len(imports), symbols, len(kernels), functions, attrs, 0, 0, names]
    library = static.append(struct.pack("<16I", *fields, *([0] * 4), constant_count, 0, 0))
    static.pointers += [library + 4 * i for i in (0, 2, 4, 5, 8)]
    return static, library


@pytest.fixture(scope="session")
def make_module() -> MakeModule:
    """Assembles kernels into a dynamic library like those of iree-compile.

    It executes ``while_loaded`` when it is asked what it holds.
    """
    wasmtime = pytest.importorskip("wasmtime")

    def make(
        kernels: dict[str, HandKernel],
        *,
        imports: Sequence[str] = (),
        version: int = 6,
        constant_count: int = 0,
        while_loaded: str = "",
    ) -> bytes:
        static, library = _library(kernels, imports, version, constant_count)
        count = len(kernels)
        functions = "\n".join(
            f"(func ${name} (param $env i32) (param $dispatch i32) (param $workgroup i32) "
            f"(result i32) {kernel.body})"
            for name, kernel in kernels.items()
        )
        relocations = "\n".join(
            f"(call $relocate (i32.const {at}) (global.get ${base}))"
            for base, positions in (("mb", static.pointers), ("tb", static.table_indices))
            for at in positions
        )
        data = "".join(f"\\{byte:02x}" for byte in static.data)
        text = f"""(module
          (@dylink.0 (mem-info (memory {len(static.data)} 4) (table {count} 0)))
          (import "env" "memory" (memory 1))
          (import "env" "__indirect_function_table" (table {count} funcref))
          (import "env" "__memory_base" (global $mb i32))
          (import "env" "__table_base" (global $tb i32))
          (import "env" "__stack_pointer" (global $sp (mut i32)))
          (func $binding (param $dispatch i32) (param $index i32) (result i32)
            (i32.load (i32.add (i32.load offset=28 (local.get $dispatch))
                               (i32.shl (local.get $index) (i32.const 2)))))
          (func $constant (param $dispatch i32) (param $index i32) (result i32)
            (i32.load (i32.add (i32.load offset=24 (local.get $dispatch))
                               (i32.shl (local.get $index) (i32.const 2)))))
          (func $relocate (param $at i32) (param $base i32)
            (local.set $at (i32.add (local.get $at) (global.get $mb)))
            (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (local.get $base))))
          {functions}
          (func (export "__wasm_apply_data_relocs") {relocations})
          (func (export "iree_hal_executable_library_query") (param i32 i32) (result i32)
            {while_loaded}
            (i32.add (global.get $mb) (i32.const {library})))
          (elem (global.get $tb) func {" ".join("$" + name for name in kernels)})
          (data (global.get $mb) "{data}"))"""
        return bytes(wasmtime.wat2wasm(text))

    return make


@pytest.fixture
def load_hand_made(device: Device, make_module: MakeModule) -> Callable[..., Executable]:
    """Loads hand-written kernels on the test's device."""

    def load(kernels: dict[str, HandKernel]) -> Executable:
        return device.prepare_executable(STOCK_FORMAT, make_module(kernels), name="hand_made")

    return load


@pytest.fixture(scope="session")
def hand_kernel() -> type[HandKernel]:
    return HandKernel
