"""Builds and installs the engines that this machine can have, into the environment that runs this.

Four plugins need more than Python packages: ``jsc`` a system library, ``wamr``, ``wamr-aot`` and
``wasmer`` a native build. For each, system packages that are missing come from ``apt-get`` where
this process may call it; then the plugin is installed, which builds its engine. One that cannot be
had is named with what is missing and keeps none of the others from being installed.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Need:
    """Something that must be on the machine: what it is, whether it is, and who brings it.

    Of several Debian packages, which are older from one to the next, the first that is to be had.
    """

    name: str
    present: Callable[[], bool]
    debian_packages: tuple[str, ...] = ()
    otherwise: str = ""


def _tool(name: str, debian_package: str) -> Need:
    return Need(name, lambda: shutil.which(name) is not None, (debian_package,))


def _static_library(name: str, debian_package: str) -> Need:
    folders = (f"/usr/lib/{platform.machine()}-linux-gnu", "/usr/lib64", "/usr/lib")
    present = [Path(folder, f"lib{name}.a").exists for folder in folders]
    return Need(f"lib{name}.a", lambda: any(one() for one in present), (debian_package,))


def _has_llvm() -> bool:
    """Whether what engines/wamr/aot_compiler/llvm.cmake looks for is here."""
    folders = [Path(f"/usr/lib/llvm-{version}") for version in (22, 21, 20, 19)]
    files = ("bin/llvm-config", "lib/libLLVMX86CodeGen.a", "include/llvm-c/Core.h")
    return any(all((folder / file).exists() for file in files) for folder in folders)


def _opens(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _answers(tool: str) -> bool:
    """Whether a tool runs: rustup's cargo is there and fails where no toolchain is installed."""
    path = shutil.which(tool)
    command = [path or tool, "--version"]
    return bool(path) and subprocess.run(command, capture_output=True, check=False).returncode == 0


_CARGO = Need("cargo", lambda: _answers("cargo"), (), "Rust 1.95 or newer, from rustup")
_COMPILER = _tool("cc", "build-essential")
_X86_64 = Need("an x86-64 CPU", lambda: platform.machine() == "x86_64", (), "it is for no other")
_SIMDE = Path("/usr/include/simde/wasm/simd128.h")
_JSC = "libjavascriptcoregtk-4.1.so.0"

NEEDS: dict[str, tuple[Need, ...]] = {
    "jsc": (Need(_JSC, lambda: _opens(_JSC), ("libjavascriptcoregtk-4.1-0",)),),
    "wamr": (
        _CARGO,  # WAMR's sources are a crate
        _COMPILER,
        _tool("cmake", "cmake"),
        Need("SIMDe's headers", _SIMDE.exists, ("libsimde-dev",)),
    ),
    "wamr-aot": (
        _X86_64,
        _CARGO,
        _COMPILER,
        _tool("c++", "build-essential"),
        _tool("cmake", "cmake"),
        Need("LLVM 22 (or 19, without widening)", _has_llvm, ("llvm-22-dev", "llvm-19-dev")),
        _static_library("z", "zlib1g-dev"),
        _static_library("zstd", "libzstd-dev"),
    ),
    "wasmer": (_CARGO, _COMPILER),
}

STEPS = {
    "jsc": "installing",
    "wamr": "building",
    "wamr-aot": "building, which takes a minute",
    "wasmer": "building, which takes minutes",
}


def main() -> int:
    """Installs each engine named on the command line, or all; 1 if one could not be had."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="ENGINE", help=f"of {', '.join(NEEDS)}")
    parser.add_argument(
        "--keep-going", action="store_true", help="exit with 0 even if an engine cannot be had"
    )
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(NEEDS))
    if unknown:
        parser.error(f"nothing to build for {', '.join(unknown)}; known: {', '.join(NEEDS)}")
    failures = [name for name in arguments.names or NEEDS if not _install(name)]
    return 0 if arguments.keep_going or not failures else 1


def _install(name: str) -> bool:
    """Installs one engine's plugin and says how it went in one line."""
    started = time.monotonic()
    _install_packages([need for need in NEEDS[name] if not need.present()])
    missing = [need for need in NEEDS[name] if not need.present()]
    if missing:
        listed = "; ".join(f"{need.name} ({_source(need)})" for need in missing)
        print(f"{name}: left out, this machine lacks {listed}", flush=True)
        return False
    print(f"{name}: {STEPS[name]}", flush=True)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--no-deps", "--editable", str(ROOT / "plugins" / name.replace("-", "_"))]
    if subprocess.run(command, check=False).returncode:
        print(f"{name}: left out, its build failed (see above)", flush=True)
        return False
    print(f"{name}: installed in {time.monotonic() - started:.0f} s", flush=True)
    return True


def _install_packages(needs: list[Need]) -> None:
    """Lets apt-get bring what is missing, where it may and nothing else is missing."""
    may = shutil.which("apt-get") is not None and os.geteuid() == 0
    if not needs or not may or not all(need.debian_packages for need in needs):
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    apt_get = ["apt-get", "--quiet=2"]
    subprocess.run([*apt_get, "update"], check=False, env=environment)
    packages = sorted({_to_be_had(need.debian_packages) for need in needs})
    print(f"installing {' '.join(packages)}", flush=True)
    install = [*apt_get, "install", "--yes", "--no-install-recommends", *packages]
    subprocess.run(install, check=False, env=environment)


def _to_be_had(packages: tuple[str, ...]) -> str:
    """The first package that apt can install, or else the first, which the user is told of."""
    for package in packages:
        command = ["apt-get", "--quiet=2", "--simulate", "install", package]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return package
    return packages[0]


def _source(need: Need) -> str:
    return f"apt-get install {need.debian_packages[0]}" if need.debian_packages else need.otherwise


if __name__ == "__main__":
    sys.exit(main())
