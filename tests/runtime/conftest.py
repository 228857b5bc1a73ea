from __future__ import annotations

from typing import TYPE_CHECKING, Any

import iree.runtime as rt
import numpy as np
import pytest

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from iree_wasm_hal.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """One engine for the session; every module has its own device on it."""
    opened = iwh.open_engine("wasmtime")
    yield opened
    opened.close()


@pytest.fixture
def load_wasm(
    compile_wasm: Callable[..., Path], engine: Engine
) -> Iterator[Callable[..., iwh.Module]]:
    """``load_wasm(mlir, *flags, **options)``: compiled, loaded, and closed after the test."""
    modules = []

    def load(source: str, *flags: str, **options: Any) -> iwh.Module:
        module = iwh.load(compile_wasm(source, *flags), engine=engine, **options)
        modules.append(module)
        return module

    yield load
    for module in modules:
        module.close()


@pytest.fixture
def load_native(compile_native: Callable[..., Path]) -> Callable[..., Callable[..., Any]]:
    """``load_native(mlir, *flags)``: a call of IREE's own runtime by function name."""

    def load(source: str, *flags: str) -> Callable[..., Any]:
        data = compile_native(source, *flags).read_bytes()
        module = rt.load_vm_flatbuffer(data, driver="local-sync")

        def call(name: str, *arguments: Any) -> Any:
            results = module[name](*arguments)
            if isinstance(results, tuple | list):
                return tuple(_host(result) for result in results)
            return _host(results)

        return call

    return load


def _host(value: Any) -> Any:
    return np.array(value.to_host()) if isinstance(value, rt.DeviceArray) else value


@pytest.fixture
def random_source() -> np.random.Generator:
    return np.random.default_rng(20240229)
