"""What is particular to this plugin's library: finding, checking and measuring it; its options."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from iree_wasm_hal_wasm3 import calibration, library
from wasmtime import wat2wasm

from iree_wasm_hal.engine import MemoryType, TrapKind, open_engine
from iree_wasm_hal.errors import EngineError, EngineUnavailableError, TrapError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iree_wasm_hal.engine import Engine

_COUNTING_RECURSION = """(module (import "env" "memory" (memory 1))
  (global $depth (mut i32) (i32.const 0))
  (func $down (export "down")
    (global.set $depth (i32.add (global.get $depth) (i32.const 1))) (call $down))
  (func (export "depth") (result i32) (global.get $depth)))"""


@pytest.fixture
def fresh_library() -> Iterator[None]:
    """Lets the next engine look for the library, and measure it, again."""
    library.load_library.cache_clear()
    calibration.calibrate.cache_clear()
    yield
    library.load_library.cache_clear()
    calibration.calibrate.cache_clear()


def _recursion_depth(engine: Engine) -> int:
    """Calls until the stack is exhausted."""
    program = engine.compile(bytes(wat2wasm(_COUNTING_RECURSION)))
    counting = engine.instantiate(program, engine.create_memory(MemoryType(1, 1)))
    with pytest.raises(TrapError) as caught:
        counting.function("down")()
    assert caught.value.kind == TrapKind.STACK_EXHAUSTED
    return counting.function("depth")() or 0


def test_library_is_the_extension_module() -> None:
    engine = open_engine("wasm3")
    assert engine.info.version == metadata.version("pywasm3")
    assert Path(engine.info.library_path).name.startswith("wasm3.")


def test_the_python_module_is_not_imported() -> None:
    code = (
        "import sys; from iree_wasm_hal.engine import open_engine; open_engine('wasm3'); "
        "print('wasm3' in sys.modules, 'ctypes' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "False"


@pytest.mark.usefixtures("fresh_library")
@pytest.mark.parametrize("version", ["0.4.9", "0.5.1"])
def test_other_versions_are_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _name: version)
    with pytest.raises(EngineUnavailableError, match=rf"has version {version}.*0\.5\.0.*pip"):
        library.load_library()


@pytest.mark.usefixtures("fresh_library")
def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    with pytest.raises(EngineUnavailableError, match=r"'pywasm3' is not installed.*pip install"):
        library.load_library()


@pytest.mark.usefixtures("fresh_library")
@pytest.mark.parametrize(("attribute", "value"), [("platform", "win32"), ("byteorder", "big")])
def test_other_platforms_are_refused(
    monkeypatch: pytest.MonkeyPatch, attribute: str, value: str
) -> None:
    monkeypatch.setattr(f"sys.{attribute}", value)
    with pytest.raises(EngineUnavailableError, match="not supported on"):
        library.load_library()


@pytest.mark.usefixtures("fresh_library")
def test_absent_module_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EngineUnavailableError, match=r"has no module 'wasm3'.*pip"):
        library.load_library()


@pytest.mark.usefixtures("fresh_library")
def test_unreadable_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    junk = tmp_path / "wasm3.so"
    junk.write_bytes(b"not a library")
    monkeypatch.setattr(library, "_find_library", lambda: str(junk))
    with pytest.raises(EngineUnavailableError, match=r"wasm3.so cannot be opened: .*pip"):
        library.load_library()


@pytest.mark.usefixtures("fresh_library")
def test_library_without_the_functions_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import _cffi_backend

    monkeypatch.setattr(library, "_find_library", lambda: _cffi_backend.__file__)
    with pytest.raises(EngineUnavailableError, match=r"lacks .*m3_NewRuntime.*pip"):
        library.load_library()


@pytest.mark.usefixtures("fresh_library")
def test_build_without_jumps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a build would measure whose instructions all stay on the native stack."""
    measured = {1: [9000, 8800], 2: [9000, 8600], 3: [9000, 9000 - 96 * 40]}
    monkeypatch.setattr(calibration, "_stack_pointers", lambda _library, index: measured[index])
    with pytest.raises(EngineUnavailableError, match=r"without sibling-call optimization.*pip"):
        open_engine("wasm3")


@pytest.mark.usefixtures("fresh_library")
def test_more_expensive_builds_get_smaller_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = _recursion_depth(open_engine("wasm3"))
    calibration.calibrate.cache_clear()
    measured = {1: [90_000, 88_000], 2: [90_000, 87_000], 3: [9000, 9000]}
    monkeypatch.setattr(calibration, "_stack_pointers", lambda _library, index: measured[index])
    assert _recursion_depth(open_engine("wasm3")) < usual / 8


def test_probe_is_assembled_from_its_text() -> None:
    assert bytes(wat2wasm(calibration.PROBE_TEXT)) == calibration.PROBE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_native_stack_byte_length", 1024),
        ("max_native_stack_byte_length", "1 MiB"),
        ("max_value_stack_byte_length", True),
        ("max_value_stack_byte_length", 2**31),
    ],
)
def test_bad_option_values_are_refused(name: str, value: object) -> None:
    with pytest.raises(EngineError, match=rf"option '{name}' is {value!r}; expected bytes"):
        open_engine("wasm3", **{name: value})


@pytest.mark.parametrize("option", ["max_native_stack_byte_length", "max_value_stack_byte_length"])
def test_stack_options_take_effect(option: str) -> None:
    def depth(byte_length: int) -> int:
        return _recursion_depth(open_engine("wasm3", **{option: byte_length}))

    small = 64 * 1024 if option == "max_native_stack_byte_length" else 4096
    assert 3 < depth(4 * small) / depth(small) < 5
