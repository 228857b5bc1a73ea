"""The cache of compiled code on a full disk, damaged, and killed while it is written.

Whatever happens, programs load and compute what numpy says, and the next process that nothing
happens to leaves a cache that the one after it uses.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from available_engines import engine_names
from hammer_programs import check, programs

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iree_wasm_hal.engine import Engine

CHILD = Path(__file__).with_name("load_with_cache.py")
SPIN = 1
MOST_OPERATIONS = 200
UNFINISHED = ".iree-wasm-hal-unfinished-"
ENGINES = [name for name in ("wasmtime", "wasmer", "wamr-aot") if name in engine_names()]
TO_A_FULL_DISK = ["unshare", "--map-root-user", "--mount"]


def load(folder: Path, *fault: object, before: str = "") -> dict[str, Any]:
    """Loads and calls a program in a child process; what it says, and how it was killed."""
    archive = programs()[SPIN].archive
    command = [sys.executable, str(CHILD), "wasmtime", str(archive), str(folder), *map(str, fault)]
    if before:
        command = [*TO_A_FULL_DISK, "sh", "-c", f'{before} && exec "$@"', "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode < 0:
        return {"signal": -done.returncode}
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def check_recovers(folder: Path, case: object) -> None:
    """Checks that the cache takes entries, and gives them to the next process."""
    assert not load(folder)["warnings"], case
    assert load(folder) == {"compiled": 0, "warnings": []}, case


def test_a_warm_load_compiles_nothing(tmp_path: Path) -> None:
    """What the other tests rest on."""
    assert load(tmp_path / "cache")["compiled"] == 1
    assert load(tmp_path / "cache")["compiled"] == 0


@pytest.mark.parametrize("byte_length", [0, 20, 5000])
def test_no_room_for_files(tmp_path: Path, byte_length: int) -> None:
    """The secret, the first entry, or a part of it do not fit."""
    folder = tmp_path / "cache"
    outcome = load(folder, "full", byte_length)
    assert outcome["compiled"] == 1
    assert any("takes no entries: File too large" in one for one in outcome["warnings"]), outcome
    assert not [path.name for path in folder.iterdir() if path.name.startswith(UNFINISHED)]
    check_recovers(folder, byte_length)


def test_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    mount = f"mount -t tmpfs -o size=8k,mode=700 none {folder}"
    allowed = subprocess.run(
        [*TO_A_FULL_DISK, "sh", "-c", mount], capture_output=True, text=True, check=False
    )
    if allowed.returncode:
        pytest.skip(f"no file system of its own for a test here: {allowed.stderr.strip()}")
    outcome = load(folder, before=mount)
    assert outcome["compiled"] == 1
    assert any("No space left on device" in one for one in outcome["warnings"]), outcome
    check_recovers(folder, "full")


@pytest.mark.parametrize("byte_length", [0, 7, 31, 100, 9000])
def test_killed_in_the_middle_of_a_write(tmp_path: Path, byte_length: int) -> None:
    folder = tmp_path / "cache"
    assert load(folder, "cut", byte_length) == {"signal": signal.SIGXFSZ}
    check_recovers(folder, byte_length)


def test_killed_before_any_file_operation(tmp_path: Path) -> None:
    killed = load(tmp_path, "kill", MOST_OPERATIONS)["killed"]
    assert 10 < killed < MOST_OPERATIONS


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _data: b"",
    "half": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + b"\0",
    "zeros": lambda data: bytes(len(data)),
    "first byte": lambda data: flip(data, 0),
    "last byte": lambda data: flip(data, len(data) - 1),
    **{
        f"byte {number}": lambda data, number=number: flip(  # type: ignore[misc]
            data, random.Random(number).randrange(len(data))
        )
        for number in range(6)
    },
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    opened = iwh.open_engine(request.param)
    assert Feature.SERIALIZE in opened.info.features
    yield opened
    opened.close()


def test_damaged_entries_are_not_believed(engine: Engine, tmp_path: Path) -> None:
    """No byte of them reaches the engine, and what is right stands in their place afterwards."""
    program = programs()[SPIN]
    images: list[bytes] = []
    deserialize = engine.deserialize

    def watched(image: bytes) -> object:
        images.append(bytes(image))
        return deserialize(image)

    engine.deserialize = watched  # type: ignore[method-assign,assignment]

    def load_and_call() -> None:
        with iwh.load(program.archive, engine=engine, cache=iwh.CodeCache(tmp_path)) as module:
            for case in program.cases:
                check(case, module[case.function](*case.arguments))

    load_and_call()
    load_and_call()
    right = {path: path.read_bytes() for path in tmp_path.iterdir()}
    (image,) = set(images)
    for name, damage in DAMAGES.items():
        for path, data in right.items():
            path.write_bytes(damage(data))
        load_and_call()
        assert set(images) == {image}, name
        used = len(images)
        load_and_call()
        assert len(images) == used + 1, f"{name}: the cache does not work again"
        for path, data in right.items():
            path.write_bytes(data)


def test_entries_in_each_others_place_are_not_believed(tmp_path: Path) -> None:
    archives = [program.archive for program in programs()[:2]]
    cache = iwh.CodeCache(tmp_path)
    engine = iwh.open_engine("wasmtime")
    for archive in archives:
        iwh.load(archive, engine=engine, cache=cache).close()
    kernels = [path for path in tmp_path.iterdir() if path.name.startswith("kernels-")]
    contents = [path.read_bytes() for path in kernels]
    for path, data in zip(kernels, reversed(contents), strict=True):
        path.write_bytes(data)
    for program in programs()[:2]:
        with iwh.load(program.archive, engine=engine, cache=cache) as module:
            for case in program.cases:
                check(case, module[case.function](*case.arguments))
    assert sorted(path.read_bytes() for path in kernels) == sorted(contents)
    engine.close()
