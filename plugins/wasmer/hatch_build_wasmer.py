"""Builds the native library with cargo, and puts it into the package.

A build from the repository takes the engine's sources from ``engines/wasmer``; one from an sdist,
from the copy in ``engine``.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, NoReturn

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_CRATE = "iree_wasm_hal_wasmer"
_SUFFIXES = {"linux": ".so", "darwin": ".dylib"}
_RUSTUP = "install Rust with rustup, https://rustup.rs"
_UNSET = ("RUSTC", "RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR")


class NativeLibraryHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's generic config
    """Builds the library for wheels and for editable installs; an sdist carries its sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds the library into ``lib`` and tags the wheel with the platform."""
        del version
        if self.target_name != "wheel":
            return
        suffix = _SUFFIXES.get(sys.platform)
        if suffix is None:
            _fail(f"its library is built for Linux and macOS only, and this is {sys.platform}")
        root = Path(self.root)
        repository_copy = root.parents[1] / "engines" / "wasmer"
        source = repository_copy if repository_copy.is_dir() else root / "engine"
        name = f"lib{_CRATE}{suffix}"
        library = _build(source) / name
        folder = root / _CRATE / "lib"
        folder.mkdir(exist_ok=True)
        # Replaced by rename: a process that has the old one open keeps it.
        fresh = folder / f"{name}.new"
        shutil.copy2(library, fresh)
        fresh.replace(folder / name)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform_tag()}"
        build_data["force_include"][str(folder / name)] = f"{_CRATE}/lib/{name}"


def _build(source: Path) -> Path:
    """Runs cargo; returns the folder of the library."""
    cargo = _cargo()
    _check_rust_version(cargo, source / "Cargo.toml")
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        _fail("a C compiler (Rust's linker) is missing; Debian: apt-get install build-essential")
    target = source / "target"
    command = [cargo, "build", "--release", "--target-dir", str(target)]
    environment = {name: value for name, value in os.environ.items() if name not in _UNSET}
    done = subprocess.run(
        command,
        cwd=source,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        _fail(f"{' '.join(command)!r} failed with exit status {done.returncode} (see above)")
    return target / "release"


def _cargo() -> str:
    cargo = shutil.which("cargo") or shutil.which(str(Path.home() / ".cargo/bin/cargo"))
    if cargo is None:
        _fail(f"cargo is missing; {_RUSTUP}")
    return cargo


def _check_rust_version(cargo: str, manifest: Path) -> None:
    """Ends the build with one sentence where cargo would end it after many."""
    required = re.search(r'^rust-version = "([\d.]+)"', manifest.read_text(), re.MULTILINE)
    done = subprocess.run([cargo, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"cargo (\d+\.\d+)", done.stdout)
    if done.returncode or not found:
        _fail(f"'{cargo} --version' failed: {done.stderr.strip() or done.stdout.strip()}")
    if required and _numbers(found[1]) < _numbers(required[1]):
        _fail(f"cargo is {found[1]}, and Wasmer needs {required[1]} or newer; {_RUSTUP}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _platform_tag() -> str:
    if sys.platform.startswith("linux"):
        return f"linux_{platform.machine()}"
    return re.sub(r"[-.]", "_", sysconfig.get_platform())


def _fail(reason: str) -> NoReturn:
    sys.exit(f"iree-wasm-hal-wasmer cannot be built: {reason}.")
