"""Builds ``libsupport_wasm32.a`` and ``libsupport_wasm64.a``, which ship beside this file.

They hold the functions that LLVM's code for a kernel may call and that iree-compile does not
link: libm (musl's sources, as they come with the PyPI package ``ziglang``), and the compiler's
own helpers and memory functions (``source/``). The objects are position-independent wasm without
any feature beyond the first version, so that they link into a scalar kernel as well.

The output depends on the ziglang version and on these sources only::

    pip install ziglang==0.14.1
    python iree_wasm_hal/compiler/linking/support/build.py [--output-dir DIR]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

ZIGLANG_VERSION = "0.14.1"
"""Clang 19 and musl 1.2.5. Later ziglang packages have rewritten most of musl's math in Zig."""

SOURCE_DIR = Path(__file__).parent / "source"

# Function stems; each has a float version with the suffix "f".
_MUSL_FUNCTIONS = tuple(
    """
    acos acosh asin asinh atan atan2 atanh cbrt cos cosh erf exp exp10 exp2 expm1 fdim fma fmod
    frexp hypot ilogb ldexp lgamma lgamma_r llrint llround log log10 log1p log2 lrint lround modf
    nextafter pow remainder remquo scalbn sin sincos sinh tan tanh tgamma
""".split()  # noqa: SIM905 # a hundred quoted names would hide the pattern
)
# What those call: kernels of the trigonometric functions, tables, error results.
_MUSL_INTERNALS = tuple(
    """
    __cos __cosdf __expo2 __expo2f __math_divzero __math_divzerof __math_invalid __math_invalidf
    __math_oflow __math_oflowf __math_uflow __math_uflowf __math_xflow __math_xflowf __rem_pio2
    __rem_pio2_large __rem_pio2f __sin __sindf __tan __tandf exp2f_data exp_data log2_data
    log2f_data log_data logf_data pow_data powf_data signgam
""".split()  # noqa: SIM905 # as above
)

_COMMON_FLAGS = [
    *("-O3", "-g0", "-std=gnu11", "-fPIC", "-fvisibility=hidden", "-mcpu=mvp", "-ffreestanding"),
    *("-fno-builtin", "-fno-sanitize=all", "-fno-stack-protector", "-ffp-contract=off"),
    *("-fno-ident", "-w"),
]


def _musl_sources(musl: Path) -> list[Path]:
    stems = [f"{name}{suffix}" for name in _MUSL_FUNCTIONS for suffix in ("", "f")]
    stems.remove("fmaf")  # ours, in source/
    stems = [stem.replace("_rf", "f_r") for stem in stems] + list(_MUSL_INTERNALS)
    return [musl / "src" / "math" / f"{stem}.c" for stem in stems]


def _musl_flags(lib: Path) -> list[str]:
    musl = lib / "libc" / "musl"
    includes = [
        lib / "libc" / "include" / "wasm-wasi-musl",
        musl / "src" / "include",
        musl / "src" / "internal",
        musl / "arch" / "generic",
        musl / "include",
    ]
    flags = [flag for path in includes for flag in ("-isystem", str(path))]
    return [*flags, "-include", str(SOURCE_DIR / "wasm_instructions.h"), "-I", str(SOURCE_DIR)]


def build_archive(zig: Path, pointer_bits: int, output: Path, work_dir: Path) -> None:
    """Compiles every source for ``wasm32`` or ``wasm64`` and archives the objects."""
    lib = zig.parent / "lib"
    environment = {
        **os.environ,
        "ZIG_GLOBAL_CACHE_DIR": str(work_dir / "cache"),
        "ZIG_LOCAL_CACHE_DIR": str(work_dir / "cache"),
    }
    object_dir = work_dir / f"wasm{pointer_bits}"
    object_dir.mkdir()

    def compile_one(job: tuple[Path, list[str]]) -> Path:
        source, flags = job
        target = object_dir / f"{source.stem}.o"
        command = [str(zig), "cc", "-target", f"wasm{pointer_bits}-freestanding", *_COMMON_FLAGS]
        command += [*flags, "-c", str(source), "-o", str(target)]
        subprocess.run(command, check=True, env=environment)
        return target

    musl_flags = _musl_flags(lib)
    jobs: list[tuple[Path, list[str]]] = [(source, []) for source in sorted(SOURCE_DIR.glob("*.c"))]
    jobs += [(source, musl_flags) for source in _musl_sources(lib / "libc" / "musl")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, jobs))
    output.unlink(missing_ok=True)
    command = [str(zig), "ar", "rcsD", str(output), *map(str, objects)]
    subprocess.run(command, check=True, env=environment)


def find_zig() -> Path:
    """The zig binary of the installed ``ziglang`` package.

    Raises:
        SystemExit: The package is missing, or of another version than ``ZIGLANG_VERSION``.
    """
    wanted = f"run: pip install ziglang=={ZIGLANG_VERSION}"
    try:
        version = metadata.version("ziglang")
    except metadata.PackageNotFoundError:
        sys.exit(f"the package ziglang is not installed; {wanted}")
    if version != ZIGLANG_VERSION:
        sys.exit(f"ziglang {version} is installed, expected {ZIGLANG_VERSION}; {wanted}")
    files = metadata.files("ziglang") or []
    return next(Path(str(f.locate())) for f in files if f.as_posix() == "ziglang/zig")


def main() -> None:
    """Command line: builds both archives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output-dir", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    zig = find_zig()
    with tempfile.TemporaryDirectory() as work_dir:
        for bits in (32, 64):
            output = arguments.output_dir / f"libsupport_wasm{bits}.a"
            build_archive(zig, bits, output, Path(work_dir))
            print(f"{output}: {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
