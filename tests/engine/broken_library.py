"""Opens an engine whose native library is another file. Usage: broken_library.py ENGINE FILE."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from iree_wasm_hal.engine import describe_open_failure, open_engine
from iree_wasm_hal.errors import Error


class _Loader:
    """cffi's ``ffi``, which opens another file than it is told to."""

    def __init__(self, ffi: Any, path: str) -> None:
        self._ffi, self._path = ffi, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ffi, name)

    def dlopen(self, name: str | None, *flags: int) -> Any:
        return self._ffi.dlopen(self._path if name else None, *flags)


def main(engine: str, path: str) -> None:
    """Prints the error's type and what it says."""
    library = importlib.import_module(f"iree_wasm_hal_{engine.replace('-', '_')}.library")
    library.ffi = _Loader(library.ffi, path)  # type: ignore[attr-defined]  # each plugin has one
    # What a plugin says of its own file is to be said of this one.
    library.describe_open_failure = lambda _, error: describe_open_failure(  # type: ignore[attr-defined]
        path, error
    )
    try:
        open_engine(engine)
    except Error as error:
        print(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
