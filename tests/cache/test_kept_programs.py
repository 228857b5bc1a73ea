"""What loads twice is compiled once: in this process, and in the next."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from counting_engine import CountingEngine

import iree_wasm_hal as iwh
from iree_wasm_hal.cache import sources
from iree_wasm_hal.cache.code_cache import CodeCache
from iree_wasm_hal.engine import Feature, MemoryType
from iree_wasm_hal.hal.programs import ProgramSource
from iree_wasm_hal.vm import archive as vm_archive
from iree_wasm_hal.vm import module as vm_module
from iree_wasm_hal.vm.verifier import VerifiedModule, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from iree_wasm_hal.engine import Engine, Program
    from iree_wasm_hal.vm.archive import Archive

ARCHIVES = Path(__file__).parents[1] / "runtime" / "archives"
A = np.arange(4, dtype=np.float32)
B = np.array([2, 3, 4, 5], np.float32)


def load_and_call(archive: Path, engine: Engine, cache: bool | CodeCache, **options: Any) -> None:
    """Loads, checks against numpy, and leaves nothing that lives."""
    with iwh.load(archive, engine=engine, cache=cache, **options) as module:
        np.testing.assert_array_equal(module.main(A, B), (A + B) * B)
    del module
    gc.collect()


def test_the_second_load_compiles_nothing(
    archive: Path, counting: CountingEngine, cache: CodeCache
) -> None:
    load_and_call(archive, counting, cache)
    assert (len(counting.compiled), len(counting.deserialized)) == (1, 0)
    assert cache.info().entries == {"kernels": 1, "host-programs": 1}
    load_and_call(archive, counting, cache)
    assert (len(counting.compiled), len(counting.deserialized)) == (1, 1)
    assert cache.info().entries == {"kernels": 1, "host-programs": 1}


def test_another_engine_object_finds_them(
    archive: Path, counting: CountingEngine, cache: CodeCache
) -> None:
    load_and_call(archive, counting, cache)
    with_options = {"memory_reservation_byte_length": 1 << 32}  # the default
    other = CountingEngine(iwh.open_engine("wasmtime", **with_options))
    load_and_call(archive, other, cache)
    assert (other.compiled, len(other.deserialized)) == ([], 1)
    other.close()


def test_what_an_image_depends_on_makes_another_entry(
    archive: Path, counting: CountingEngine, cache: CodeCache
) -> None:
    load_and_call(archive, counting, cache)
    load_and_call(archive, counting, cache, max_memory_bytes=64 << 20)
    load_and_call(archive, counting, cache, threads=2)
    counting.artifact_key = "another version"
    load_and_call(archive, counting, cache)
    assert (len(counting.compiled), len(counting.deserialized)) == (4, 0)
    assert cache.info().entries == {"kernels": 4, "host-programs": 1}


@pytest.mark.parametrize(
    "options",
    [
        {"memory_reservation_byte_length": 1 << 31},
        {"max_wasm_stack_byte_length": 1 << 19 | 1 << 16},
    ],
)
def test_the_key_has_the_engines_options(engine: Engine, options: dict[str, int]) -> None:
    other = iwh.open_engine("wasmtime", **options)
    assert other.artifact_key != engine.artifact_key
    other.close()


def test_no_cache_keeps_nothing(archive: Path, counting: CountingEngine, cache: CodeCache) -> None:
    before = _user_entries()
    load_and_call(archive, counting, False)
    load_and_call(archive, counting, False)
    assert (len(counting.compiled), len(counting.deserialized)) == (2, 0)
    assert _user_entries() == before
    assert not cache.folder.exists()


def test_an_engine_without_a_key_is_never_kept(
    archive: Path, counting: CountingEngine, cache: CodeCache
) -> None:
    counting.artifact_key = None
    load_and_call(archive, counting, cache)
    load_and_call(archive, counting, cache)
    assert len(counting.compiled) == 2
    assert cache.info().entries == {"host-programs": 1}


@pytest.mark.parametrize("refusal", [iwh.WasmCompileError, iwh.EngineError])
def test_an_image_that_the_engine_refuses_is_replaced(
    archive: Path, counting: CountingEngine, cache: CodeCache, refusal: type[iwh.Error]
) -> None:
    load_and_call(archive, counting, cache)
    counting.refusal = refusal
    load_and_call(archive, counting, cache)
    assert (len(counting.compiled), len(counting.deserialized)) == (2, 1)
    counting.refusal = None
    load_and_call(archive, counting, cache)
    assert (len(counting.compiled), len(counting.deserialized)) == (2, 2)


def test_a_program_without_an_image_runs(
    archive: Path, counting: CountingEngine, cache: CodeCache
) -> None:
    counting.gives_none = True
    load_and_call(archive, counting, cache)
    load_and_call(archive, counting, cache)
    assert (len(counting.compiled), len(counting.deserialized)) == (2, 0)


def test_damaged_entries_are_compiled_anew(
    archive: Path, counting: CountingEngine, cache: CodeCache
) -> None:
    load_and_call(archive, counting, cache)
    for file in cache.folder.iterdir():
        contents = bytearray(file.read_bytes())
        contents[-1] ^= 1
        file.write_bytes(contents)
    load_and_call(archive, counting, cache)
    assert (len(counting.compiled), len(counting.deserialized)) == (2, 0)
    load_and_call(archive, counting, cache)
    assert (len(counting.compiled), len(counting.deserialized)) == (2, 1)


def test_a_kept_program_is_not_verified_again(
    archive: Path, engine: Engine, cache: CodeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = []

    def verify_and_count(one: Archive) -> VerifiedModule:
        verified.append(one)
        return verify(one)

    monkeypatch.setattr(vm_module, "verify", verify_and_count)
    load_and_call(archive, engine, cache)
    assert len(verified) == 1
    load_and_call(archive, engine, cache)
    assert len(verified) == 1
    kept = iwh.BytecodeModule.from_bytes(archive.read_bytes(), cache=cache)
    assert len(kept.verified.functions) == len(kept.interface.functions), "where it is asked for"
    assert len(verified) == 2


def plain(value: Any) -> object:
    """What can be compared: tables by their fields, views by their bytes."""
    if dataclasses.is_dataclass(value) and not callable(value):
        return [plain(getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    if isinstance(value, memoryview):
        return value.tobytes()
    if callable(value):
        return plain(value())
    return None if type(value) is object else value


@pytest.mark.parametrize("release", ["3.11", "3.12", "3.13"])
def test_a_kept_definition_is_the_decoded_one(
    release: str, cache: CodeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (ARCHIVES / f"model-{release}.vmfb").read_bytes()
    decoded = iwh.BytecodeModule.from_bytes(data, cache=cache).archive
    assert decoded.module.debug_database is not None
    monkeypatch.setattr(vm_archive, "decode", None)
    copy = bytes(bytearray(data))
    kept = iwh.BytecodeModule.from_bytes(copy, cache=cache).archive
    assert plain(kept.module) == plain(decoded.module)
    assert plain(kept.rodata) == plain(decoded.rodata)
    for view in (kept.module.bytecode_data, *kept.rodata):
        assert view is not None
        assert view.obj is copy
        assert view.readonly


def test_a_changed_program_is_verified(archive: Path, engine: Engine, cache: CodeCache) -> None:
    """A bit of its bytecode: what was said of the other program does not hold for this one."""
    load_and_call(archive, engine, cache)
    data = bytearray(archive.read_bytes())
    module = iwh.BytecodeModule.from_bytes(bytes(data))
    code = module.archive.module.bytecode_data
    assert code is not None
    start = data.index(bytes(code))
    data[start] ^= 0xFF  # the first opcode: the block marker that every function begins with
    with pytest.raises(iwh.BytecodeError):
        iwh.load(bytes(data), engine=engine, cache=cache)


def test_devices_share_what_lives(archive: Path, counting: CountingEngine) -> None:
    first = iwh.load(archive, engine=counting, cache=False)
    second = iwh.load(archive, engine=counting, cache=False)
    assert len(counting.compiled) == 1
    first.close()
    del first
    np.testing.assert_array_equal(second.main(A, B), (A + B) * B)
    third = iwh.load(archive, engine=counting, cache=False)
    assert len(counting.compiled) == 1
    second.close()
    third.close()
    del second, third
    gc.collect()
    load_and_call(archive, counting, False)
    assert len(counting.compiled) == 2, "a program lives as long as a module that uses it"


def test_threads_that_load_at_once_compile_once(
    archive: Path, engine: Engine, cache: CodeCache
) -> None:
    class Slow(CountingEngine):
        """Compiles when all threads are there."""

        def compile(self, wasm: bytes) -> Program:
            arrived.wait(20)
            return super().compile(wasm)

    arrived = threading.Event()
    slow = Slow(engine)
    modules: list[iwh.Module] = []

    def load() -> None:
        modules.append(iwh.load(archive, engine=slow, cache=cache))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    arrived.set()
    for thread in threads:
        thread.join(60)
    assert len(modules) == 4
    assert (len(slow.compiled), len(slow.deserialized)) == (1, 0)
    for module in modules:
        np.testing.assert_array_equal(module.main(A, B), (A + B) * B)
        module.close()


def test_loading_while_it_compiles_does_not_wait_for_itself(archive: Path, engine: Engine) -> None:
    class Loading(CountingEngine):
        """Loads the same program from inside the compilation, as an observer might."""

        def compile(self, wasm: bytes) -> Program:
            program = super().compile(wasm)
            if len(self.compiled) == 1:
                load_and_call(archive, self, False)
            return program

    load_and_call(archive, Loading(engine), False)


@pytest.mark.parametrize("features", [frozenset(), frozenset({Feature.BULK_MEMORY})])
def test_features_are_checked_of_what_was_kept(
    archive: Path,
    counting: CountingEngine,
    cache: CodeCache,
    compile_kernel: Callable[[], bytes],
    features: frozenset[Feature],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dataclasses import replace

    memory = MemoryType(40, 400)
    kernel = compile_kernel()
    ProgramSource(counting, memory, atomics=False, cache=cache).kernels(kernel, "it")
    info = replace(counting.info, features=features)
    monkeypatch.setattr(CountingEngine, "info", info)
    source = ProgramSource(counting, memory, atomics=False, cache=cache)
    with pytest.raises(iwh.IncompatibleTargetError, match=r"it .*simd128"):
        source.kernels(kernel, "it")


@pytest.fixture
def compile_kernel(archive: Path) -> Callable[[], bytes]:
    def kernel() -> bytes:
        rodata = iwh.BytecodeModule.from_bytes(archive.read_bytes()).archive.rodata
        return next(bytes(one) for one in rodata if bytes(one[:4]) == b"\0asm")

    return kernel


_LOAD = """
import gc, json, resource, sys
if sys.argv[3]:
    sys.path.insert(0, sys.argv[3])
    sys.meta_path = [one for one in sys.meta_path if "editable" not in repr(one)]
