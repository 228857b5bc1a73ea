"""Modules of iree-compile relink to modules that validate and compute what numpy computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import wasmtime
from wasm_guest import Guest, PackageBackend
from wasm_plans import Kernels, run

from iree_wasm_hal.engine.contract import Feature, MemoryType
from iree_wasm_hal.errors import IncompatibleTargetError
from iree_wasm_hal.wasm.kernel_reader import read_kernel_module
from iree_wasm_hal.wasm.relink import executor_module, relink

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Arrays = list[NDArray[Any]]

FEATURES = ("", "+simd128", "+simd128,+relaxed-simd", "+atomics,+bulk-memory")
NAMES = ("elementwise", "matmul", "normalize", "convolution", "sort", "stack")
MEMORIES = (
    MemoryType(16, 16),
    MemoryType(1, 65536),
    MemoryType(16, 32, shared=True),
)


def make_inputs(name: str) -> Arrays:
    random = np.random.default_rng(7)
    if name == "elementwise":
        return [random.standard_normal((64, 64), np.float32) for _ in range(2)]
    if name == "matmul":
        return [random.standard_normal(shape, np.float32) for shape in ((96, 64), (64, 80))]
    if name == "normalize":
        return [random.standard_normal((32, 48), np.float32)]
    if name == "sort":
        return [random.integers(-1000, 1000, (16, 33), np.int32)]
    if name == "stack":
        shapes = ((1, 16, 9, 9), (24, 16, 3, 3))
        return [random.standard_normal(shape, np.float32) for shape in shapes]
    return [
        random.integers(-128, 128, (1, 10, 10, 8), np.int8),
        random.integers(-128, 128, (3, 3, 8, 16), np.int8),
    ]


def expected(name: str, inputs: Arrays) -> Arrays:
    if name == "elementwise":
        scales = np.tile(np.array([1, 2, 4, 8], np.float32), 16)
        return [np.exp(inputs[0]) * scales + inputs[1]]
    if name == "matmul":
        return [inputs[0] @ inputs[1]]
    if name == "normalize":
        exponentials = np.exp(inputs[0])
        sums = exponentials.sum(axis=1)
        return [exponentials / sums[:, None], sums]
    if name == "sort":
        return [np.sort(inputs[0], axis=1)]
    if name == "stack":
        windows = np.lib.stride_tricks.sliding_window_view(inputs[0], (3, 3), axis=(2, 3))
        return [np.einsum("nchwyx,fcyx->nfhw", windows, inputs[1])]
    image, weights = (x.astype(np.int32) for x in inputs)
    result = np.zeros((1, 8, 8, 16), np.int32)
    for y in range(3):
        for x in range(3):
            result += image[:, y : y + 8, x : x + 8] @ weights[y, x]
    return [result]


def check(outputs: Arrays, wanted: Arrays) -> None:
    assert len(outputs) == len(wanted)
    for output, reference in zip(outputs, wanted, strict=True):
        # 1e-5 is the bound for f32 elementwise, 1e-4 for contractions; integers are exact.
        tolerance = 0.0 if output.dtype == np.int32 else 1e-4
        np.testing.assert_allclose(output, reference, rtol=tolerance, atol=tolerance)


def validate(wasm: bytes) -> None:
    config = wasmtime.Config()
    config.wasm_threads = config.wasm_memory64 = config.wasm_relaxed_simd = True
    config.shared_memory = True
    wasmtime.Module.validate(wasmtime.Engine(config), wasm)


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("atomics", [False, True])
def test_computes_what_numpy_computes(
    kernels: Callable[..., Kernels], name: str, features: str, atomics: bool
) -> None:
    guest = Guest(PackageBackend(), atomics=atomics)
    inputs = make_inputs(name)
    check(run(guest, kernels(name, features), inputs), expected(name, inputs))


@pytest.mark.parametrize("name", NAMES)
def test_wasm64_computes_what_numpy_computes(kernels: Callable[..., Kernels], name: str) -> None:
    guest = Guest(PackageBackend(index64=True), atomics=True)
    inputs = make_inputs(name)
    check(run(guest, kernels(name, wasm64=True), inputs), expected(name, inputs))
    module = guest.executables[0].module
    assert module.pointer_byte_length == 8
    assert Feature.MEMORY64 in module.features


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("name", NAMES)
def test_validates_for_every_memory_and_keeps_bodies(
    kernels: Callable[..., Kernels], name: str, features: str
) -> None:
    original = kernels(name, features).wasm
    before = read_kernel_module(original)
    bodies = [original[body.start : body.end] for body in before.bodies]
    for memory in MEMORIES:
        for atomics in (False, True):
            relinked = relink(original, memory=memory, atomics=atomics)
            validate(relinked.wasm)
            after = relinked_bodies(relinked.wasm)
            assert after[: len(bodies)] == bodies


def relinked_bodies(wasm: bytes) -> list[bytes]:
    module = read_kernel_module(wasm)
    assert [(entry.module, entry.name, entry.kind) for entry in module.imports] == [
        ("env", "memory", "memory")
    ]
    assert not module.data_segments
    return [wasm[body.start : body.end] for body in module.bodies]


def test_features_are_those_of_the_code(kernels: Callable[..., Kernels]) -> None:
    memory = MemoryType(16, 16)
    scalar = relink(kernels("matmul", "").wasm, memory=memory, atomics=False)
    assert scalar.features == {Feature.BULK_MEMORY}
    simd = relink(kernels("matmul", "+simd128").wasm, memory=memory, atomics=False)
    assert simd.features == {Feature.BULK_MEMORY, Feature.SIMD128}
    assert "+simd128" in simd.target_features
    # The compiler was allowed relaxed SIMD, and uses it where it multiplies and adds.
    relaxed = relink(kernels("matmul", "+simd128,+relaxed-simd").wasm, memory=memory, atomics=True)
    assert "+relaxed-simd" in relaxed.target_features
    assert Feature.ATOMICS in relaxed.features
    assert (Feature.RELAXED_MADD in relaxed.features) == (b"\xfd\x85\x02" in relaxed.wasm)


def test_wasm64_needs_a_64_bit_memory(kernels: Callable[..., Kernels]) -> None:
    with pytest.raises(IncompatibleTargetError, match=r"compiled for wasm64.*32-bit"):
        relink(kernels("sort", wasm64=True).wasm, memory=MEMORIES[0], atomics=False)
    memory64 = MemoryType(16, 16, index64=True)
    with pytest.raises(IncompatibleTargetError, match=r"compiled for wasm32.*64-bit"):
        relink(kernels("sort").wasm, memory=memory64, atomics=False)


@pytest.mark.parametrize("index64", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("atomics", [False, True])
def test_bare_executor_validates(index64: bool, shared: bool, atomics: bool) -> None:
    memory = MemoryType(1, 16, shared=shared, index64=index64)
    module = executor_module(memory=memory, atomics=atomics)
    validate(module.wasm)
    assert module.static_data_byte_length == 0
    assert (Feature.SHARED_MEMORY in module.features) == shared
    assert (Feature.ATOMICS in module.features) == atomics


def test_stack_pointer_is_known_to_be_needed(kernels: Callable[..., Kernels]) -> None:
    assert relink(kernels("stack").wasm, memory=MEMORIES[0], atomics=False).needs_stack
    assert not relink(kernels("matmul").wasm, memory=MEMORIES[0], atomics=False).needs_stack


def test_frames_keep_their_names(kernels: Callable[..., Kernels]) -> None:
    module = relink(kernels("matmul").wasm, memory=MEMORIES[0], atomics=False)
    assert b"main_dispatch_0_matmul" in module.wasm
    assert b"iree_wasm_executor.dispatch" in module.wasm
    assert b".debug_info" not in module.wasm
    assert b"target_features" not in module.wasm


def test_relinking_is_deterministic(kernels: Callable[..., Kernels]) -> None:
    wasm = kernels("normalize").wasm
    first = relink(wasm, memory=MEMORIES[2], atomics=True)
    assert relink(bytes(bytearray(wasm)), memory=MEMORIES[2], atomics=True) == first
