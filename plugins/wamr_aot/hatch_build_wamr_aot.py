"""Builds the native libraries that the plugin opens, and puts them into the package.

A build from the repository takes the engine's sources from ``engines/wamr``; one from an sdist,
from the copy in ``engine``.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

RUNTIME = "libiree_wasm_hal_wamr_aot.so"
COMPILER = "libiree_wasm_hal_wamr_aotc.so"
RECORD = "compiler.json"
_PACKAGE = "iree_wasm_hal_wamr_aot"
_DEBIAN = "Debian: apt-get install"
_LLVM_FILES = ("bin/llvm-config", "lib/libLLVMX86CodeGen.a", "include/llvm-c/Core.h")
_LLVM_VERSIONS = (22, 21, 20, 19)  # those that engines/wamr/aot_compiler/llvm.cmake takes
# In a process of its own: the library stays in the one that opens it.
_ASK = """
import ctypes, json, sys
library = ctypes.CDLL(sys.argv[1])
library.iwh_aotc_llvm_version.restype = ctypes.c_char_p
library.iwh_aotc_can_widen.restype = ctypes.c_bool
version = library.iwh_aotc_llvm_version().decode()
print(json.dumps({"llvm_version": version, "can_widen": library.iwh_aotc_can_widen()}))
"""


class NativeLibraryHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's generic config
    """Builds the libraries for wheels and for editable installs; an sdist carries their sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds the libraries into ``lib`` and tags the wheel with the platform."""
        if self.target_name != "wheel":
            return
        _check_tools()
        root = Path(self.root)
        repository_copy = root.parents[1] / "engines" / "wamr"
        source = repository_copy if repository_copy.is_dir() else root / "engine"
        build = _build(source)
        folder = root / _PACKAGE / "lib"
        folder.mkdir(exist_ok=True)
        for name in (RUNTIME, COMPILER):
            # Replaced by rename: a process that has the old one open keeps it.
            fresh = folder / f"{name}.new"
            shutil.copy2(build / name, fresh)
            fresh.replace(folder / name)
        (folder / RECORD).write_text(_describe(folder / COMPILER))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sys.platform}_{platform.machine()}"
        if version == "editable":  # which finds them where they are
            return
        for name in (RUNTIME, COMPILER, RECORD):
            build_data["force_include"][str(folder / name)] = f"{_PACKAGE}/lib/{name}"


def _check_tools() -> None:
    """Ends the build with one sentence if something that it needs is not there."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        where = f"{platform.machine()} {sys.platform}"
        _fail(f"its libraries are built for x86-64 Linux only, and this is {where}")
    if not any(map(shutil.which, ("cargo", str(Path.home() / ".cargo/bin/cargo")))):
        _fail("cargo is missing (WAMR's sources are a crate); install Rust from https://rustup.rs")
    for tool, names in {
        "a C compiler": ("cc", "gcc", "clang"),
        "a C++ compiler": ("c++", "g++", "clang++"),
    }.items():
        if not any(map(shutil.which, names)):
            _fail(f"{tool} is missing; {_DEBIAN} build-essential")
    if not shutil.which("cmake"):
        _fail(f"cmake is missing; {_DEBIAN} cmake")
    if not any(map(_has_llvm, _LLVM_VERSIONS)):
        _fail(
            "LLVM is missing; "
            f"{_DEBIAN} llvm-22-dev zlib1g-dev libzstd-dev (or llvm-19-dev, without widening)"
        )


def _has_llvm(version: int) -> bool:
    """Whether Debian's static libraries and headers of a version are here."""
    folder = Path(f"/usr/lib/llvm-{version}")
    return all(map(Path.is_file, (folder / name for name in _LLVM_FILES)))


def _build(source: Path) -> Path:
    build = source / "build-aot"
    configure = ["cmake", "-S", str(source), "-B", str(build)]
    configure.append("-DPARTS=aot_runtime;aot_compiler")
    jobs = str(len(os.sched_getaffinity(0)))
    for command in (configure, ["cmake", "--build", str(build), "--parallel", jobs]):
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            print(done.stdout, file=sys.stderr)
            _fail(f"{' '.join(command)!r} failed with exit status {done.returncode} (see above)")
    return build


def _describe(compiler: Path) -> str:
    """What the plugin must know of the compiler before it opens it, as JSON."""
    command = [sys.executable, "-c", _ASK, str(compiler)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        _fail(f"{compiler.name} does not open: {done.stderr.strip()}")
    return done.stdout


def _fail(reason: str) -> NoReturn:
    sys.exit(f"iree-wasm-hal-wamr-aot cannot be built: {reason}.")
