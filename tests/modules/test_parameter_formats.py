"""Parameter archives against IREE's own ParameterIndex and the safetensors package."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import iree.runtime as rt
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from iree_wasm_hal.errors import InvocationError, ParameterError
from iree_wasm_hal.vm.modules.io_parameters.index import DataEntry, Parameter, SplatEntry
from iree_wasm_hal.vm.modules.io_parameters.source import open_parameters, parse_archive

ARRAYS: dict[str, npt.NDArray[Any]] = {
    "weight": np.arange(35, dtype=np.float32).reshape(5, 7),
    "bias/é": np.arange(3, dtype=np.int64),
    "empty": np.zeros((0, 4), np.float16),
    "flag": np.array([True, False, True]),
}


def iree_archive(directory: Path) -> Path:
    index = rt.ParameterIndex()
    for key, array in ARRAYS.items():
        index.add_buffer(key, array.tobytes())
    index.add_splat("splat4", b"\x01\x02\x03\x04", 64)
    index.add_splat("splat1", b"\x7f", 5)
    path = directory / "a.irpa"
    index.create_archive_file(str(path))
    return path


def contents(path: Path) -> dict[str, bytes]:
    index = rt.ParameterIndex()
    index.load(str(path))
    return {
        key: entry.splat_pattern * (entry.length // len(entry.splat_pattern))
        if entry.is_splat
        else bytes(entry.file_view)
        for key, entry in index.items()
    }


def ours(path: Path) -> dict[str, bytes]:
    (index,) = open_parameters({"scope": path}).values()
    return {key: read(parameter) for key, parameter in index.parameters.items()}


def read(parameter: Parameter) -> bytes:
    entry = parameter.entry
    if isinstance(entry, SplatEntry):
        return entry.pattern * (entry.byte_length // len(entry.pattern))
    target = bytearray(entry.byte_length)
    parameter.file.read_into(entry.byte_offset, memoryview(target))
    return bytes(target)


def test_irpa_equals_ireees_own_reading(tmp_path: Path) -> None:
    path = iree_archive(tmp_path)
    assert ours(path) == contents(path)
    (index,) = open_parameters({"": path}).values()
    assert index.parameters["splat4"].entry == SplatEntry(b"\x01\x02\x03\x04", 64)


def test_safetensors_equals_what_the_package_wrote(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(ARRAYS, path, metadata={"a": "b"})
    assert ours(path) == {key: array.tobytes() for key, array in ARRAYS.items()}
    assert ours(path) == contents(path)


def gguf_file(version: int = 3, alignment: int | None = 64) -> bytes:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    pairs = [
        text(b"names") + struct.pack("<IIQ", 9, 8, 2) + text(b"x") + text(b"yy"),
        text(b"numbers") + struct.pack("<IIQ", 9, 5, 3) + bytes(12),
        text(b"half") + struct.pack("<If", 6, 0.5),
    ]
    if alignment is not None:
        pairs.append(text(b"general.alignment") + struct.pack("<II", 4, alignment))
    tensors = [
        text(b"w") + struct.pack("<IQQIQ", 2, 7, 5, 0, 0),
        text(b"q8") + struct.pack("<IQIQ", 1, 64, 8, 192),
    ]
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    head += b"".join(pairs + tensors)
    head += bytes(-len(head) % (alignment or 32))
    return head + ARRAYS["weight"].tobytes().ljust(192, b"\0") + bytes(range(68))


@pytest.mark.parametrize(("version", "alignment"), [(3, 64), (3, None), (2, 32)])
def test_gguf_equals_irees_own_reading(tmp_path: Path, version: int, alignment: int | None) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf_file(version, alignment))
    assert ours(path) == contents(path)
    assert set(ours(path)) == {"w", "q8"}


def test_archives_of_one_scope_complete_each_other(tmp_path: Path) -> None:
    first = iree_archive(tmp_path)
    second = {"extra": np.arange(4, dtype=np.int8)}
    (index,) = open_parameters({"model": [first, second]}).values()
    assert index.parameters["extra"].entry.byte_length == 4
    with pytest.raises(ParameterError, match=r"scope 'model': key 'weight' is in a numpy array"):
        open_parameters({"model": [first, {"weight": ARRAYS["weight"]}]})


def test_linked_archives_are_one(tmp_path: Path) -> None:
    single = iree_archive(tmp_path).read_bytes()
    single += bytes(-len(single) % 16)
    linked = bytearray(single)
    linked[16:24] = struct.pack("<Q", len(single))
    other = rt.ParameterIndex()
    other.add_buffer("other", b"1234")
    other.create_archive_file(str(tmp_path / "b.irpa"))
    data = bytes(linked) + (tmp_path / "b.irpa").read_bytes()
    entries = parse_archive(memoryview(data), "linked")
    assert set(entries) == {*ARRAYS, "splat4", "splat1", "other"}
    entry = entries["other"]
    assert isinstance(entry, DataEntry)
    assert data[entry.byte_offset : entry.byte_offset + entry.byte_length] == b"1234"


def test_arrays_are_served_in_place() -> None:
    array = np.zeros(4, np.float32)
    (index,) = open_parameters({"": {"w": array}}).values()
    array[1] = 1
    assert read(index.parameters["w"]) == array.tobytes()
    with pytest.raises(ParameterError, match="must be C-contiguous"):
        open_parameters({"": {"w": np.zeros((2, 3)).T}})


def safetensors(header: object, body: bytes = b"", raw: bytes | None = None) -> bytes:
    text = json.dumps(header).encode() if raw is None else raw
    return struct.pack("<Q", len(text)) + text + body


def tensor(begin: int, end: int, shape: object = None, dtype: object = "U8") -> dict[str, object]:
    return {
        "dtype": dtype,
        "shape": [end - begin] if shape is None else shape,
        "data_offsets": [begin, end],
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (safetensors({"a": tensor(0, 4)}, bytes(5)), "cover 4 of 5 bytes"),
        (safetensors({"a": tensor(0, 4)}, bytes(3)), "expected 4 bytes within 3"),
        (safetensors({"a": tensor(0, 4), "b": tensor(3, 6)}, bytes(6)), "neither overlap"),
        (safetensors({"a": tensor(0, 4), "b": tensor(5, 6)}, bytes(6)), "nor leave holes"),
        (safetensors({"a": tensor(0, 4, [2, 3])}, bytes(4)), "expected 6 bytes"),
        (safetensors({"a": tensor(0, 4, dtype="F13")}, bytes(4)), "unknown dtype 'F13'"),
        (safetensors({"a": tensor(0, 4, dtype=[])}, bytes(4)), "unknown dtype"),
        (safetensors({"a": tensor(0, 4, [-4])}, bytes(4)), "lists of sizes"),
        (safetensors({"a": tensor(0, 4, [True, 4])}, bytes(4)), "lists of sizes"),
        (safetensors({"a": tensor(0, 4, [1] * 65)}, bytes(4)), "lists of sizes"),
        (safetensors({"a": 1}, bytes(4)), "needs exactly dtype, shape and data_offsets"),
        (safetensors(0, raw=b'{"a": {}, "a": {}}'), "key 'a' occurs twice"),
        (safetensors(0, raw=b'{"a": 1.5}'), "1.5 where an integer is expected"),
        (safetensors(0, raw=b'{"a": NaN}'), "NaN where an integer is expected"),
        (safetensors(0, raw=b'{"a": ' + b"[" * 100_000), "damaged safetensors header"),
        (safetensors(0, raw=b'{"\xff": 1}'), "damaged safetensors header"),
        (struct.pack("<Q", 100_000_001) + b"{", "header of 100000001 bytes"),
        (struct.pack("<Q", 50) + b"{}", "header of 50 bytes"),
        (b"", "expected an IREE parameter archive"),
        (b"PK\3\4" + bytes(20), "begin with b'PK"),
    ],
)
def test_damaged_safetensors_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parse_archive(memoryview(data), "x.safetensors")


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (4, b"\1\0", "archive version 1.0 is unknown"),
        (6, b"\1\0", "archive version 0.1 is unknown"),
        (8, struct.pack("<Q", 87), "header at byte 0 says 87 bytes"),
        (16, struct.pack("<Q", 2**63), "runs past the end of the file"),
        (32, struct.pack("<Q", 2**40), "runs past the end of the table"),
        (40, struct.pack("<QQ", 0, 2**64 - 1), "entry table at bytes 0 to"),
        (56, struct.pack("<QQ", 2**64 - 1, 9), "metadata segment"),
        (72, struct.pack("<QQ", 8, 2**62), "storage segment"),
        (96, struct.pack("<Q", 59), "entry 0 says 59 bytes"),
        (96 + 8, struct.pack("<I", 3), "never followed"),
        (96 + 8, struct.pack("<I", 9), "unknown type 9"),
        (96 + 60, struct.pack("<QQ", 2**64 - 1, 2), "data of entry 0"),
    ],
)
def test_damaged_irpa_is_refused(tmp_path: Path, offset: int, value: bytes, message: str) -> None:
    data = patched(iree_archive(tmp_path).read_bytes(), offset, value)
    with pytest.raises(ParameterError, match=message):
        parse_archive(memoryview(data), "x.irpa")


@given(st.data())
def test_mutated_archives_never_raise_anything_else(data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(SEEDS))
    mutant = bytearray(seed[: data.draw(st.integers(4, len(seed)))])
    for _ in range(data.draw(st.integers(0, 4))):
        mutant[data.draw(st.integers(0, len(mutant) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ParameterError):
        parse_archive(memoryview(bytes(mutant)), "mutant")


def test_a_file_cut_short_after_opening_is_an_error(tmp_path: Path) -> None:
    path = iree_archive(tmp_path)
    (index,) = open_parameters({"": path}).values()
    os.truncate(path, 64)
    with pytest.raises(InvocationError, match="the file ends at byte"):
        read(index.parameters["weight"])


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, message in [
        (tmp_path / "fifo", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (tmp_path, "not a regular file"),
        (tmp_path / "nothing", "cannot be opened: No such file"),
    ]:
        with pytest.raises(ParameterError, match=message):
            open_parameters({"": path})
    with pytest.raises(ParameterError, match="expected a path, bytes or a dict"):
        open_parameters({"": [3]})  # type: ignore[list-item]


def _irpa_seed() -> bytes:
    name = b"key"
    data = struct.pack("<QIQQQQQQQQ", 76, 2, 0, 0, len(name), 0, 0, 0, 0, 4)
    table = data.ljust(80, b"\0") + struct.pack("<QIQQQQQQQ", 85, 1, 0, 1, 2, 0, 0, 0, 8)
    table += (b"\1\2".ljust(16, b"\0")) + b"\2"
    head = struct.pack("<4sHHQQQ", b"IRPA", 0, 0, 88, 0, 0)
    ends = 88 + len(table)
    head += struct.pack("<QQQQQQQ", 2, 88, len(table), ends, 3, ends + 3, 4)
    return head + table + name + b"data"


SEEDS = [_irpa_seed(), gguf_file(), safetensors({"a": tensor(0, 4)}, bytes(4))]


def test_every_seed_is_valid() -> None:
    for seed in SEEDS:
        parse_archive(memoryview(seed), "seed")
