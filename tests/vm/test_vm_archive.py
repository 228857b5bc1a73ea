"""Archives: containers, versions, wrong files, truncation and damage."""

from __future__ import annotations

import random
import re
import struct
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.errors import ArchiveError, BytecodeError, Error
from iree_wasm_hal.vm.archive import check_version, open_archive, read_archive
from iree_wasm_hal.vm.context import Context, VmFunction
from iree_wasm_hal.vm.flatbuffer import BYTES, STRING, Scalar, Table, TableField, Vector, decode
from iree_wasm_hal.vm.module import BytecodeModule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Assemble = Callable[[str], bytes]

TINY = """
vm.module @tiny version 7
vm.type i32
vm.type !vm.buffer
vm.import optional @host.add cconv "0ii_i"
vm.rodata[0] = 0102030405
vm.export @f
vm.func @f(%i0: i32, %i1: i32) -> (i32) {
^bb0:
  %r0 = vm.const.ref.rodata 0
  vm.global.store.ref %r0, .refs[0] : !vm.buffer
  %i2 = vm.import.resolved @host.add
  vm.cond_br %i2, ^bb1(%i0->%i3), ^bb2()
^bb1:
  %i3 = vm.call @host.add(%i3, %i1)
  vm.global.store.i32 %i3, .rwdata[4]
  vm.return %i3
^bb2:
  %i4:5 = vm.const.i64 1099511627776
  %i3 = vm.trunc.i64.i32 %i4:5
  vm.call.variadic @host.add segments[65535, 65535](%i0, %i1)
  vm.fail %i3, "no"
}
"""
TINY = TINY.replace("  vm.call.variadic @host.add segments[65535, 65535](%i0, %i1)\n", "")

MODEL = """
func.func @main(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  %c = stablehlo.add %a, %b : tensor<4xf32>
  return %c : tensor<4xf32>
}
"""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, iree_compile: str) -> bytes:
    """A real archive, a ZIP with external constants."""
    directory = tmp_path_factory.mktemp("model")
    source = directory / "add.mlir"
    source.write_text(MODEL)
    target = directory / "add.vmfb"
    flags = [
        "--iree-hal-target-device=local",
        "--iree-hal-local-target-device-backends=llvm-cpu",
        "--iree-llvmcpu-target-triple=wasm32-unknown-unknown",
        "--iree-llvmcpu-link-embedded=false",
    ]
    subprocess.run(
        [iree_compile, str(source), "-o", str(target), *flags], check=True, capture_output=True
    )
    return target.read_bytes()


