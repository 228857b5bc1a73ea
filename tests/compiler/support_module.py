"""The support library linked into one wasm module of its own, callable from Python."""

from __future__ import annotations

import struct
import subprocess
from typing import TYPE_CHECKING, Any

import wasmtime

from iree_wasm_hal.compiler.linking.front import SUPPORT_DIR
from iree_wasm_hal.compiler.toolchain import find_toolchain

if TYPE_CHECKING:
    from pathlib import Path

MEMORY_BYTE_LENGTH = 1 << 21
SCRATCH_ADDRESS = 1 << 20
"""Above the library's static data and stack."""


class SupportModule:
    """Functions of ``libsupport_wasm32.a`` or ``wasm64.a`` by name."""

    def __init__(self, bits: int, names: list[str], directory: Path) -> None:
        path = directory / f"support{bits}.wasm"
        command = [str(find_toolchain().lld), "-flavor", "wasm", "--no-entry", "-o", str(path)]
        command += [f"--export={name}" for name in names]
        command += [f"--initial-memory={MEMORY_BYTE_LENGTH}", "--fatal-warnings"]
        command += ["-mwasm64"] if bits == 64 else []
        command.append(str(SUPPORT_DIR / f"libsupport_wasm{bits}.a"))
        subprocess.run(command, check=True, capture_output=True)
        config = wasmtime.Config()
        config.wasm_memory64 = True
        self.store = wasmtime.Store(wasmtime.Engine(config))
        module = wasmtime.Module(self.store.engine, path.read_bytes())
        assert list(module.imports) == []
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)
        memory = self.exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        self.memory = memory

    def __call__(self, name: str, *arguments: Any) -> Any:
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        return function(self.store, *arguments)

    def write(self, address: int, data: bytes) -> None:
        self.memory.write(self.store, data, address)

    def read(self, address: int, byte_length: int) -> bytes:
        return bytes(self.memory.read(self.store, address, address + byte_length))

    def int128(self, name: str, *operands: int) -> int:
        """Calls a function of 128-bit integers, which returns through a pointer."""
        words: list[int] = []
        for operand in operands:
            words += struct.unpack("<qq", (operand % (1 << 128)).to_bytes(16, "little"))
        self(name, SCRATCH_ADDRESS, *words)
        return int.from_bytes(self.read(SCRATCH_ADDRESS, 16), "little", signed=True)
