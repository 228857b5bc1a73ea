"""Builds the native library that the plugin opens, and puts it into the package.

A build from the repository takes the engine's sources from ``engines/wamr``; one from an sdist,
from the copy in ``engine``.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = "libiree_wasm_hal_wamr.so"
_SIMDE = Path("/usr/include/simde/wasm/simd128.h")


class NativeLibraryHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's generic config
    """Builds the library for wheels and for editable installs; an sdist carries its sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds ``lib/libiree_wasm_hal_wamr.so`` and tags the wheel with the platform."""
        del version
        if self.target_name != "wheel":
            return
        _check_tools()
        root = Path(self.root)
        repository_copy = root.parents[1] / "engines" / "wamr"
        source = repository_copy if repository_copy.is_dir() else root / "engine"
        library = _build(source)
        folder = root / "iree_wasm_hal_wamr" / "lib"
        folder.mkdir(exist_ok=True)
        # Replaced by rename: a process that has the old one open keeps it.
        fresh = folder / f"{LIBRARY}.new"
        shutil.copy2(library, fresh)
        fresh.replace(folder / LIBRARY)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sys.platform}_{platform.machine()}"
        build_data["force_include"][str(folder / LIBRARY)] = f"iree_wasm_hal_wamr/lib/{LIBRARY}"


def _check_tools() -> None:
    """Ends the build with one sentence if something that it needs is not there."""
    if not sys.platform.startswith("linux"):
        _fail(f"its library is built for Linux only, and this is {sys.platform}")
    if not any(map(shutil.which, ("cargo", str(Path.home() / ".cargo/bin/cargo")))):
        _fail("cargo is missing (WAMR's sources are a crate); install Rust from https://rustup.rs")
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        _fail("a C compiler is missing; Debian: apt-get install build-essential")
    if not shutil.which("cmake"):
        _fail("cmake is missing; Debian: apt-get install cmake")
    if not _SIMDE.is_file():
        _fail("SIMDe's headers are missing; Debian: apt-get install libsimde-dev")


def _build(source: Path) -> Path:
    build = source / "build"
    configure = ["cmake", "-S", str(source), "-B", str(build)]
    for command in (configure, ["cmake", "--build", str(build), "--parallel"]):
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            print(done.stdout, file=sys.stderr)
            _fail(f"{' '.join(command)!r} failed with exit status {done.returncode} (see above)")
    return build / LIBRARY


def _fail(reason: str) -> None:
    sys.exit(f"iree-wasm-hal-wamr cannot be built: {reason}.")
