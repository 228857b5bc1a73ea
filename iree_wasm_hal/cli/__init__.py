"""The iree-wasm command. Internal: may change at any time.

Only :func:`main` is reached without the ``cli`` extra; everything that needs typer is imported
inside it, so that a missing extra is one sentence and not a traceback.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Runs the command line in ``sys.argv``.

    Returns:
        The process's exit status: 0 done, 1 a run failed, 2 wrong usage.
    """
    try:
        import typer  # noqa: F401, PLC0415  # asked for here, so that its absence is one sentence
    except ModuleNotFoundError:
        print(
            "error: the iree-wasm command needs typer, which is not installed. "
            "Install it with: pip install 'iree-wasm-hal[cli]'",
            file=sys.stderr,
        )
        return 2
    from iree_wasm_hal.cli.app import run_command_line  # noqa: PLC0415  # imports typer

    return run_command_line(sys.argv[1:])
