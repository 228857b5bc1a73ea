"""``iree-wasm inspect``, ``engines`` and the command itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from out_of_tree import Site

import iree_wasm_hal as iwh
from iree_wasm_hal.engine import Feature

BIN = Path(sys.executable).parent

SOURCE = """
func.func @scale(%a: tensor<64xf32>, %b: tensor<64xf32>) -> tensor<64xf32> {
  %0 = arith.mulf %a, %b : tensor<64xf32>
  return %0 : tensor<64xf32>
}
"""


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "iree-wasm"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    source = folder / "scale.mlir"
    source.write_text(SOURCE)
    return iwh.compile(source, output=folder / "scale.vmfb")


def test_inspect_as_json(archive: Path) -> None:
    done = run("inspect", archive, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["byte_length"] == archive.stat().st_size
    assert document["bytecode_version"] == "17.0"
    assert {"module": "hal", "minimum_version": 7, "optional": False} in document["dependencies"]
    (scale,) = [export for export in document["exports"] if export["name"] == "scale"]
    assert "tensor<64xf32>" in scale["declaration"]
    assert document["executable_formats"] == ["system-wasm-wasm_32"]
    (executable,) = document["executables"]
    assert executable["kind"] == "WebAssembly"
    assert "simd128" in executable["features"]
    assert len(executable["kernels"]) == 1
    assert "scale" in executable["kernels"][0]
    assert any(item["name"] == "hal.command_buffer.dispatch" for item in document["imports"])


def test_inspect_as_text(archive: Path) -> None:
    lines = run("inspect", archive).stdout.splitlines()
    assert lines[0] == f"{archive}: {archive.stat().st_size} bytes"
    assert "  formats: system-wasm-wasm_32" in lines
    assert any(line.startswith("  sync func @scale(") for line in lines)


def test_inspect_knows_machine_code(identity_archive: Path) -> None:
    document = json.loads(run("inspect", identity_archive, "--json").stdout)
    assert document["executables"] == []


def test_a_reader_that_goes_away_is_no_error(archive: Path) -> None:
    done = subprocess.run(
        f"'{BIN}/iree-wasm' inspect '{archive}' --json | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "{\n"
    assert not done.stderr


def test_engines_lists_wasmtime() -> None:
    document = json.loads(run("engines", "--json").stdout)
    (wasmtime,) = [engine for engine in document["engines"] if engine["name"] == "wasmtime"]
    assert wasmtime["available"]
    assert wasmtime["version"] == metadata.version("wasmtime")
    assert "simd128" in wasmtime["features"]
    assert wasmtime["library_path"].endswith(".so")
    assert wasmtime["memory_model"] == "imports"
    (null,) = [engine for engine in document["engines"] if engine["name"] == "null"]
    assert null["notes"]["simd128"] == "the null engine runs no wasm"


def test_engines_are_compared_feature_by_feature() -> None:
    document = json.loads(run("engines", "--json").stdout)
    names = [engine["name"] for engine in document["engines"] if engine["available"]]
    table, *paragraphs = run("engines").stdout.split("\n\n")
    header, *rows = (line.split() for line in table.splitlines())
    assert header == ["feature", *names]
    cells = {row[0]: dict(zip(names, row[-len(names) :], strict=True)) for row in rows}
    assert set(cells) >= {feature.value for feature in Feature} | {"memory"}
    for engine in document["engines"]:
        if engine["available"]:
            has = {name for name in cells if cells[name][engine["name"]] == "yes"}
            assert has == set(engine["features"])
    assert [text.partition(":")[0] for text in paragraphs] == sorted(
        engine["name"] for engine in document["engines"]
    )


@pytest.mark.parametrize(("columns", "limit"), [("80", 80), ("200", 100)])
def test_engines_fit_a_screen_but_for_paths(
    monkeypatch: pytest.MonkeyPatch, columns: str, limit: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    table, *paragraphs = run("engines").stdout.split("\n\n")
    assert max(map(len, table.splitlines())) <= 100
    lines = "\n".join(paragraphs).splitlines()
    assert max(len(line) for line in lines if "library:" not in line) <= limit


def test_engines_as_markdown() -> None:
    header, rule, *_ = run("engines", "--markdown").stdout.splitlines()
    assert header.startswith("| feature |")
    assert set(rule) == set("| -")
    assert run("engines", "--markdown", "--json").returncode == 2


def test_a_broken_engine_is_one_paragraph(tmp_path: Path) -> None:
    Site(tmp_path).install("broken", "import os; os.abort()")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [str(BIN / "iree-wasm"), "engines"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "broken: plugin iree-wasm-hal-broken 1.2\n  unavailable: engine 'broken'" in done.stdout
    assert "SIGABRT" in done.stdout
    assert "wasmtime: version" in done.stdout


def test_version_and_help() -> None:
    assert run("--version").stdout == f"iree-wasm-hal {metadata.version('iree-wasm-hal')}\n"
    helped = run("--help")
    assert helped.returncode == 0
    for command in ("compile", "run", "check", "inspect", "engines"):
        assert f"\n  {command} " in helped.stdout
    assert run().returncode == 2
    assert run("nonsense").returncode == 2


def test_a_missing_model_is_wrong_usage(tmp_path: Path) -> None:
    assert run("compile", tmp_path / "nope.mlir").returncode == 2
    assert run("compile", tmp_path).returncode == 2


def test_words_without_dashes_are_no_flags(tmp_path: Path) -> None:
    source = tmp_path / "scale.mlir"
    source.write_text(SOURCE)
    done = run("compile", source, "extra")
    assert done.returncode == 2
    assert "unexpected argument 'extra'" in done.stderr


def test_a_closed_standard_output_is_no_traceback() -> None:
    command = f"exec {BIN / 'iree-wasm'} engines >&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
