"""IREE's own VM as the truth: its assembler makes the modules, its runtime runs them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import iree.runtime
import pytest

from iree_wasm_hal.errors import InvocationError
from iree_wasm_hal.status import StatusCode
from iree_wasm_hal.vm.context import Context
from iree_wasm_hal.vm.module import BytecodeModule

if TYPE_CHECKING:
    from collections.abc import Callable

Outcome = tuple[str, object]
"""``("ok", results)`` or ``("failed", status name)``."""

_STATUS = re.compile(r"\b(" + "|".join(list(StatusCode.__members__)[1:]) + r")\b")

# What iree.runtime raises for a failed call, by status code (UNIMPLEMENTED among them).
_REFERENCE_ERRORS = (
    RuntimeError,
    ValueError,
    IndexError,
    MemoryError,
    NotImplementedError,
    PermissionError,
)


def find_tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is not installed; it comes with iree-base-compiler and -runtime"
    return found


@pytest.fixture(scope="session")
def assemble(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Assembles VM assembly text with IREE's assembler."""
    tool = find_tool("iree-as-module")
    directory = tmp_path_factory.mktemp("vmasm")
    cache: dict[str, bytes] = {}

    def run(text: str) -> bytes:
        if text not in cache:
            target = directory / f"{len(cache)}.vmfb"
            done = subprocess.run(
                [tool, f"--output={target}", "-"],
                input=text,
                text=True,
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            cache[text] = target.read_bytes()
        return cache[text]

    return run


class ReferenceVm:
    """A module in IREE's runtime; numbers in, numbers out."""

    def __init__(self, data: bytes) -> None:
        instance = iree.runtime.VmInstance()
        self.module = iree.runtime.VmModule.copy_buffer(instance, data)
        self.context = iree.runtime.VmContext(instance, [self.module])

    def call(self, name: str, *arguments: int | float) -> Outcome:
        given = iree.runtime.VmVariantList(len(arguments))
        for argument in arguments:
            if isinstance(argument, float):
                given.push_float(argument)
            else:
                given.push_int(argument)
        results = iree.runtime.VmVariantList(4)
        try:
            self.context.invoke(self.module.lookup_function(name), given, results)
        except _REFERENCE_ERRORS as error:
            found = _STATUS.search(str(error))
            return "failed", found.group(1) if found else str(error)
        return "ok", tuple(results.get_variant(index) for index in range(len(results)))


class OurVm:
    """The same module in our VM."""

    def __init__(self, data: bytes, *modules: Any, **options: Any) -> None:
        self.module = BytecodeModule.from_bytes(data)
        self.context = Context([*modules, self.module], **options)

    def call(self, name: str, *arguments: object) -> Outcome:
        try:
            result = self.context.function(name)(*arguments)
        except InvocationError as error:
            return "failed", error.status
        if result is None:
            return "ok", ()
        return "ok", result if isinstance(result, tuple) else (result,)


@pytest.fixture(scope="session")
def both(assemble: Callable[[str], bytes]) -> Callable[[str], tuple[ReferenceVm, OurVm]]:
    """A module assembled and loaded into both VMs."""
    cache: dict[str, tuple[ReferenceVm, OurVm]] = {}

    def load(text: str) -> tuple[ReferenceVm, OurVm]:
        if text not in cache:
            data = assemble(text)
            cache[text] = ReferenceVm(data), OurVm(data)
        return cache[text]

    return load


@pytest.fixture(scope="session")
def compile_vm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Compiles a ``vm.module``, for what the assembler has no text for."""
    tool = find_tool("iree-compile")
    directory = tmp_path_factory.mktemp("vm")
    cache: dict[str, bytes] = {}

    def run(text: str) -> bytes:
        if text not in cache:
            target = directory / f"{len(cache)}.vmfb"
            command = [tool, "--compile-mode=vm", "-", "-o", str(target)]
            done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
            cache[text] = target.read_bytes()
        return cache[text]

    return run


@pytest.fixture(scope="session")
def both_compiled(compile_vm: Callable[[str], bytes]) -> Callable[[str], tuple[ReferenceVm, OurVm]]:
    """A compiled ``vm.module`` loaded into both VMs."""

    def load(text: str) -> tuple[ReferenceVm, OurVm]:
        data = compile_vm(text)
        return ReferenceVm(data), OurVm(data)

    return load


@pytest.fixture(scope="session")
def sources() -> list[str]:
    """Assembly of the other opcode tests, for the census of tested opcodes."""
    texts = []
    for name in ("test_vm_arithmetic", "test_vm_objects"):
        spec = importlib.util.spec_from_file_location(
            f"census_{name}", Path(__file__).with_name(f"{name}.py")
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        texts.append(module.SOURCE)
    return texts


@pytest.fixture(scope="session")
def iree_compile() -> str:
    """Path of the stock compiler."""
    return find_tool("iree-compile")


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """Paths of IREE's tools by name."""
    return find_tool
