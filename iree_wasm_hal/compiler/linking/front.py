"""The linker that iree-compile calls for each kernel module: lld plus a support library.

Three things are missing when iree-compile calls lld for wasm by itself:

- functions that LLVM's code calls and nobody links (``fmaxf``, ``roundf``, ``fmodf``, the double
  versions of libm, ``__multi3``): ``support/libsupport_wasm*.a`` has them, and lld takes the
  needed ones;
- ``-mwasm64`` for objects with a 64-bit memory;
- the half-precision conversions. iree-compile puts its own into every object, with an f16
  parameter or result as *f32*, while LLVM's wasm backend passes f16 as i32: the stock module of
  any kernel with f16 does not even validate. Their symbols are made undefined in the object
  file, and the support library's versions, which have the right types, take their place.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .object_file import has_memory64, replace_functions

__all__ = ["REPLACED_FUNCTIONS", "SUPPORT_DIR", "link"]

SUPPORT_DIR = Path(__file__).parent / "support"

_I32, _F32, _F64 = 0x7F, 0x7D, 0x7C


def _function_type(parameter: int, result: int) -> bytes:
    return bytes([0x60, 1, parameter, 1, result])


REPLACED_FUNCTIONS: dict[bytes, bytes] = {
    b"__extendhfsf2": _function_type(_I32, _F32),
    b"__truncsfhf2": _function_type(_F32, _I32),
    b"__truncdfhf2": _function_type(_F64, _I32),
}
"""Functions of iree-compile's own device library whose types do not fit their calls, with the
types that LLVM's wasm backend calls them with."""


def link(lld: str, arguments: list[str]) -> int:
    """Links one kernel module; returns lld's exit status.

    Args:
        lld: Path of iree-lld.
        arguments: What iree-compile passes to a wasm linker; the object files are its own
            temporary files, which this rewrites in place.
    """
    memory64 = False
    for path in (Path(a) for a in arguments if a.endswith(".o")):
        wasm = path.read_bytes()
        memory64 |= has_memory64(wasm)
        path.write_bytes(replace_functions(wasm, REPLACED_FUNCTIONS))
    library = SUPPORT_DIR / f"libsupport_wasm{64 if memory64 else 32}.a"
    command = [lld, *arguments, str(library), *(["-mwasm64"] if memory64 else [])]
    return subprocess.run(command, check=False).returncode


def main() -> None:
    """``sys.argv``: lld's path, then what iree-compile passes."""
    sys.exit(link(sys.argv[1], sys.argv[2:]))
