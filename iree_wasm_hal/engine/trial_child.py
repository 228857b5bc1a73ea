"""The process in which one engine is tried; ``trial.py`` starts it.

What the plugin prints goes nowhere: standard output carries one line of JSON, an engine's document
or the cause of its absence.
"""

from __future__ import annotations

import json
import os
from typing import NoReturn

from iree_wasm_hal.engine.info_document import info_to_document
from iree_wasm_hal.engine.plugins import find_plugin
from iree_wasm_hal.engine.registry import open_plugin
from iree_wasm_hal.errors import Error

__all__ = ["main"]

_STANDARD_OUTPUT = 1


def main(name: str) -> NoReturn:
    """Opens the engine, writes its line and ends the process."""
    channel = os.dup(_STANDARD_OUTPUT)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STANDARD_OUTPUT)
    line = json.dumps(_try(name)).encode() + b"\n"
    while line:
        line = line[os.write(channel, line) :]
    os._exit(0)  # nothing that the plugin left for the end of the process matters any more


def _try(name: str) -> dict[str, object]:
    try:
        engine = open_plugin(find_plugin(name), {})
        document = info_to_document(engine.info)
        engine.close()
    except Error as error:
        return {"cause": str(error)}
    except BaseException as error:  # whatever a plugin raises is the cause, KeyboardInterrupt too
        return {"cause": f"engine {name!r} raised {type(error).__name__}: {error}"}
    return {"info": document}
