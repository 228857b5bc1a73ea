"""V8 and the process: finding and opening the library, its flags, signals, exit and fork."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from iree_wasm_hal_v8 import library

from iree_wasm_hal.engine import open_engine
from iree_wasm_hal.errors import EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPEN = "from iree_wasm_hal.engine import MemoryType, open_engine; engine = open_engine('v8')\n"
_INSTANTIATE = (
    "from iree_wasm_hal.engine.conformance.suite import load_module\n"
    "memory = engine.create_memory(MemoryType(1, 16))\n"
    "instance = engine.instantiate(engine.compile(load_module('loops')), memory)\n"
)


def _run(code: str) -> str:
    """What a process prints that must end by itself, and well."""
    # Python 3.12 warns of every fork of a process with threads, which is what one test does.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.strip()


@pytest.fixture
def fresh_library() -> Iterator[None]:
    """Lets the next engine look for the library again."""
    library._load.cache_clear()
    yield
    library._load.cache_clear()


@pytest.mark.usefixtures("fresh_library")
@pytest.mark.parametrize("version", ["0.12.4", "0.140.0", "1.0"])
def test_other_series_are_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _name: version)
    with pytest.raises(EngineUnavailableError, match=rf"has version {version}.*0.14.*pip install"):
        open_engine("v8")


@pytest.mark.usefixtures("fresh_library")
def test_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    with pytest.raises(EngineUnavailableError, match=r"'mini-racer' is not installed.*pip install"):
        open_engine("v8")


@pytest.mark.usefixtures("fresh_library")
@pytest.mark.parametrize(("attribute", "value"), [("platform", "sunos5"), ("byteorder", "big")])
def test_other_platforms_are_refused(
    monkeypatch: pytest.MonkeyPatch, attribute: str, value: str
) -> None:
    monkeypatch.setattr(f"sys.{attribute}", value)
    with pytest.raises(EngineUnavailableError, match="no support for"):
        library.load_library()


@pytest.mark.usefixtures("fresh_library")
def test_absent_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EngineUnavailableError, match=r"the package has no libmini_racer"):
        open_engine("v8")


@pytest.mark.usefixtures("fresh_library")
def test_unreadable_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    junk = tmp_path / "libmini_racer.so"
    junk.write_bytes(b"not a library")
    monkeypatch.setattr(library, "_find_files", lambda: (junk, tmp_path / "icudtl.dat"))
    with pytest.raises(EngineUnavailableError, match=r"libmini_racer.so cannot be opened: .*pip"):
        open_engine("v8")


@pytest.mark.usefixtures("fresh_library")
def test_library_without_the_functions_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import _cffi_backend

    other = Path(_cffi_backend.__file__)
    monkeypatch.setattr(library, "_find_files", lambda: (other, other))
    with pytest.raises(EngineUnavailableError, match=r"lacks .*mr_init_v8.*pip"):
        open_engine("v8")


@pytest.mark.usefixtures("fresh_library")
@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (resource.RLIMIT_AS, r"limited to 68719476736 bytes of address space; .*ulimit -v"),
        (resource.RLIMIT_STACK, r"limited to 524288 bytes of stack; .*ulimit -s"),
    ],
)
def test_limits_that_v8_does_not_survive_are_refused(
    monkeypatch: pytest.MonkeyPatch, limit: int, message: str
) -> None:
    values = {resource.RLIMIT_AS: 64 * 1024**3, resource.RLIMIT_STACK: 512 * 1024}

    def getrlimit(which: int) -> tuple[int, int]:
        return (values[which] if which == limit else resource.RLIM_INFINITY, 0)

    monkeypatch.setattr("resource.getrlimit", getrlimit)
    with pytest.raises(EngineUnavailableError, match=message):
        open_engine("v8")


def test_wheels_python_package_is_not_imported() -> None:
    assert _run(f"{_OPEN}import sys; print('py_mini_racer' in sys.modules)") == "False"


# A MiniRacer that is not closed can hang mini-racer's own Python half at exit, with or without us.


def test_flags_of_another_user_are_refused() -> None:
    code = (
        "import py_mini_racer; racer = py_mini_racer.MiniRacer()\n"
        "from iree_wasm_hal.engine import open_engine\n"
        "from iree_wasm_hal.errors import EngineUnavailableError\n"
        "try:\n    open_engine('v8')\n"
        "except EngineUnavailableError as error:\n    print(error)\n"
        "print(racer.eval('40 + 2')); racer.close()"
    )
    refusal, answer = _run(code).splitlines()
    assert "another user of mini-racer" in refusal
    assert f"py_mini_racer.init_mini_racer(flags={library.V8_FLAGS!r})" in refusal
    assert answer == "42"


def test_our_flags_given_by_another_user_do() -> None:
    code = (
        "import py_mini_racer\n"
        f"py_mini_racer.init_mini_racer(flags={library.V8_FLAGS!r})\n"
        f"racer = py_mini_racer.MiniRacer(); {_OPEN}"
        "print(racer.eval('40 + 2'), engine.info.name); racer.close()"
    )
    assert _run(code) == "42 v8"


def test_mini_racer_works_after_us() -> None:
    code = (
        f"{_OPEN}import py_mini_racer\n"
        "with py_mini_racer.MiniRacer() as racer:\n    print(racer.eval('40 + 2'))"
    )
    assert _run(code) == "42"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads thread names in /proc")
def test_the_optimising_compiler_has_its_threads() -> None:
    code = (
        f"{_OPEN}from pathlib import Path\n"
        "print(*[path.read_text() for path in Path('/proc/self/task').glob('*/comm')])"
    )
    assert "V8 DefaultWorke" in _run(code)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc/self/status")
def test_v8_installs_no_signal_handlers() -> None:
    code = (
        "from pathlib import Path\n"
        "def caught():\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return int(next(line for line in lines if 'SigCgt' in line).split()[1], 16)\n"
        "import faulthandler; faulthandler.enable(); before = caught()\n"
        f"{_OPEN}{_INSTANTIATE}instance.function('spin')(0, 10)\n"
        "print(before == caught() & 0xFFFFFFFF | before & ~0xFFFFFFFF)"
    )
    assert _run(code) == "True"


def test_exit_with_everything_open() -> None:
    assert _run(f"{_OPEN}{_INSTANTIATE}engine.self = engine; print('done')") == "done"


def test_exit_during_a_call() -> None:
    code = (
        f"{_OPEN}{_INSTANTIATE}import threading\n"
        "spin_forever, view = instance.function('spin_forever'), memory.view()\n"
        "threading.Thread(target=spin_forever, args=(0,), daemon=True).start()\n"
        "while not view[0]: pass\n"
        "print('done')"
    )
    assert _run(code) == "done"


def test_forked_child_is_refused_and_ends() -> None:
    code = (
        f"{_OPEN}{_INSTANTIATE}import gc, os\n"
        "from iree_wasm_hal.errors import EngineError, EngineUnavailableError\n"
        "spin = instance.function('spin')\n"
        "def refused(use, kind):\n"
        "    try:\n        use()\n"
        "    except kind as error:\n        return 'forked' in str(error)\n"
        "if os.fork() == 0:\n"
        "    uses = [lambda: spin(0, 1), lambda: memory.grow(1), lambda: memory.view()[0]]\n"
        "    uses += [lambda: engine.compile(load_module('loops'))]\n"
        "    uses += [lambda: engine.create_memory(MemoryType(1, 1))]\n"
        "    print([refused(use, EngineError) for use in uses], flush=True)\n"
        "    print(refused(lambda: open_engine('v8'), EngineUnavailableError), flush=True)\n"
        "    instance.close(); memory.close(); engine.close(); del spin; gc.collect()\n"
        "else:\n"
        "    print(os.wait()[1], spin(0, 1) is not None)"
    )
    assert _run(code).splitlines() == ["[True, True, None, True, True]", "True", "0 True"]
