"""Loads a program with so few descriptors left, prints how that ends, and whether any is lost.

usage: python few_descriptors.py FILE.vmfb CACHE_FOLDER
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import sys

import iree_wasm_hal as iwh

LIMIT = 200
MOST_LEFT = 12


def take_all() -> list[int]:
    taken = []
    while True:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return taken


def load_with(left: int, path: str, engine: iwh.engine.Engine, cache: iwh.CodeCache) -> str:
    taken = take_all()
    for descriptor in taken[:left]:
        os.close(descriptor)
    outcome = "loaded"
    try:
        iwh.load(path, engine=engine, cache=cache).close()
    except iwh.Error as error:
        outcome = f"{type(error).__name__}: {error}"
    gc.collect()
    lost = left - len(again := take_all())
    for descriptor in (*again, *taken[left:]):
        os.close(descriptor)
    return f"{lost} descriptors lost" if lost else outcome


def main() -> None:
    path, folder = sys.argv[1:]
    cache = iwh.CodeCache(folder)
    with contextlib.closing(iwh.open_engine("wasmtime")) as engine:
        iwh.load(path, engine=engine, cache=cache).close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        print(json.dumps([load_with(left, path, engine, cache) for left in range(MOST_LEFT)]))


if __name__ == "__main__":
    main()
