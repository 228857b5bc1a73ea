"""Generated SIMD kernels do on wamr-aot what they do on wasmtime, and a wrong engine is found."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from fuzz_encode import encode_module
from fuzz_found import load_regressions
from fuzz_generate import generate, is_relaxed
from fuzz_kernel import Instruction, InvalidKernelError, Kernel
from fuzz_memory import differing_bytes, initial_page
from fuzz_ops import OPS
from fuzz_process import Worker
from fuzz_reduce import reduce_kernel
from fuzz_run import Mode, Runner
from run_aot_fuzz import modes_of

from iree_wasm_hal.engine import open_engine

if TYPE_CHECKING:
    from pathlib import Path

    from iree_wasm_hal.engine import Engine, Program

_REGRESSIONS = load_regressions()
_TIMEOUT_S = 120.0
_BATCH = 50
# The kernels of one batch in eight have relaxed SIMD.
_SEEDS = (0, 50, 300, 350)
_NO_AOT = "wamr-aot is not among the engines that open here"

# Serves a kernel's fuzz worker, but dies or sleeps when it comes to a mode of wamr.
_BAD_WORKER = """
import json, sys, threading
for line in sys.stdin:
    asked = json.loads(line)
    for mode in asked["modes"]:
        print(json.dumps({"mode": mode["engine"]}), flush=True)
        if mode["engine"] == "wamr" and 7 in asked.get("seeds", [7]):
            ACTION
    print(json.dumps({"differences": []}), flush=True)
