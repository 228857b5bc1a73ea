"""Builds and installs the engines that this machine can have, into the environment that runs this.

Three plugins need more than Python packages: ``jsc`` a system library, ``wamr`` and ``wasmer`` a
native build. For each, system packages that are missing come from ``apt-get`` where this process
may call it; then the plugin is installed, which builds its engine. One that cannot be had is named
with what is missing and keeps none of the others from being installed.
"""

from __future__ import annotations

import argparse
import ctypes
import os
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
    """Something that must be on the machine: what it is, whether it is, and who brings it."""

    name: str
    present: Callable[[], bool]
    debian_package: str | None = None
    otherwise: str = ""


def _tool(name: str, debian_package: str | None, otherwise: str = "") -> Need:
    return Need(name, lambda: shutil.which(name) is not None, debian_package, otherwise)


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


_CARGO = Need("cargo", lambda: _answers("cargo"), None, "Rust 1.95 or newer, from rustup")
_COMPILER = _tool("cc", "build-essential")
_SIMDE = Path("/usr/include/simde/wasm/simd128.h")
_JSC = "libjavascriptcoregtk-4.1.so.0"

NEEDS: dict[str, tuple[Need, ...]] = {
    "jsc": (Need(_JSC, lambda: _opens(_JSC), "libjavascriptcoregtk-4.1-0"),),
    "wamr": (
        _CARGO,  # WAMR's sources are a crate
        _COMPILER,
        _tool("cmake", "cmake"),
        Need("SIMDe's headers", _SIMDE.exists, "libsimde-dev"),
    ),
    "wasmer": (_CARGO, _COMPILER),
}

STEPS = {"jsc": "installing", "wamr": "building", "wasmer": "building, which takes minutes"}


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
    command += ["--no-deps", "--editable", str(ROOT / "plugins" / name)]
    if subprocess.run(command, check=False).returncode:
        print(f"{name}: left out, its build failed (see above)", flush=True)
        return False
    print(f"{name}: installed in {time.monotonic() - started:.0f} s", flush=True)
    return True


def _install_packages(needs: list[Need]) -> None:
    packages = [need.debian_package for need in needs if need.debian_package]
    if not packages or shutil.which("apt-get") is None or os.geteuid() != 0:
        return
    print(f"installing {' '.join(packages)}", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", "--quiet=2", *step], check=False, env=environment)


def _source(need: Need) -> str:
    package = need.debian_package
    return f"apt-get install {package}" if package else need.otherwise


if __name__ == "__main__":
    sys.exit(main())
