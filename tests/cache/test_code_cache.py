"""Entries: given out exactly as they were put, or not at all."""

from __future__ import annotations

import errno
import logging
import os
import random
import struct
from typing import TYPE_CHECKING, Any

import pytest

import iree_wasm_hal as iwh
from iree_wasm_hal.cache import CodeCache, choose_cache, code_cache, settings
from iree_wasm_hal.cache.code_cache import DEFAULT_MAX_BYTES, key_of
from iree_wasm_hal.cache.folder import TEMPORARY_PREFIX, Folder, open_folder
from iree_wasm_hal.cache.sealing import SECRET_NAME, ensure_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = key_of("a key")
OTHER = key_of("another key")
PAYLOAD = random.Random(5).randbytes(5000)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CodeCache:
    monkeypatch.setattr(code_cache, "_TOLD", set())  # a warning is given once per process
    return CodeCache(tmp_path / "cache")


@pytest.fixture
def full(cache: CodeCache) -> CodeCache:
    cache.put("kind", KEY, [PAYLOAD[:7], memoryview(PAYLOAD)[7:]])
    cache.put("kind", OTHER, [b"other"])
    return cache


def got(cache: CodeCache, key: bytes) -> bytes | None:
    payload = cache.get("kind", key)
    return None if payload is None else b"".join(payload)


def entry(cache: CodeCache, key: bytes = KEY, kind: str = "kind") -> Path:
    return cache.folder / f"{kind}-{key.hex()}.iree-wasm-hal"


def test_an_entry_comes_back(full: CodeCache) -> None:
    assert got(full, KEY) == PAYLOAD
    assert got(CodeCache(full.folder), KEY) == PAYLOAD
    assert full.get("other", KEY) is None
    assert got(full, key_of("a third")) is None


@pytest.mark.parametrize("parts", [[], [b""], [b"", b"1", b""], [b"12", PAYLOAD, b"3"]])
def test_parts_come_back_as_they_were_put(cache: CodeCache, parts: list[bytes]) -> None:
    cache.put("kind", KEY, parts)
    assert cache.get("kind", KEY) == parts


def test_a_byte_does_not_move_to_the_next_part(full: CodeCache) -> None:
    sealed = bytearray(entry(full).read_bytes())
    assert struct.unpack_from("<3Q", sealed, 40) == (2, 7, len(PAYLOAD) - 7)
    struct.pack_into("<2Q", sealed, 48, 6, len(PAYLOAD) - 6)
    _overwrite(entry(full), bytes(sealed))
    assert full.get("kind", KEY) is None


def test_an_entry_is_replaced_and_removed(full: CodeCache) -> None:
    full.put("kind", KEY, [b"newer"])
    assert got(full, KEY) == b"newer"
    full.remove("kind", KEY)
    full.remove("kind", KEY)
    assert got(full, KEY) is None
    assert got(full, OTHER) == b"other"


def test_keys_tell_parts_apart() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of("ab") == key_of(b"ab") == key_of(memoryview(b"ab"))


def test_every_byte_of_an_entry_is_authenticated(full: CodeCache) -> None:
    sealed = entry(full).read_bytes()
    for position in [*range(80), *range(80, len(sealed), 97), len(sealed) - 1]:
        changed = bytearray(sealed)
        changed[position] ^= 1 << position % 8
        _overwrite(entry(full), bytes(changed))
        assert got(full, KEY) is None, position
        assert not entry(full).exists(), "a damaged entry is removed"
    _overwrite(entry(full), sealed)
    assert got(full, KEY) == PAYLOAD


@pytest.mark.parametrize(
    "damage",
    [
        lambda sealed: b"",
        lambda sealed: sealed[:20],
        lambda sealed: sealed[:40],
        lambda sealed: sealed[:-1],
        lambda sealed: sealed + b"\0",
        lambda sealed: bytes(len(sealed)),
        lambda sealed: sealed[:8] + sealed[40:],
    ],
)
def test_cut_and_padded_entries_are_removed(
    full: CodeCache, damage: Callable[[bytes], bytes]
) -> None:
    _overwrite(entry(full), damage(entry(full).read_bytes()))
    assert got(full, KEY) is None
    assert not entry(full).exists()


def test_an_entry_under_another_name_is_refused(full: CodeCache) -> None:
    entry(full).replace(entry(full, OTHER))
    assert got(full, OTHER) is None
    full.put("kind", KEY, [PAYLOAD])
    entry(full).replace(entry(full, KEY, "kinds"))
    assert full.get("kinds", KEY) is None


def test_an_entry_of_another_folder_is_refused(full: CodeCache, tmp_path: Path) -> None:
    other = CodeCache(tmp_path / "other")
    other.put("kind", key_of("x"), [b"x"])  # it has a key of its own
    entry(full).replace(entry(other))
    assert got(other, KEY) is None


@pytest.mark.parametrize("secret", [b"", b"short", bytes(33)])
def test_half_a_secret_is_replaced(full: CodeCache, secret: bytes) -> None:
    _overwrite(full.folder / SECRET_NAME, secret)
    assert got(full, KEY) is None
    full.put("kind", KEY, [PAYLOAD])
    assert got(full, KEY) == PAYLOAD