def test_zip_container(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "add.vmfb"
    path.write_bytes(model)
    archive = open_archive(path)
    assert archive.module.name == "module"
    assert archive.byte_length == len(model)
    with zipfile.ZipFile(path) as file:
        kernels = next(name for name in file.namelist() if name.endswith(".wasm"))
        expected = file.read(kernels)
    assert expected in [bytes(segment) for segment in archive.rodata]
    assert all(segment.readonly for segment in archive.rodata)


def test_constants_are_views_of_the_input(model: bytes) -> None:
    archive = read_archive(model)
    assert {id(segment.obj) for segment in archive.rodata} == {id(model)}


def test_bare_flatbuffer(assemble: Assemble) -> None:
    archive = read_archive(assemble(TINY))
    assert archive.module.version == 7
    assert [bytes(segment) for segment in archive.rodata] == [b"\x01\x02\x03\x04\x05"]
    assert archive.module.imported_functions[0].is_optional


def test_debug_database_is_decoded_when_asked(model: bytes) -> None:
    database = read_archive(model).module.debug_database
    assert database is not None
    decoded = database()
    assert any(location and location.filename for location in decoded.location_table)
    assert "__init" in {source_map.local_name for source_map in decoded.functions}


@pytest.mark.parametrize(
    ("contents", "meaning"),
    [
        (b"", "the file is empty"),
        (b"\x7fELF\x02\x01\x01" + bytes(64), "ELF file"),
        (b"\0asm\x01\0\0\0" + bytes(64), "WebAssembly module"),
        (b"\x08\x07\x12\x07pytorch\x1a\x05" + bytes(64), "ONNX model"),
        (b"module {\n  func.func @main()\n}\n" + b" " * 32, "MLIR text"),
        (b"// a comment\nmodule {}" + b"\n" * 32, "MLIR text"),
        (b"ML\xefR" + bytes(64), "MLIR bytecode"),
        (b"\x1c\0\0\0TFL3" + bytes(64), "TensorFlow Lite"),
        (b"IRPA" + bytes(64), "parameter archive"),
        (b"GGUF" + bytes(64), "GGUF"),
        (b"\x40\0\0\0\0\0\0\0{" + b" " * 64, "safetensors"),
        (b"<html>" + b" " * 64, "text, beginning with '<html>"),
        (b"\x80\x04" + bytes(64), "first bytes are 80 04 00"),
        (b"short", "text, beginning with 'short'"),
    ],
)
def test_wrong_files_are_recognised(contents: bytes, meaning: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.bin"
    path.write_bytes(contents)
    with pytest.raises(ArchiveError, match=re.escape(meaning)) as caught:
        open_archive(path)
    assert str(path) in str(caught.value)


def test_other_zip_archives_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    for method, meaning in ((zipfile.ZIP_STORED, "not a vmfb"), (zipfile.ZIP_DEFLATED, "method 8")):
        with zipfile.ZipFile(path, "w", method) as file:
            file.writestr("hello.txt", b"hello " * 20)
        with pytest.raises(ArchiveError, match=meaning):
            open_archive(path)


def test_unreadable_paths(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="No such file"):
        open_archive(tmp_path / "missing.vmfb")
    with pytest.raises(ArchiveError, match="cannot be read"):
        open_archive(tmp_path)


def test_unknown_bytecode_version(assemble: Assemble) -> None:
    data = bytearray(assemble(TINY))
    place = data.index(struct.pack("<I", 17 << 16))
    for version, text in ((16 << 16, "16.0"), (18 << 16 | 5, "18.5"), (17 << 16 | 1, "17.1")):
        data[place : place + 4] = struct.pack("<I", version)
        with pytest.raises(BytecodeError, match=rf"{text} is not served.*17\.0.*3\.11 to 3\.13"):
            read_archive(bytes(data), file_name="future.vmfb")
    check_version(17 << 16)


def _damage(data: bytes) -> str | None:
    """Loads, generates and runs; the error's class name, None if all went well.

    Any exception that is not ours passes through and fails the test.
    """
    try:
        module = BytecodeModule.from_bytes(data)
        for function in module.verified.functions:
            module.code(function.ordinal)
        context = Context([module], max_host_bytes=1 << 20, instruction_budget=10_000)
        for export in context.functions.values():
            export(*[3 if kind in ("i", "I") else None for kind in _kinds(export)])
        context.close()
    except Error as error:
        return type(error).__name__
    return None


def _kinds(function: VmFunction) -> tuple[object, ...]:
    return function.calling_convention.arguments


def test_truncation_at_every_byte(model: bytes) -> None:
    # What follows the last constant is the ZIP directory, which is not read.
    archive = read_archive(model)
    end = max(model.index(bytes(segment)) + len(segment) for segment in archive.rodata)
    for length in range(end):
        with pytest.raises(ArchiveError):
            read_archive(model[:length])


def test_every_byte_damaged(assemble: Assemble) -> None:
    data = assemble(TINY)
    found = set()
    for position in range(len(data)):
        for value in (0x00, 0xFF, data[position] ^ 0x01, data[position] ^ 0x80):
            found.add(_damage(data[:position] + bytes([value]) + data[position + 1 :]))
    assert {None, "ArchiveError", "BytecodeError", "InvocationError"} <= found


def test_random_damage(model: bytes) -> None:
    rng = random.Random(3)
    head = model.index(b"\0asm")
    for _ in range(500):
        data = bytearray(model)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(head)] = rng.choice((0, 1, 4, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        _damage(bytes(data))


def test_bytes_of_zip_header_damaged(model: bytes) -> None:
    for position in range(80):
        for value in (0, 1, 8, 30, 127, 128, 254, 255):
            data = bytearray(model)
            data[position] = value
            _damage(bytes(data))


# Hand-made FlatBuffers, one defect each.

_LEAF = Table("Leaf", lambda **values: values, (TableField("text", STRING),))
_NODE = Table(
    "Node",
    lambda **values: values,
    (
        TableField("number", Scalar("i", 5)),
        TableField("bytes", BYTES),
        TableField("leaves", Vector(_LEAF)),
        TableField("name", STRING, required=True),
    ),
)


def _flatbuffer(**patches: int) -> bytearray:
    """identifier, vtable, a table with a number, a byte vector and a name."""
    body = bytearray(64)
    struct.pack_into("<I4s", body, 0, 20, b"TEST")
    struct.pack_into("<HHHHHH", body, 8, 12, 16, 4, 8, 0, 12)  # vtable: 4 fields
    struct.pack_into("<iiII", body, 20, 12, 77, 8, 16)  # table at 20, its vtable at 8
    struct.pack_into("<I3s", body, 36, 3, b"abc")  # bytes at 28 + 8
    struct.pack_into("<I3sB", body, 48, 3, b"joe", 0)  # name at 32 + 16
    for name, value in patches.items():
        struct.pack_into("<I", body, int(name.removeprefix("at")), value)
    return body


def test_hand_made_flatbuffer_decodes() -> None:
    data = bytes(_flatbuffer())
    assert decode(memoryview(data), _NODE, b"TEST") == {
        "number": 77,
        "bytes": b"abc",
        "leaves": (),
        "name": "joe",
    }


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        ({"at0": 1000}, "FlatBuffer ends at 64"),
        ({"at0": 22}, "not aligned to 4"),
        ({"at0": 0}, "offset is 0"),
        ({"at4": 0}, "identifier"),
        ({"at20": 1000}, "bytes needed"),
        ({"at20": 0xFFFFFF00}, "bytes needed"),
        ({"at20": 9}, "not aligned to 2"),
        ({"at8": 0x0010_0003}, "vtable of 3 bytes"),
        ({"at8": 0x0010_1000}, "4096 bytes needed"),
        ({"at8": 0x1000_000C}, "4096 bytes needed"),
        ({"at12": 0x0008_0010}, "field offset 16 outside"),
        ({"at12": 0x0008_0002}, "field offset 2 outside"),
        ({"at16": 0x0000_0000}, "required field of Node is absent"),
        ({"at28": 0}, "offset is 0"),
        ({"at28": 0xFFFFFFFF}, "bytes needed"),
        ({"at36": 0xFFFFFFFF}, "4294967295 bytes needed"),
        ({"at48": 60}, "60 bytes needed"),
        ({"at48": 2}, "terminating zero"),
        ({"at52": 0x0065_FF6A}, "not UTF-8"),
    ],
)
def test_flatbuffer_defects(patches: dict[str, int], message: str) -> None:
    data = memoryview(bytes(_flatbuffer(**patches)))
    with pytest.raises(ArchiveError, match=message):
        decode(data, _NODE, b"TEST")


def test_tables_that_share_a_vtable_are_checked_each() -> None:
    leaf = Table("Leaf", lambda **values: values, (TableField("number", Scalar("i")),))
    root = Table("Root", lambda **values: values, (TableField("leaves", Vector(leaf)),))
    data = bytearray(60)
    struct.pack_into("<I4s", data, 0, 16, b"TEST")
    struct.pack_into("<HHH", data, 8, 6, 8, 4)  # the root's vtable
    struct.pack_into("<iI", data, 16, 8, 4)  # the root at 16, its vector at 24
    struct.pack_into("<III", data, 24, 2, 16, 20)  # leaves at 44 and 52
    struct.pack_into("<HHH", data, 36, 6, 8, 4)  # the vtable of both
    struct.pack_into("<iiii", data, 44, 8, 11, 16, 22)
    decoded = decode(memoryview(bytes(data)), root, b"TEST")
    assert decoded == {"leaves": ({"number": 11}, {"number": 22})}
    with pytest.raises(ArchiveError, match=r"byte 52 \(leaves.\[1\]\): 8 bytes needed"):
        decode(memoryview(bytes(data[:56])), root, b"TEST")


def test_shared_subtrees_do_not_blow_up() -> None:
    # Each level's vector names the next level's table many times: 8 levels of 64 are 2**48 tables.
    fan_out = 64
    schema = _LEAF
    levels = 8
    for _ in range(levels):
        schema = Table("Level", lambda **v: v, (TableField("children", Vector(schema)),))
    table_length = 8 + 4 + 4 * fan_out
    data = bytearray(8 + 8 + (levels + 1) * table_length)
    struct.pack_into("<I4s", data, 0, 16, b"TEST")
    struct.pack_into("<HHH", data, 8, 6, 8, 4)
    for level in range(levels):
        start = 16 + level * table_length
        struct.pack_into("<iI", data, start, start - 8, 4)
        struct.pack_into("<I", data, start + 8, fan_out)
        for child in range(fan_out):
            place = start + 12 + 4 * child
            struct.pack_into("<I", data, place, start + table_length - place)
    last = 16 + levels * table_length
    struct.pack_into("<iI", data, last, last - 8, 0)
    with pytest.raises(ArchiveError, match=r"offset is 0|shared parts"):
        decode(memoryview(bytes(data)), schema, b"TEST")
    struct.pack_into("<I", data, last + 4, 4)  # the leaf's string: a count of 0
    with pytest.raises(ArchiveError, match="shared parts add up"):
        decode(memoryview(bytes(data)), schema, b"TEST")


def test_nesting_is_bounded() -> None:
    schema = _LEAF
    for _ in range(70):
        schema = Table("Level", lambda **v: v, (TableField("child", schema),))
    data = bytearray(16 + 8 * 80)
    struct.pack_into("<I4s", data, 0, 16, b"TEST")
    struct.pack_into("<HHH", data, 8, 6, 8, 4)
    for level in range(79):
        struct.pack_into("<iI", data, 16 + 8 * level, 8 + 8 * level, 4)
    with pytest.raises(ArchiveError, match="more than 64 levels"):
        decode(memoryview(bytes(data)), schema, b"TEST")
