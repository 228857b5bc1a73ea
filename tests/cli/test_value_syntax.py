"""Values are read and printed as iree-run-module does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from iree_wasm_hal.cli.printing import format_result
from iree_wasm_hal.cli.reporting import UsageError
from iree_wasm_hal.cli.values import Null, ScalarText, Tensor, parse_values

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    IreeRun = Callable[..., subprocess.CompletedProcess[str]]

TENSORS = [
    "4xf32=1 2 3 4",
    "4xf32=1,2,3,4",
    "2x2xi32=[[1 2][3 4]]",
    "2x2xi32=[1,2],[3,4]",
    "4xf32=0",
    "4xf32",
    "4xf32=",
    "f32=1.5",
    "i32=-7",
    "2x0xf32=",
    "0xf32=",
    "1x1x1x1x1xi8=3",
    "2x3x2xi16=1 2 3 4 5 6 7 8 9 10 11 -32768",
    "3xi8=1 255 -128",
    "3xsi8=1 127 -128",
    "3xui8=1 255 0",
    "3xi16=65535 -1 5",
    "3xui16=65535 1 5",
    "3xi32=0x10 010 -2147483648",
    "2xui32=4294967295 1",
    "2xi64=-9223372036854775808 9223372036854775807",
    "2xui64=18446744073709551615 1",
    "2xsi64=-1 1",
    "4xi1=01 00 01 00",
    "6xf16=1.1 65504 70000 -0 nan inf",
    "6xbf16=1.1 3.4e38 1e-40 -0 nan -inf",
    "8xf32=0.1 1e10 123456789 1e-5 0.0001 -0 inf nan",
    "4xf64=0.1 1e300 3.141592653589793 -0",
    "3xf32=0x1p3 1e2 .5",
    "5xf8E4M3FN=1 1.1 448 -0.015625 nan",
    "5xf8E5M2=1 1.1 57344 -0.015625 inf",
    "4xf8E4M3FNUZ=1 1.1 240 -2",
    "4xf8E5M2FNUZ=1 1.1 57344 -2",
    "3xf8E8M0FNU=1 2 0.5",
    "2x2xf32= [ [ 1 , 2 ] , [ 3 , 4 ] ] ",
]


@pytest.mark.parametrize("text", TENSORS)
def test_prints_what_iree_prints(iree_run: IreeRun, text: str) -> None:
    theirs = iree_run("--function=tensor", f"--input={text}")
    if theirs.returncode:  # lenient strtof aside, both refuse
        with pytest.raises(UsageError):
            parse_values([text])
        return
    (value,) = parse_values([text])
    assert isinstance(value, Tensor)
    assert f"EXEC @tensor\nresult[0]: {format_result(value, 1024)}\n" == theirs.stdout


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 11, 12, 13])
def test_elides_as_iree_does(iree_run: IreeRun, count: int) -> None:
    text = "3x2x2xi32=1 2 3 4 5 6 7 8 9 10 11 12"
    theirs = iree_run("--function=tensor", f"--input={text}", f"--output_max_element_count={count}")
    (value,) = parse_values([text])
    assert isinstance(value, Tensor)
    assert f"EXEC @tensor\nresult[0]: {format_result(value, count)}\n" == theirs.stdout


@pytest.mark.parametrize(
    ("i32", "i64", "f32", "f64"),
    [
        ("5", "-6", "1.5", "2.5"),
        ("0x7f", "9223372036854775807", "1e10", "1e300"),
        ("-2147483648", "0", "nan", "-inf"),
        ("010", "1", "0.1", "0.1"),
    ],
)
def test_scalars_print_as_iree_prints_them(
    iree_run: IreeRun, i32: str, i64: str, f32: str, f64: str
) -> None:
    texts = (i32, i64, f32, f64)
    theirs = iree_run("--function=scalars", *(f"--input={text}" for text in texts))
    values = [value for value in parse_values(texts) if isinstance(value, ScalarText)]
    numbers = [
        ("i32", values[0].as_int()),
        ("i64", values[1].as_int()),
        ("f32", float(np.float32(values[2].as_float()))),
        ("f64", values[3].as_float()),
    ]
    lines = [f"result[{i}]: {format_result(number, 1)}" for i, number in enumerate(numbers)]
    assert "\n".join(["EXEC @scalars", *lines, ""]) == theirs.stdout


def test_arrays_of_one_numpy_file_come_in_order(iree_run: IreeRun, tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, np.arange(4, dtype=np.float32))
        np.save(file, np.arange(6, dtype=np.int32).reshape(2, 3))
    inputs = [f"@{tmp_path}/a.npy", f"+{tmp_path}/a.npy"]
    theirs = iree_run("--function=two", *(f"--input={text}" for text in inputs))
    values = parse_values(inputs)
    texts = [format_result(v, 1024) for v in reversed(values) if isinstance(v, Tensor)]
    assert f"EXEC @two\nresult[0]: {texts[0]}\nresult[1]: {texts[1]}\n" == theirs.stdout
    assert len(parse_values([f"*{tmp_path}/a.npy"])) == 2
    with pytest.raises(UsageError, match="holds no further array"):
        parse_values([*inputs, inputs[1]])


def test_raw_files_go_on_where_they_ended(iree_run: IreeRun, tmp_path: Path) -> None:
    np.arange(6, dtype=np.float32).tofile(tmp_path / "a.bin")
    inputs = [f"4xf32=@{tmp_path}/a.bin", f"2xf32=+{tmp_path}/a.bin"]
    theirs = iree_run("--function=two", *(f"--input={text}" for text in inputs))
    texts = [format_result(v, 9) for v in reversed(parse_values(inputs)) if isinstance(v, Tensor)]
    assert f"EXEC @two\nresult[0]: {texts[0]}\nresult[1]: {texts[1]}\n" == theirs.stdout
    with pytest.raises(UsageError, match="has 0 bytes left where 4 are needed"):
        parse_values([*inputs, f"f32=+{tmp_path}/a.bin"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("4xf32=1 2 3", "it has 3 elements; expected 4, or 1"),
        ("4xf32=1 2 3 4 5", "it has 5 elements; expected 4"),
        ("4xf33=1", "f33"),
        ("4xi8=300", "300 does not fit i8"),
        ("4xsi8=128", "128 does not fit si8"),
        ("4xui8=-1", "-1 does not fit ui8"),
        ("4xi32=1.5", "'1.5' is not an integer"),
        ("4xf32=1_0", "'1_0' is not a number"),
        ("hello", "'hello' is not a number"),
        ("@missing.npy", "missing.npy"),
        ("@raw.bin", "a raw file needs a type in front"),
        ("x".join(["1"] * 129) + "xf32", "129 dimensions"),
        ("-1xf32", "is not a number"),
    ],
)
def test_says_what_is_wrong_with_a_value(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match="cannot read the value") as caught:
        parse_values([text])
    assert reason in str(caught.value)


def test_null_and_storage_forms() -> None:
    null, storage = parse_values(["(null)", "&2x2xf32"])
    assert isinstance(null, Null)
    assert isinstance(storage, Tensor)
    assert storage.array.shape == (2, 2)
    assert not storage.array.any()
