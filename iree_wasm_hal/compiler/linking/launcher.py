"""The executable file that stands for our linker on iree-compile's command line."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

__all__ = ["write_launcher"]

# -E and -S: no environment, no site-packages; 15 ms instead of 100 for every kernel module.
_LAUNCHER = """#!/bin/sh
exec {python} -E -S -c 'import sys; sys.path.append(sys.argv.pop(1))
from linking.front import main
main()' {package_parent} {lld} "$@"
"""


def write_launcher(directory: Path, lld: Path) -> Path:
    """Writes ``directory/wasm-ld`` and returns its path.

    iree-compile takes the path of one program and quotes nothing, so that the directory's path
    must be free of spaces; that of the interpreter and of this package need not be.
    """
    path = directory / "wasm-ld"
    script = _LAUNCHER.format(
        python=shlex.quote(sys.executable),
        package_parent=shlex.quote(str(Path(__file__).parent.parent)),
        lld=shlex.quote(str(lld)),
    )
    path.write_text(script)
    path.chmod(0o700)
    return path
