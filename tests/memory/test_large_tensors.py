"""Tensors above 4 GiB: reachable to the last byte, and only what is touched takes memory."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature, open_engine
from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.hal.elements import element_type_of

if TYPE_CHECKING:
    from iree_wasm_hal.engine import Engine

# Reads 16 elements somewhere in a tensor of any size.
SOURCE = """
  func.func @pick(%a: tensor<?xi32>, %index: index) -> tensor<16xi32> {
    %slice = tensor.extract_slice %a[%index] [16] [1] : tensor<?xi32> to tensor<16xi32>
    %one = arith.constant dense<1> : tensor<16xi32>
    %0 = arith.addi %slice, %one : tensor<16xi32>
    return %0 : tensor<16xi32>
  }
"""
LENGTH = (5 << 30) // 4


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("large") / "pick.vmfb"
    return iwh.compile(SOURCE.encode(), output=output, target="wasm64")


@pytest.mark.parametrize("threads", [1, 2])
def test_a_tensor_of_5_gib(engine_name: str, threads: int, archive: Path) -> None:
    with contextlib.closing(open_engine(engine_name)) as engine:
        _skip_without(engine, Feature.MEMORY64, *([Feature.THREADS] if threads > 1 else []))
        module = iwh.load(archive, engine=engine, threads=threads, max_memory_bytes=6 << 30)
        resident = _resident_byte_length()  # of earlier tests
        buffer = module.device.allocator.allocate_buffer(4 * LENGTH)
        element_type = element_type_of(np.dtype(np.int32))
        tensor = BufferView(buffer, (LENGTH,), element_type)
        elements = buffer.ndarray((LENGTH,), np.dtype(np.int32))
        for index in (0, 2**29 - 8, 2**30 - 8, 2**30, LENGTH - 16):
            elements[index : index + 16] = np.arange(16) + index % 1_000_003
            np.testing.assert_array_equal(
                module.pick(tensor, index), np.arange(1, 17) + index % 1_000_003
            )
        assert module.device.memory.used > 5 << 30
        assert _resident_byte_length() - resident < 256 << 20
        del elements, tensor, buffer
        assert module.device.memory.used < 1 << 30
        module.close()


def test_without_64_bit_addresses_the_reason_is_given(engine_name: str, archive: Path) -> None:
    with contextlib.closing(open_engine(engine_name)) as engine:
        if Feature.MEMORY64 in engine.info.features:
            return
        with pytest.raises(iwh.IncompatibleTargetError, match="memory64"):
            iwh.load(archive, engine=engine)
    with pytest.raises(iwh.Error, match="32-bit addresses reach"):
        iwh.load(_small_archive(archive), engine=engine_name, max_memory_bytes=6 << 30)


def _small_archive(archive: Path) -> Path:
    output = archive.with_name("pick32.vmfb")
    if not output.exists():
        iwh.compile(SOURCE.encode(), output=output, target="wasm32")
    return output


def _skip_without(engine: Engine, *features: Feature) -> None:
    for feature in features:
        if feature not in engine.info.features:
            reason = engine.info.notes.get(feature, f"has no {feature.value}")
            pytest.skip(f"{engine.info.name}: {reason}")


def _resident_byte_length() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmRSS:")).split()[1]) * 1024