import numpy, iree_wasm_hal as iwh
limit = json.loads(sys.argv[2])
if limit is not None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
with iwh.load(sys.argv[1]) as module:
    a = numpy.arange(4, dtype=numpy.float32)
    print(json.dumps(numpy.asarray(module.main(a, a)).tolist()))
del module
gc.collect()
"""


def run(
    archive: Path, folder: Path, limit: int | None = None, library: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"IREE_WASM_HAL_CACHE_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, str(archive), json.dumps(limit), str(library or "")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ((A + A) * A).tolist()
    return done


def test_the_next_process_finds_them(archive: Path, tmp_path: Path) -> None:
    cache = CodeCache(tmp_path / "cache")
    assert run(archive, cache.folder).stderr == ""
    files = {file.name: file.stat().st_ino for file in cache.folder.iterdir()}
    assert len(files) == 3
    assert run(archive, cache.folder).stderr == ""
    assert {file.name: file.stat().st_ino for file in cache.folder.iterdir()} == files


@pytest.mark.parametrize("limit", [0, 16, 1000])
def test_files_that_cannot_grow_are_one_warning(archive: Path, tmp_path: Path, limit: int) -> None:
    """As on a full disk: nothing of the size of an entry can be written."""
    cache = CodeCache(tmp_path / "cache")
    told = run(archive, cache.folder, limit).stderr.splitlines()
    assert len(told) == 1
    assert "takes no entries" in told[0]
    assert cache.info().entries == {}
    assert run(archive, cache.folder).stderr == ""
    assert cache.info().entries == {"kernels": 1, "host-programs": 1}


def test_a_package_without_files_is_one_warning(archive: Path, tmp_path: Path) -> None:
    """As in a zip archive that Python imports from."""
    package = Path(iwh.__file__).parent
    library = tmp_path / "library.zip"
    with zipfile.ZipFile(library, "w") as file:
        for one in package.rglob("*.py"):
            file.write(one, one.relative_to(package.parent))
    told = run(archive, tmp_path / "cache", library=library).stderr.splitlines()
    assert len(told) == 1
    assert "in no folder" in told[0]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("folder", ["cache", "engine", "vm", "wasm"])
def test_other_code_of_the_same_size_and_time_has_another_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    package = Path(iwh.__file__).parent
    for one in ("cache", "engine", "vm", "wasm"):
        shutil.copytree(package / one, tmp_path / one, ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(sources, "_PACKAGE", str(tmp_path))
    before = sources._digest()
    assert before == sources._IDENTITY, "where it lies says nothing"
    file = next((tmp_path / folder).glob("*.py"))
    status = file.stat()
    contents = bytearray(file.read_bytes())
    contents[5] ^= 1
    file.write_bytes(contents)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert sources._digest() != before


def _user_entries() -> dict[str, int]:
    return CodeCache(os.environ["IREE_WASM_HAL_CACHE_DIR"]).info().entries


def test_tests_do_not_use_the_users_own_cache() -> None:
    assert "iree-wasm-hal-tests-" in os.environ["IREE_WASM_HAL_CACHE_DIR"]
