"""``iree-wasm run`` against iree-run-module, on archives that both load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import iree_wasm_hal as iwh

if TYPE_CHECKING:
    from collections.abc import Callable

    IreeRun = Callable[..., subprocess.CompletedProcess[str]]
    OurRun = Callable[..., subprocess.CompletedProcess[str]]

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def our_run(identity_archive: Path) -> OurRun:
    def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "iree-wasm"), "run", str(identity_archive), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)

    return run


CALLS = [
    ("tensor", "2x2xi32=[[1 2][3 4]]"),
    ("tensor", "3xsi8=-1 2 3"),
    ("tensor", "3xui16=1 2 65535"),
    ("tensor", "2xbf16=1.5 nan"),
    ("tensor", "2x0xf64="),
    ("scalars", "-1", "5000000000", "0.5", "1e300"),
    ("two", "f32=1.5", "2xi64=7"),
]


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_output_is_irees(iree_run: IreeRun, our_run: OurRun, call: tuple[str, ...]) -> None:
    arguments = [f"--function={call[0]}", *(f"--input={value}" for value in call[1:])]
    theirs, ours = iree_run(*arguments), our_run(*arguments)
    assert theirs.returncode == ours.returncode == 0, ours.stderr
    assert ours.stdout == theirs.stdout


@pytest.mark.parametrize(
    ("value", "expected", "options"),
    [
        ("2xf32=1 2", "2xf32=1 2", ()),
        ("2xf32=1 2", "2xf32=1 2.00005", ()),
        ("2xf32=1 2", "2xf32=1 2.1", ()),
        ("2xf32=1 2", "2xf32=1 2.1", ("--expected_f32_threshold=0.2",)),
        ("2xf32=1 2", "2xf32=1 2.00005", ("--equality_mode=exact",)),
        ("2xf32=1 nan", "2xf32=1 nan", ()),
        ("2xf32=1 inf", "2xf32=1 inf", ()),
        ("2xf32=1 inf", "2xf32=1 1e38", ()),
        ("2xf16=1 2", "2xf16=1 2.002", ()),
        ("2xbf16=1 2", "2xbf16=1 2.1", ("--expected_bf16_threshold=0.2",)),
        ("1xf64=1000000", "1xf64=1000005", ()),
        ("1xf64=1000000", "1xf64=1000050", ("--expected_rtol=0.001",)),
        ("2xi32=1 2", "2xi32=1 3", ()),
        ("2xi32=1 2", "2xsi32=1 2", ()),
        ("2xi32=1 2", "1x2xi32=1 2", ()),
        ("2xi32=1 2", "(ignored)", ()),
    ],
)
def test_comparison_is_irees(
    iree_run: IreeRun, our_run: OurRun, value: str, expected: str, options: tuple[str, ...]
) -> None:
    arguments = ["--function=tensor", f"--input={value}", f"--expected_output={expected}", *options]
    theirs, ours = iree_run(*arguments), our_run(*arguments)
    assert ours.returncode == theirs.returncode, ours.stderr
    assert ours.stdout == theirs.stdout


@pytest.mark.parametrize("mode", ["@", "+"])
@pytest.mark.parametrize("name", ["out.npy", "out.bin"])
def test_written_files_are_irees(
    iree_run: IreeRun, our_run: OurRun, tmp_path: Path, mode: str, name: str
) -> None:
    arguments = ["--function=two", "--input=3xf32=1 2 3", "--input=2x2xi64=5"]
    arguments += [f"--output={mode}{name}", f"--output=+{name}"]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert iree_run(*arguments, cwd=tmp_path / "a").returncode == 0
    ours = our_run(*arguments, cwd=tmp_path / "b")
    assert ours.returncode == 0, ours.stderr
    theirs = (tmp_path / "a" / name).read_bytes()
    if name == "out.bin":
        assert (tmp_path / "b" / name).read_bytes() == theirs
        return
    with (tmp_path / "a" / name).open("rb") as left, (tmp_path / "b" / name).open("rb") as right:
        for _ in range(2):
            expected, actual = np.load(left), np.load(right)
            assert actual.dtype == expected.dtype
            np.testing.assert_array_equal(actual, expected)


def test_outputs_can_be_printed_or_dropped(iree_run: IreeRun, our_run: OurRun) -> None:
    arguments = ["--function=two", "--input=f32=1", "--input=f32=2", "--output=", "--output=-"]
    assert our_run(*arguments).stdout == iree_run(*arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "choose one with --function: tensor, scalars, two"),
        (("--function=nothing",), 2, "exports no function 'nothing'; it exports tensor, scalars"),
        (("--function=tensor", "--input=4xf32=x"), 2, "'x' is not a number"),
        (("--function=tensor",), 2, "tensor takes 1 argument, got 0"),
        (("--function=tensor", "--input=f32=1", "--output=x"), 2, "cannot write an output to 'x'"),
        (("--function=tensor", "--input=f32=1", "--output=", "--output="), 2, "given 2 times"),
        (("--function=tensor", "--input=f32=1", "--output=@/no/such/f.npy"), 1, "/no/such/f.npy"),
        (("--engine=wasmtme", "--function=tensor"), 1, "did you mean 'wasmtime'"),
        (("--parameters=none=missing.irpa", "--function=tensor"), 1, "missing.irpa"),
    ],
)
def test_errors_are_one_paragraph(
    our_run: OurRun, arguments: tuple[str, ...], status: int, message: str
) -> None:
    done = our_run(*arguments)
    assert done.returncode == status
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_options_are_wrong_usage(our_run: OurRun) -> None:
    assert our_run("--no-such-option").returncode == 2
    assert our_run("--equality-mode=roughly").returncode == 2
    done = subprocess.run(
        [BIN / "iree-wasm", "run", "no-such.vmfb"], capture_output=True, check=False
    )
    assert done.returncode == 2


def test_a_file_that_is_no_archive_fails(tmp_path: Path) -> None:
    (tmp_path / "x.vmfb").write_text("hello")
    for command in ("run", "check", "inspect"):
        done = subprocess.run(
            [BIN / "iree-wasm", command, tmp_path / "x.vmfb"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "expected a vmfb" in done.stderr


def test_traceback_on_request(our_run: OurRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IREE_WASM_TRACEBACK", "1")
    done = our_run("--function=nothing")
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_failed_expectations_of_the_program_fail_the_run(tmp_path: Path) -> None:
    source = tmp_path / "expect.mlir"
    source.write_text(
        "func.func @bad() {\n  %0 = arith.constant 0 : i32\n"
        "  check.expect_true(%0) : i32\n  return\n}\n"
    )
    archive = iwh.compile(source, output=tmp_path / "expect.vmfb")
    command = [str(BIN / "iree-wasm"), "run", str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Expected 0 to be nonzero" in done.stdout


def test_a_time_out_ends_the_run(our_run: OurRun) -> None:
    call = ("--function=scalars", "--input=-1", "--input=5", "--input=0.5", "--input=1")
    assert our_run(*call, "--timeout=60").returncode == 0
    late = our_run(*call, "--timeout=0")
    assert late.returncode == 1
    assert "longer than its timeout of 0.0 s" in late.stderr
    assert our_run(*call, "--timeout=-1").returncode == 2
