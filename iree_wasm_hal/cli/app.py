"""The commands; each one's work is in a module of its own, its options in ``options``."""

from __future__ import annotations

from importlib import metadata

import typer

from iree_wasm_hal.cli import options
from iree_wasm_hal.cli.compile import compile_command
from iree_wasm_hal.cli.reporting import guarded

__all__ = ["app", "run_command_line"]

app = typer.Typer(
    name="iree-wasm",
    help="Runs IREE archives (.vmfb) whose kernels are WebAssembly, on the wasm engine you name.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

cache_app = typer.Typer(
    help="Shows or empties the user's cache of compiled code. The environment can name another "
    "folder (IREE_WASM_HAL_CACHE_DIR) or bound (IREE_WASM_HAL_CACHE_MAX_BYTES) and switch it off "
    "(IREE_WASM_HAL_NO_CACHE=1).",
    rich_markup_mode=None,
)


def run_command_line(arguments: list[str]) -> int:
    """Runs one command line.

    Args:
        arguments: What follows the program's name.

    Returns:
        The process's exit status.
    """
    try:
        app(args=arguments, prog_name="iree-wasm")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    return 0


@app.callback()
def _without_command(context: typer.Context, version: options.Version = False) -> None:
    if version:
        print(f"iree-wasm-hal {metadata.version('iree-wasm-hal')}")
    elif context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


@app.command("run")
def _run(  # typer calls it with names
    model: options.Model,
    engine: options.Engine = None,
    threads: options.Threads = 1,
    function: options.Function = None,
    inputs: options.Inputs = None,
    outputs: options.Outputs = None,
    expected_outputs: options.ExpectedOutputs = None,
    parameters: options.Parameters = None,
    no_cache: options.NoCache = False,
    isolation: options.Isolation = None,
    timeout: options.Timeout = None,
    max_element_count: options.MaxElementCount = 1024,
    f16: options.Float16Threshold = 0.001,
    f32: options.Float32Threshold = 0.0001,
    f64: options.Float64Threshold = 0.0001,
    bf16: options.BFloat16Threshold = 0.01,
    relative: options.RelativeTolerance = 1e-5,
    equality_mode: options.EqualityMode = "approximate",
) -> None:
    """Runs one function of an archive and prints, writes or checks its results."""
    from iree_wasm_hal.cli import run  # noqa: PLC0415  # loads the runtime

    request = run.RunRequest(
        model=model,
        engine=engine,
        threads=threads,
        function=function,
        inputs=tuple(inputs or ()),
        outputs=tuple(outputs or ()),
        expected_outputs=tuple(expected_outputs or ()),
        parameters=tuple(parameters or ()),
        cache=not no_cache,
        isolation=options.isolation_of(isolation),
        timeout=timeout,
        max_element_count=max_element_count,
        tolerance=options.tolerance_of(
            equality_mode, f16=f16, f32=f32, f64=f64, bf16=bf16, relative=relative
        ),
    )
    raise typer.Exit(guarded(lambda: run.run(request)))


@app.command("check")
def _check(
    model: options.Model,
    engine: options.Engine = None,
    threads: options.Threads = 1,
    no_cache: options.NoCache = False,
    as_json: options.Json = False,
) -> None:
    """Runs every exported test of an archive that uses IREE's check module."""
    from iree_wasm_hal.cli import check  # noqa: PLC0415  # loads the runtime

    raise typer.Exit(
        guarded(lambda: check.check(model, engine, threads, cache=not no_cache, as_json=as_json))
    )


@app.command("inspect")
def _inspect(model: options.Model, as_json: options.Json = False) -> None:
    """Shows what an archive holds: imports, exports, executables and what they need."""
    from iree_wasm_hal.cli import inspect  # noqa: PLC0415  # loads the archive reader

    raise typer.Exit(guarded(lambda: inspect.inspect(model, as_json=as_json)))


@app.command("engines")
def _engines(as_json: options.Json = False, as_markdown: options.Markdown = False) -> None:
    """Lists the installed engines: versions, features, and why one or the other is missing."""
    from iree_wasm_hal.cli import engines  # noqa: PLC0415  # opens engines

    raise typer.Exit(guarded(lambda: engines.engines(as_json=as_json, as_markdown=as_markdown)))


@cache_app.command("info")
def _cache_info(as_json: options.Json = False) -> None:
    """Shows where the cache is and what it holds."""
    from iree_wasm_hal.cli import cache  # noqa: PLC0415  # as the other commands

    raise typer.Exit(guarded(lambda: cache.info(as_json=as_json)))


@cache_app.command("clear")
def _cache_clear(as_json: options.Json = False) -> None:
    """Removes everything from the cache."""
    from iree_wasm_hal.cli import cache  # noqa: PLC0415  # as the other commands

    raise typer.Exit(guarded(lambda: cache.clear(as_json=as_json)))


app.command("compile")(compile_command)
app.add_typer(cache_app, name="cache")