def test_the_secret_of_the_first_is_kept(cache: CodeCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process makes one after this one has found none."""
    read = Folder.read
    first = b"1" * 32

    def read_too_early(folder: Folder, name: str, **options: Any) -> bytes:
        try:
            return read(folder, name, **options)
        except FileNotFoundError:
            folder.write(name, [first], replace=False)
            raise

    monkeypatch.setattr(Folder, "read", read_too_early)
    with open_folder(cache.folder, create=True) as folder:
        assert ensure_secret(folder) == first


@pytest.mark.parametrize("which", ["entry", "key"])
def test_a_file_of_a_wrong_size_is_not_read(full: CodeCache, which: str) -> None:
    """Sparse, and larger than any memory."""
    os.truncate(entry(full) if which == "entry" else full.folder / SECRET_NAME, 1 << 42)
    assert got(full, KEY) is None
    full.put("kind", KEY, [PAYLOAD])
    assert got(full, KEY) == PAYLOAD


def test_without_the_secret_nothing_is_believed(full: CodeCache) -> None:
    (full.folder / SECRET_NAME).unlink()
    assert got(full, KEY) is None
    full.put("kind", OTHER, [b"new"])
    assert got(full, OTHER) == b"new"


def test_a_deleted_folder_is_made_again(full: CodeCache) -> None:
    for file in full.folder.iterdir():
        file.unlink()
    full.folder.rmdir()
    assert got(full, KEY) is None
    assert full.info().cause is None
    full.put("kind", KEY, [PAYLOAD])
    assert got(full, KEY) == PAYLOAD


def test_what_was_used_longest_ago_goes_first(cache: CodeCache) -> None:
    cache.max_bytes = 4000
    keys = [key_of(str(index)) for index in range(3)]
    for age, key in enumerate(keys):
        cache.put("kind", key, [bytes(1000)])
        os.utime(entry(cache, key), (1000 + age, 1000 + age))
    assert got(cache, keys[0]) is not None  # used now
    cache.put("kind", KEY, [bytes(1500)])
    kept = [key for key in [*keys, KEY] if got(cache, key) is not None]
    assert kept == [keys[0], keys[2], KEY]
    assert cache.info().byte_length <= 4000


def test_what_is_larger_than_the_cache_is_not_kept(cache: CodeCache) -> None:
    cache.max_bytes = 4000
    cache.put("kind", OTHER, [b"other"])
    cache.put("kind", KEY, [bytes(4001)])
    assert got(cache, KEY) is None
    assert got(cache, OTHER) == b"other"


def test_what_killed_processes_left_goes(full: CodeCache) -> None:
    old, new = (full.folder / f"{TEMPORARY_PREFIX}{digit * 16}" for digit in "01")
    for file in (old, new):
        file.touch(0o600)
    os.utime(old, (1000, 1000))
    full.put("kind", KEY, [PAYLOAD])
    assert not old.exists()
    assert new.exists(), "its process may still write it"
    full.clear()
    assert [file.name for file in full.folder.iterdir()] == [SECRET_NAME]


def test_files_of_others_stay(full: CodeCache) -> None:
    files = [
        full.folder / name
        for name in ("key", "thesis.tex", "a-b", KEY.hex(), f"layer-{KEY.hex()}", ".profile")
    ]
    for file in files:
        file.write_bytes(b"x" * 100)
        os.utime(file, (1000, 1000))
    before = full.info().byte_length
    CodeCache(full.folder, max_bytes=before).put("kind", OTHER, [PAYLOAD])
    assert full.clear()[0] == 1
    assert all(file.read_bytes() == b"x" * 100 for file in files)


def test_info_and_clear(full: CodeCache) -> None:
    full.put("second", KEY, [b"2"])
    os.utime(entry(full), (2000, 2000))
    files = [file for file in full.folder.iterdir() if file.name != SECRET_NAME]
    info = full.info()
    assert info.entries == {"kind": 2, "second": 1}
    assert info.byte_length == sum(file.stat().st_size for file in files)
    assert (info.folder, info.max_byte_length) == (str(full.folder), DEFAULT_MAX_BYTES)
    assert (info.oldest_use_s, info.cause) == (2000, None)
    assert full.clear() == (3, info.byte_length)
    assert full.clear() == (0, 0)
    assert full.info().entries == {}
    full.put("kind", KEY, [PAYLOAD])
    assert got(full, KEY) == PAYLOAD


def test_a_cache_that_is_not_there_is_empty(cache: CodeCache) -> None:
    assert got(cache, KEY) is None
    assert cache.clear() == (0, 0)
    assert cache.info().entries == {}
    cache.remove("kind", KEY)
    assert not cache.folder.exists()


@pytest.mark.parametrize("which", ["folder", "key"])
def test_what_others_can_write_is_off_with_one_warning(
    full: CodeCache, caplog: pytest.LogCaptureFixture, which: str
) -> None:
    spoiled = full.folder if which == "folder" else full.folder / SECRET_NAME
    mode = spoiled.stat().st_mode
    spoiled.chmod(0o777)
    for _ in range(3):
        assert got(full, KEY) is None
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert str(full.folder) in told[0]
    full.put("kind", KEY, [b"new"])
    assert full.info().cause is not None
    spoiled.chmod(mode)
    assert got(full, KEY) == PAYLOAD, "nothing was written, nothing removed"


def test_an_entry_that_others_can_write_is_removed(full: CodeCache) -> None:
    entry(full).chmod(0o666)
    assert got(full, KEY) is None
    assert not entry(full).exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    cache = CodeCache(tmp_path / "file" / "cache")
    for _ in range(2):
        cache.put("kind", KEY, [b"1"])
    assert got(cache, KEY) is None
    assert [record.levelno for record in caplog.records].count(logging.WARNING) in {1, 2}


_CALLS = ("open", "read", "fsync", "rename", "link", "unlink", "mkdir", "scandir", "fstat", "utime")


class Failing:
    """System calls of which one fails, the nth."""

    def __init__(self, nth: int, code: int) -> None:
        self.left = nth
        self.code = code

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def fail(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise OSError(self.code, os.strerror(self.code))
            return call(*arguments, **options)

        return fail


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_any_failing_system_call_is_as_if_there_were_no_cache(
    cache: CodeCache, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Fails the first call, then the second, until a round has no more."""
    for nth in range(1, 100):
        cache.clear()
        (cache.folder / SECRET_NAME).unlink(missing_ok=True)
        failing = Failing(nth, code)
        with monkeypatch.context() as patched:
            for name in _CALLS:
                patched.setattr(os, name, failing.wrap(getattr(os, name)))
            patched.setattr(code_cache, "is_supported", lambda: True)  # it asks for functions
            cache.put("kind", KEY, [PAYLOAD])
            found = got(cache, KEY)
        assert found is None or found == PAYLOAD
        assert got(cache, KEY) in (None, PAYLOAD)
        if failing.left > 0:
            assert found == PAYLOAD
            break
    assert 15 < nth < 99, "the calls were not replaced, or there is no end"


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IREE_WASM_HAL_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("IREE_WASM_HAL_NO_CACHE", raising=False)
    chosen = choose_cache(True)
    assert chosen is not None
    assert (chosen.folder, chosen.max_bytes) == (tmp_path, DEFAULT_MAX_BYTES)
    assert choose_cache(False) is None
    assert choose_cache(chosen) is chosen
    for value in ("0", ""):
        monkeypatch.setenv("IREE_WASM_HAL_NO_CACHE", value)
        assert choose_cache(True) is not None
    monkeypatch.setenv("IREE_WASM_HAL_NO_CACHE", "1")
    assert choose_cache(True) is None
    assert choose_cache(chosen) is chosen, "who names a cache gets it"
    monkeypatch.delenv("IREE_WASM_HAL_NO_CACHE")
    monkeypatch.setenv("IREE_WASM_HAL_CACHE_MAX_BYTES", "12345")
    assert choose_cache(True).max_bytes == 12345  # type: ignore[union-attr]  # shown above
    monkeypatch.setenv("IREE_WASM_HAL_CACHE_MAX_BYTES", "12 MB")
    assert choose_cache(True).max_bytes == DEFAULT_MAX_BYTES  # type: ignore[union-attr]
    monkeypatch.delenv("IREE_WASM_HAL_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    settings._user_folder.cache_clear()
    try:
        assert choose_cache(True).folder == tmp_path / "user" / "iree-wasm-hal"  # type: ignore[union-attr]
    finally:
        settings._user_folder.cache_clear()


def test_arguments(tmp_path: Path) -> None:
    with pytest.raises(iwh.ArgumentError, match="max_bytes is -1"):
        CodeCache(tmp_path, max_bytes=-1)
    with pytest.raises(iwh.ArgumentError, match="cache is 'yes'"):
        choose_cache("yes")  # type: ignore[arg-type]  # what is tested
    assert iwh.CodeCache is CodeCache


def _overwrite(path: Path, contents: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(contents)


@pytest.fixture
def chosen_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """The folder of the cache that is used where the variable has a value."""
    monkeypatch.delenv("IREE_WASM_HAL_NO_CACHE", raising=False)
    settings._folder.cache_clear()

    def choose(value: str) -> Path:
        monkeypatch.setenv("IREE_WASM_HAL_CACHE_DIR", value)
        cache = choose_cache(True)
        assert cache is not None
        return cache.folder

    yield choose
    settings._folder.cache_clear()


def test_a_tilde_is_the_home_directory(
    chosen_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert chosen_folder("~/models/cache") == tmp_path / "home" / "models" / "cache"


def test_a_relative_folder_stays_where_it_is(
    chosen_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path)
    assert chosen_folder("a/../near") == tmp_path / "near"
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert chosen_folder("a/../near") == tmp_path / "near"
    assert chosen_folder("far").name == "iree-wasm-hal", "the user's own: there is no other"
