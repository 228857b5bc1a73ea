"""Which folders and files are believed to be ours."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iree_wasm_hal.cache.folder import TEMPORARY_PREFIX, NotOursError, open_folder

if TYPE_CHECKING:
    from collections.abc import Callable

STRANGER = 12345


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "cache"
    with open_folder(path, create=True):
        pass
    return path


@pytest.fixture
def pretend_user(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda user: monkeypatch.setattr(os, "geteuid", lambda: user)


def test_a_new_folder_is_for_its_user_alone(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    with open_folder(path) as folder:
        folder.write("one", [b"1", b"23"])
        assert folder.read("one", most=9) == b"123"
    assert stat.S_IMODE((path / "one").stat().st_mode) == 0o600
    assert [entry.name for entry in path.iterdir()] == ["one"]


def test_a_folder_is_not_made_to_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), open_folder(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o720, 0o777, 0o1777])
def test_a_folder_that_others_can_write_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(NotOursError, match=r"others can write in it \(mode .*chmod 700"):
        open_folder(path).__enter__()


def test_a_folder_that_others_can_read_is_taken(path: Path) -> None:
    path.chmod(0o755)
    with open_folder(path) as folder:
        assert folder.files() == []


def test_the_folder_of_somebody_else_is_refused(
    path: Path, pretend_user: Callable[[int], None]
) -> None:
    pretend_user(STRANGER)
    with pytest.raises(NotOursError, match=f"belongs to user .*, not to {STRANGER}"):
        open_folder(path).__enter__()


@pytest.mark.parametrize("create", [False, True])
def test_a_link_in_the_place_of_the_folder_is_refused(path: Path, create: bool) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(NotOursError, match="symbolic link"):
        open_folder(link, create=create).__enter__()


def test_a_file_in_the_place_of_the_folder_is_refused(path: Path) -> None:
    file = path.with_name("file")
    file.write_bytes(b"")
    with pytest.raises(NotOursError, match="no folder"):
        open_folder(file).__enter__()


def test_what_replaces_an_open_folder_is_not_read(path: Path) -> None:
    with open_folder(path) as folder:
        folder.write("one", [b"ours"])
        path.rename(path.with_name("moved"))
        path.mkdir(0o777)
        (path / "one").write_bytes(b"theirs")
        assert folder.read("one", most=9) == b"ours"


def _link(file: Path) -> None:
    target = file.with_name("target")
    file.rename(target)
    file.symlink_to(target)


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir(0o700)


@pytest.mark.parametrize(
    "change",
    [
        _link,
        _pipe,
        _folder,
        lambda file: file.chmod(0o620),
        lambda file: file.chmod(0o604),
        lambda file: file.chmod(0o660),
    ],
    ids=["link", "pipe", "folder", "group writes", "others read", "group"],
)
def test_files_that_are_not_ours_alone_are_not_read(
    path: Path, change: Callable[[Path], None]
) -> None:
    with open_folder(path) as folder:
        folder.write("one", [b"1"])
        change(path / "one")
        with pytest.raises(OSError) as caught:  # noqa: PT011  # which one depends on the change
            folder.read("one", most=9)
    assert isinstance(caught.value, NotOursError) or caught.value.errno == errno.ELOOP


def test_the_first_of_two_keeps_the_name(path: Path) -> None:
    with open_folder(path) as folder:
        folder.write("key", [b"first"], replace=False)
        folder.write("key", [b"second"], replace=False)
        assert folder.read("key", most=9) == b"first"
        assert [record.name for record in folder.files()] == ["key"]


def test_a_file_system_without_links(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with open_folder(path) as folder:
        folder.write("key", [b"only"], replace=False)
        assert folder.read("key", most=9) == b"only"
        assert [record.name for record in folder.files()] == ["key"]


def test_a_failed_write_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_folder(path) as folder:
        folder.write("one", [b"old"])
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            folder.write("one", [b"new"])
        assert folder.read("one", most=9) == b"old"
        assert not [r for r in folder.files() if r.name.startswith(TEMPORARY_PREFIX)]


def test_descriptors_are_given_back(path: Path) -> None:
    def opened() -> list[str]:
        """What is open in the folder: whatever else the process holds may change meanwhile."""
        found = []
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the one that lists them, and what ended since
                found.append(os.readlink(f"/proc/self/fd/{name}"))
        return [target for target in found if Path(target).is_relative_to(path)]

    for _ in range(20):
        with open_folder(path) as folder:
            folder.write("one", [b"1"])
            folder.read("one", most=9)
            folder.files()
        path.chmod(0o777)
        with pytest.raises(NotOursError):
            open_folder(path).__enter__()
        path.chmod(0o700)
    assert opened() == []