"""


def _has(engine_name: str) -> bool:
    found = json.loads(os.environ["IREE_WASM_HAL_TEST_ENGINES"])
    return engine_name in found and found[engine_name] is None


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner()


@pytest.mark.skipif(not _has("wamr-aot"), reason=_NO_AOT)
@pytest.mark.parametrize("first", _SEEDS)
def test_generated_kernels(first: int) -> None:
    worker = Worker(_TIMEOUT_S)
    try:
        assert worker.run_seeds(range(first, first + _BATCH), modes_of(first)) == []
    finally:
        worker.close()


@pytest.mark.skipif(not _has("wamr-aot"), reason=_NO_AOT)
@pytest.mark.parametrize("name", _REGRESSIONS)
def test_regressions(name: str) -> None:
    worker = Worker(_TIMEOUT_S)
    try:
        modes = {mode.name: mode for first in (0, 100) for mode in modes_of(first)}
        assert worker.run(_REGRESSIONS[name], list(modes.values())) == []
    finally:
        worker.close()


@pytest.mark.parametrize("name", ["wamr", "wasmer"])
def test_other_engines_agree(runner: Runner, name: str) -> None:
    if not _has(name):
        pytest.skip(f"{name} is not among the engines that open here")
    kernels = [generate(seed) for seed in range(1000, 1000 + 2 * _BATCH)]
    expected = runner.reference(kernels)
    assert runner.compare(kernels, expected, Mode(name)) == []


def test_regression_files_are_valid() -> None:
    for kernel in _REGRESSIONS.values():
        kernel.check()


class TestGenerator:
    def test_kernels_are_valid_and_use_every_instruction(self) -> None:
        used: set[str] = set()
        relaxed = [seed for seed in range(2000, 6000) if is_relaxed(seed)]
        for seed in [*range(2000), *relaxed]:
            kernel = generate(seed)
            kernel.check()
            used.update(one.op for one in kernel.instructions())
        rare = {"copy"}  # needed for cutting down
        assert {name for name, op in OPS.items() if op.group not in rare} - used == set()

    def test_seed_determines_the_kernel(self) -> None:
        for seed in range(50):
            assert generate(seed).to_json() == generate(seed).to_json()

    def test_kernels_write_and_do_not_trap(self, runner: Runner) -> None:
        kernels = [generate(seed) for seed in range(200)]
        changed = 0
        for kernel, outcomes in zip(kernels, runner.reference(kernels), strict=True):
            assert not any(outcome.trap for outcome in outcomes)
            changed += any(
                outcome.memory[-len(initial_page(call)) :] != initial_page(call)
                for call, outcome in zip(kernel.calls, outcomes, strict=True)
            )
        assert changed > 160

    def test_files_hold_the_whole_kernel(self) -> None:
        for seed in range(50):
            kernel = generate(seed)
            again = Kernel.from_json(kernel.to_json())
            assert again == kernel
            assert encode_module([again]) == encode_module([kernel])

    @pytest.mark.parametrize(
        "instruction",
        [
            Instruction("v128.not", "v10", ("x11",)),  # bits of a NaN
            Instruction("v128.store", "", ("q0", "v10"), (0,)),  # bits among floats
            Instruction("v128.bitselect:x", "x10", ("x11", "x12", "v13")),  # parts of lanes
            Instruction("i8x16.shuffle:x", "x10", ("x11", "x12"), tuple(range(1, 17))),
            Instruction("i32x4.extract_lane", "i10", ("v11",), (4,)),
            Instruction("i32x4.add", "v10", ("v11",)),
        ],
        ids=lambda one: one.op,
    )
    def test_unsound_instructions_are_refused(self, instruction: Instruction) -> None:
        with pytest.raises(InvalidKernelError, match=instruction.op.partition(":")[0]):
            Kernel("i1", [instruction], []).check()


def test_comparison_knows_where_nans_are() -> None:
    call = generate(3).calls[0]
    memory = bytearray(bytes(65536) + initial_page(call))
    f32_start = 0x16000 + call.arguments[2] % 4 + 64
    memory[f32_start : f32_start + 4] = bytes.fromhex("0000c07f")
    other = bytearray(memory)
    other[f32_start : f32_start + 4] = bytes.fromhex("0100c0ff")
    assert differing_bytes(call, bytes(memory), bytes(other)) == []
    other[f32_start + 3] = 0x3F
    assert differing_bytes(call, bytes(memory), bytes(other))[0] in range(f32_start, f32_start + 4)
    # Outside of the regions of floats every bit counts.
    other = bytearray(memory)
    other[0x12000] ^= 1
    assert differing_bytes(call, bytes(memory), bytes(other)) == [0x12000]


class _Wrong:
    """wasmtime, but with one instruction for another."""

    def __init__(self, right: bytes, wrong: bytes) -> None:
        self._engine = open_engine("wasmtime")
        self._right, self._wrong = right, wrong

    def compile(self, wasm: bytes) -> Program:
        return self._engine.compile(wasm.replace(self._right, self._wrong))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("i32x4.max_s", "i32x4.max_u"),
        ("f32x4.pmin", "f32x4.min"),
        ("i16x8.extmul_high_i8x16_u", "i16x8.extmul_low_i8x16_u"),
        ("i64x2.gt_s", "i64x2.ge_s"),
        ("f64x2.nearest", "f64x2.trunc"),
        ("i8x16.sub_sat_u", "i8x16.sub"),
    ],
)
def test_wrong_code_is_found_and_cut_down(runner: Runner, right: str, wrong: str) -> None:
    mode = Mode("wrong")
    engine: Any = _Wrong(OPS[right].code, OPS[wrong].code)
    wrong_runner = _RunnerOf(engine)
    for first in range(0, 1000, _BATCH):
        kernels = [generate(seed) for seed in range(first, first + _BATCH)]
        differences = wrong_runner.compare(kernels, runner.reference(kernels), mode)
        if differences:
            break
    else:
        pytest.fail(f"{wrong} for {right} is not seen in 1000 kernels")

    def still_differs(kernel: Kernel) -> bool:
        return bool(wrong_runner.compare([kernel], runner.reference([kernel]), mode))

    small = reduce_kernel(kernels[differences[0].index], still_differs)
    small.check()
    instructions = list(small.instructions())
    assert right in {one.op.partition(":")[0] for one in instructions}
    assert len(instructions) <= 16


class _RunnerOf(Runner):
    """Knows one engine more."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def engine(self, mode: Mode) -> Engine:
        return self._engine if mode.engine == "wrong" else super().engine(mode)


@pytest.mark.parametrize(
    ("action", "kind", "detail"),
    [
        ("threading.Event().wait()", "hang", "no end within 3 s"),
        ("__import__('os').abort()", "crash", "died of SIGABRT"),
        ("sys.exit(3)", "crash", "ended with 3"),
    ],
)
def test_worker_that_ends_is_a_difference(
    tmp_path: Path, action: str, kind: str, detail: str
) -> None:
    program = tmp_path / "worker.py"
    program.write_text(_BAD_WORKER.replace("ACTION", action))
    worker = Worker(3.0, program)
    modes = [Mode("wasmer"), Mode("wamr")]
    (difference,) = worker.run_seeds([6, 7], modes)
    assert (difference.index, difference.mode, difference.kind) == (1, "wamr", kind)
    assert difference.detail == detail
    assert worker.run_seeds([5, 6], modes) == []
    worker.close()


def test_every_kernel_is_tried_wide_narrow_and_shared() -> None:
    source = random.Random(1)
    for _ in range(20):
        first = source.randrange(10_000) * _BATCH
        modes = [(mode.options.get("vector_bits"), mode.shared) for mode in modes_of(first)]
        assert {(128, False), ("auto", False), ("auto", True)} <= set(modes)
    assert sum(is_relaxed(first) for first in range(0, 8 * _BATCH, _BATCH)) == 1
