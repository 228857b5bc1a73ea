"""Kernel modules that describe themselves wrongly, or are for something else."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from iree_wasm_hal.engine.contract import EngineInfo, Feature, MemoryModel
from iree_wasm_hal.errors import (
    ArgumentError,
    IncompatibleTargetError,
    LoadError,
    MalformedWasmError,
)
from iree_wasm_hal.hal.compatibility import check_features
from iree_wasm_hal.hal.device import Device
from iree_wasm_hal.hal.executable_library import GuestRange, read_library
from iree_wasm_hal.hal.formats import incompatible_format_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.engine.contract import Engine

STOCK = "system-wasm-wasm_32"
BASE = 0x20000


class LibraryImage:
    """An executable library in a memory of its own, for one pointer width."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.data = bytearray(BASE + 4096)
        self.cursor = BASE
        p = "I" if width == 4 else "Q"
        pad = "" if width == 4 else "4x"
        strings = [self.put(text) for text in (b"lib\0", b"first\0", b"second\0", b"import_me\0")]
        names = self.put(struct.pack(f"<2{p}", *strings[1:3]))
        symbols = self.put(struct.pack(f"<{p}", strings[3]))
        functions = self.put(struct.pack(f"<2{p}", 1, 2))
        attrs = self.put(
            struct.pack("<QHBBIIHH40x", 0, 0, 2, 3, 8, 4, 1, 5)
            + struct.pack("<QHBBIIHH40x", 0, 16, 0, 1, 0, 0, 0, 1)
        )
        self.header = self.put(struct.pack(f"<I{pad}{p}II", 6, strings[0], 0, 0))
        self.library = self.put(
            struct.pack(
                f"<{p} I{pad}{p} I{pad}9{p} I{pad} I{pad}{p}",
                *(self.header, 0, symbols, 2, functions, attrs, 0, 0, names, 0, 0, 0, 0, 7, 0, 0),
            )
        )
        self.end = self.cursor

    def put(self, data: bytes) -> int:
        at = self.cursor
        self.data[at : at + len(data)] = data
        self.cursor += -(-len(data) // 16) * 16
        return at

    def poke(self, address: int, value: int, format_character: str = "I") -> None:
        struct.pack_into("<" + format_character, self.data, address, value)

    def read(self, pointer: int | None = None) -> Any:
        own = GuestRange(memoryview(self.data), BASE, self.end, self.width)
        library_ptr = self.library if pointer is None else pointer
        return read_library(own, library_ptr, table_base=1, table_size=2)


@pytest.mark.parametrize("width", [4, 8])
def test_a_library_of_either_pointer_width(width: int) -> None:
    library = LibraryImage(width).read()
    assert library.name == "lib"
    assert library.constant_count == 7
    first, second = library.exports
    assert (first.name, first.function_table_index) == ("first", 1)
    assert (first.constant_count, first.binding_count) == (2, 3)
    assert (first.workgroup_size, first.local_memory_byte_length) == ((8, 4, 1), 0)
    assert (second.name, second.function_table_index) == ("second", 2)
    assert (second.workgroup_size, second.local_memory_byte_length) == ((1, 1, 1), 65536)


@pytest.mark.parametrize("width", [4, 8])
def test_every_changed_byte_gives_a_library_or_an_error_of_ours(width: int) -> None:
    rng = random.Random(width)
    accepted = refused = 0
    image = LibraryImage(width)
    good = bytes(image.data)
    for address in range(BASE, image.end):
        for value in (0, 0xFF, good[address] ^ (1 << rng.randrange(8))):
            image.data[address] = value
            try:
                library = image.read()
            except LoadError:
                refused += 1
            else:
                accepted += 1
                assert all(1 <= e.function_table_index <= 2 for e in library.exports)
                assert all(e.constant_count <= 64 for e in library.exports)
            image.data[address] = good[address]
    assert refused > 100
    assert accepted > 100


def test_what_is_wrong_is_said() -> None:
    wrong: list[tuple[Callable[[LibraryImage], object], str]] = [
        (lambda i: i.poke(i.header, 7), "version 7, expected 6"),
        (lambda i: i.poke(i.header, 5), "version 5, expected 6"),
        (lambda i: i.poke(i.header + 12, 1), "built for the address sanitizer"),
        (lambda i: i.poke(i.header + 12, 99), "built for the number 99 sanitizer"),
        (lambda i: i.poke(i.header + 4, 16), "library name at 0x10"),
        (lambda i: i.poke(i.library, BASE - 4), "library header at 0x1fffc"),
        (lambda i: i.poke(i.library + 4, 1), "import 'import_me' from the host"),
        (lambda i: i.poke(i.library + 12, 3), "3 exports, but the function table has 2"),
        (lambda i: i.poke(i.library + 12, 1 << 31), "2147483648 exports"),
        (lambda i: i.poke(i.library + 16, i.end - 4), "export table at"),
        (lambda i: i.poke(i.library + 20, 0), "export attributes at 0x0"),
        (lambda i: i.poke(i.library + 32, i.end - 4), "export names at"),
    ]
    for change, message in wrong:
        image = LibraryImage(4)
        change(image)
        with pytest.raises(LoadError, match=message):
            image.read()
    image = LibraryImage(4)
    with pytest.raises(IncompatibleTargetError, match="no version up to 6"):
        image.read(0)
    with pytest.raises(LoadError, match="library header pointer at 0x10"):
        image.read(16)
    with pytest.raises(LoadError, match="outside"):
        image.read(image.end - 8)
    unnamed = LibraryImage(4)
    unnamed.poke(unnamed.library + 32, 0)
    assert [e.name for e in unnamed.read().exports] == ["export_0", "export_1"]


def test_a_name_without_an_end() -> None:
    image = LibraryImage(4)
    for address in range(BASE, image.end):
        if image.data[address] == 0:
            image.data[address] = ord("x")
    image.poke(image.header, 6)
    image.poke(image.header + 4, BASE)
    image.poke(image.header + 12, 0)
    image.poke(image.library, image.header)
    with pytest.raises(LoadError, match=r"does not end within \d+ bytes|outside the module"):
        image.read()


def test_modules_that_import_from_the_host_or_are_of_another_version(
    device: Device, make_module: Any, hand_kernel: Any
) -> None:
    nothing = {"nothing": hand_kernel("(i32.const 0)")}
    used = device.allocator.statistics.used
    with pytest.raises(IncompatibleTargetError, match="import 'my_op', 'other_op' from the host"):
        device.prepare_executable(STOCK, make_module(nothing, imports=["my_op", "other_op"]))
    with pytest.raises(IncompatibleTargetError, match="version 5, expected 6"):
        device.prepare_executable(STOCK, make_module(nothing, version=5))
    beyond = {"beyond": hand_kernel("(i32.const 0)", table_entry=40)}
    with pytest.raises(LoadError, match=r"export 0 \(beyond\) is table index 41, expected 1 to 1"):
        device.prepare_executable(STOCK, make_module(beyond))
    assert device.allocator.statistics.used == used


def test_specialization_constants_reach_the_kernels(
    device: Device, make_module: Any, hand_kernel: Any, add_kernel: bytes
) -> None:
    body = """(i32.store (call $binding (local.get $dispatch) (i32.const 0))
        (i32.load offset=4 (i32.load (local.get $env)))) (i32.const 0)"""
    kernels = {"second_constant": hand_kernel(body, binding_count=1)}
    module = make_module(kernels, constant_count=2)
    executable = device.prepare_executable(STOCK, module, struct.pack("<2I", 11, 0xDEADBEEF))
    out = device.allocator.upload(np.zeros(4, "uint8"))
    recorded = device.create_command_buffer()
    recorded.dispatch(executable, 0, (1, 1, 1), (), [(0, out, 0, 4)])
    recorded.finalize()
    device.queue_execute(None, None, recorded)
    assert out.load(0, 4) == 0xDEADBEEF
    with pytest.raises(LoadError, match="takes 2 specialization constants, the program gave 1"):
        device.prepare_executable(STOCK, module, bytes(4))
    with pytest.raises(ArgumentError, match="5 bytes; expected a multiple of 4"):
        device.prepare_executable(STOCK, add_kernel, b"12345")


def test_not_wasm_at_all(device: Device) -> None:
    for data in (b"", b"\x7fELF\2\1\1" + bytes(64), b"\0asm\1\0\0\0"):
        with pytest.raises(LoadError):
            device.prepare_executable(STOCK, data)


def test_every_truncation_of_a_kernel_module(engine: Engine, add_kernel: bytes) -> None:
    device = Device(engine, max_memory_bytes=64 << 20)
    used = device.allocator.statistics.used
    for length in range(len(add_kernel)):
        try:
            executable = device.prepare_executable(STOCK, add_kernel[:length])
        except LoadError:
            continue
        # Cut where a custom section begins: names and target features are not missed.
        assert add_kernel[length] == 0
        assert executable.exports[0].binding_count == 3
        del executable
    assert device.allocator.statistics.used == used
    device.close()


def test_other_formats_say_what_to_compile_for(device: Device, add_kernel: bytes) -> None:
    with pytest.raises(IncompatibleTargetError) as caught:
        device.prepare_executable("embedded-elf-x86_64", b"\x7fELF")
    message = str(caught.value)
    assert "'embedded-elf-x86_64' (native code for x86_64)" in message
    assert "iree-wasm compile" in message
    assert "--target wasm32-simd128-relaxed" in message
    with pytest.raises(IncompatibleTargetError, match="expected 'system-wasm-wasm_32'"):
        device.prepare_executable("system-wasm-wasm_64", add_kernel)
    assert "'a', 'b'; expected 'system-wasm-wasm_64'" in str(
        incompatible_format_error(["a", "b"], device.engine.info, index64=True)
    )


def test_missing_features_name_the_engines_that_have_them() -> None:
    info = EngineInfo(
        "wasm3",
        "0.5.0",
        "",
        MemoryModel.OWNS,
        frozenset({Feature.BULK_MEMORY}),
        {Feature.SIMD128: "its interpreter has no vectors"},
    )
    check_features("x", [Feature.BULK_MEMORY], info)
    known = {
        "wasmtime": frozenset({Feature.SIMD128, Feature.RELAXED_SIMD}),
        "wamr": frozenset({Feature.SIMD128}),
        "wasm3": frozenset({Feature.SIMD128}),
    }
    with pytest.raises(IncompatibleTargetError) as caught:
        check_features("executable 'm'", [Feature.SIMD128], info, known)
    assert str(caught.value).startswith(
        "executable 'm' needs simd128 (its interpreter has no vectors), which wasm3 0.5.0 lacks. "
        "Engines that have it: wasmtime, wamr. To run it on wasm3: no target of"
    )
    with pytest.raises(IncompatibleTargetError, match="have it: none that is known"):
        check_features("m", [Feature.TAIL_CALL], info, known)


def test_a_kernel_module_that_the_engine_cannot_run(engine: Engine, add_kernel: bytes) -> None:
    class Scalar:
        def __init__(self) -> None:
            without = engine.info.features - {Feature.SIMD128, Feature.RELAXED_SIMD}
            fields = (engine.info.library_path, engine.info.memory_model, without)
            self.info = EngineInfo("scalar", "1", *fields)

        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

    device = Device(Scalar())
    with pytest.raises(IncompatibleTargetError, match="needs simd128, which scalar 1 lacks"):
        device.prepare_executable(STOCK, add_kernel)
    assert device.query_i64("hal.executable.format", STOCK) == (True, 1)
    assert device.query_i64("hal.executable.format", STOCK + "-simd128") == (True, 0)
    device.close()


def test_wasm64_devices_take_wasm64_formats_only(engine: Engine, add_kernel: bytes) -> None:
    device = Device(engine, memory64=True, max_memory_bytes=64 << 20)
    assert device.query_i64("hal.executable.format", "system-wasm-wasm_64") == (True, 1)
    assert device.query_i64("hal.executable.format", STOCK) == (True, 0)
    with pytest.raises(IncompatibleTargetError):
        device.prepare_executable(STOCK, add_kernel)
    with pytest.raises((IncompatibleTargetError, MalformedWasmError)):
        device.prepare_executable("system-wasm-wasm_64", add_kernel)
    # Transfers run on it all the same.
    recorded = device.create_command_buffer(binding_capacity=1)
    recorded.fill_buffer(None, 0, 0, 16, 0x01020304, 4)
    recorded.finalize()
    out = device.allocator.upload(np.zeros(16, "uint8"))
    device.queue_execute(None, None, recorded, [(out, 0, 16)])
    assert out.read() == b"\4\3\2\1" * 4
    device.close()


def test_shared_memory_devices_give_the_same_results(engine: Engine, add_kernel: bytes) -> None:
    device = Device(engine, shared_memory=True, max_memory_bytes=64 << 20)
    executable = device.prepare_executable(STOCK, add_kernel)
    x = np.arange(4, dtype="float32")
    a, out = device.allocator.upload(x), device.allocator.upload(x)
    recorded = device.create_command_buffer()
    direct = [(0, a, 0, 16), (0, a, 0, 16), (0, out, 0, 16)]
    recorded.dispatch(executable, 0, (1, 1, 1), (), direct)
    recorded.finalize()
    device.queue_execute(None, None, recorded)
    np.testing.assert_array_equal(out.ndarray((4,), np.dtype("float32")), x + x)
    device.close()
