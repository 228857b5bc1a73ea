"""The figures of all engines, and the tables that show them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine_speed.factors import FLOP
from engine_speed.stock_products import STOCK_TILES
from engine_speed.subject import COMPILED, MODELS, SHARED_ROWS
from engine_speed.tile_product import TILES

if TYPE_CHECKING:
    from engine_speed.subject import Subject

__all__ = ["NATIVE_PRODUCTS", "Figures", "figures_of", "print_tables"]

NATIVE_PRODUCTS = {"onnxruntime": False, "onnxruntime, packed before": True}
"""Rows of the native product, and whether the right factor is a constant."""
OUTSIDE_LIMIT = 0.05
REFERENCE = "wasmtime"
_PRODUCTS = (
    *(tile.name for tile in TILES),
    *SHARED_ROWS.values(),
    *(tile.name for tile in STOCK_TILES),
    "linalg.matmul",
)


@dataclass
class Figures:
    """What is found out about one engine, or about onnxruntime; medians."""

    version: str
    target: str = ""
    call_us: float | None = None
    instantiate_us: float | None = None
    start_ms: float | None = None
    compile_mb_per_s: dict[str, float] = field(default_factory=dict)
    compile_s: dict[str, float] = field(default_factory=dict)
    model_ms: dict[str, float] = field(default_factory=dict)
    outside_share: dict[str, float] = field(default_factory=dict)
    gflop_per_s: dict[str, float] = field(default_factory=dict)


def figures_of(subject: Subject) -> Figures:
    """Medians over all rounds."""
    samples = subject.samples
    compile_s = {name: samples.median(f"compile {name}") for name in COMPILED}
    lengths = subject.kernel_byte_length
    return Figures(
        version=subject.info.version,
        target=subject.target,
        call_us=samples.median("call") * 1e6,
        instantiate_us=samples.median("instantiate") * 1e6,
        start_ms=samples.median("start") * 1e3,
        compile_s=compile_s,
        compile_mb_per_s={name: lengths[name] / 1e6 / compile_s[name] for name in COMPILED},
        model_ms={name: samples.median(name) * 1e3 for name in MODELS},
        outside_share={name: samples.median(f"outside {name}") for name in MODELS},
        gflop_per_s={
            name: FLOP / 1e9 / samples.median(name) for name in _PRODUCTS if name in samples
        },
    )


def print_tables(native: Figures, engines: dict[str, Figures]) -> None:
    """All that was measured, with ratios to the reference engine and to onnxruntime."""
    _print_costs(engines)
    _print_models(native, engines)
    _print_products(native, engines)


def _print_costs(engines: dict[str, Figures]) -> None:
    titles = ["call us", "instantiate us", "start ms", *(f"{n} MB/s" for n in COMPILED)]
    print(f"\n{'engine':<22}" + "".join(f"{title:>19}" for title in titles))
    for name, row in engines.items():
        cells = [row.call_us, row.instantiate_us, row.start_ms, *row.compile_mb_per_s.values()]
        print(f"{f'{name} {row.version}':<22}" + "".join(f"{cell:>19.2f}" for cell in cells))
    print("MB/s: of wasm compiled; start: from Magika's archive to its first result")


def _print_models(native: Figures, engines: dict[str, Figures]) -> None:
    print(f"\n{'engine':<22}" + "".join(_titles(name) for name in MODELS))
    base = engines[REFERENCE].model_ms if REFERENCE in engines else {}
    for name, row in {"onnxruntime": native, **engines}.items():
        line = f"{f'{name} {row.version}':<22}"
        for model in MODELS:
            took = row.model_ms[model]
            outside = row.outside_share.get(model)
            line += f"{took:>16.2f}{_ratio(base.get(model), took):>12}"
            line += f"{_ratio(native.model_ms[model], took):>10}"
            line += f"{'' if outside is None else f'{outside:.1%}':>9}"
        print(line)
    over = [
        name
        for name, row in engines.items()
        if any(share > OUTSIDE_LIMIT for share in row.outside_share.values())
    ]
    print(f"outside: share of the time not spent in wasm; above {OUTSIDE_LIMIT:.0%}: {over}")


def _titles(model: str) -> str:
    return f"{f'{model} ms':>16}{'x wasmtime':>12}{'x native':>10}{'outside':>9}"


def _print_products(native: Figures, engines: dict[str, Figures]) -> None:
    print(f"\n{'512x512x512, GFLOP/s':<34}" + "".join(f"{name:>24}" for name in engines))
    print(f"{'(x wasmtime, x onnxruntime)':<34}")
    for name, native_value in native.gflop_per_s.items():
        print(f"{name:<34}{native_value:>10.1f}")
    matmul = native.gflop_per_s["onnxruntime"]
    base = engines[REFERENCE].gflop_per_s if REFERENCE in engines else {}
    for product in _PRODUCTS:
        line = f"{product:<34}"
        for row in engines.values():
            value = row.gflop_per_s.get(product)
            ratios = f" ({_ratio(value, base.get(product))}, {_ratio(value, matmul)})"
            cell = "-" if value is None else f"{value:.1f}{ratios}"
            line += f"{cell:>24}"
        print(line)
    scalar = [name for name, row in engines.items() if row.target == "wasm32"]
    if scalar:
        print(f"scalar kernels: {', '.join(scalar)}")


def _ratio(numerator: float | None, denominator: float | None) -> str:
    return f"{numerator / denominator:.2f}" if numerator and denominator else "-"
