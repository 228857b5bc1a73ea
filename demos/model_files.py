"""Where the demos' and the model tests' models come from, and their compiled archives.

The models are those that PyPI packages ship; archives are kept in ``build/models``, under a hash of
everything that went into them.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
from importlib import metadata, util
from pathlib import Path

import iree_wasm_hal as iwh

__all__ = ["compiled", "package_file"]

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "build" / "models"


def package_file(package: str, path: str) -> Path:
    """A file inside an installed package, without importing it.

    Raises:
        FileNotFoundError: The package is not installed or has no such file.
    """
    spec = util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package} is not installed; make venv installs it")
    file = Path(spec.origin).parent / path
    if not file.exists():
        raise FileNotFoundError(f"the installed package {package} has no file {path}")
    return file


def compiled(
    model: Path,
    input_shapes: dict[str, tuple[int, ...]] | None = None,
    target: str = "wasm32-simd128",
) -> Path:
    """The archive of an ONNX model for given input shapes; compiles it if there is none yet."""
    shapes = sorted((input_shapes or {}).items())
    digest = hashlib.sha256(f"{shapes} {target} {_compiler_identity()}".encode())
    digest.update(model.read_bytes())
    archive = CACHE / f"{model.stem}-{digest.hexdigest()[:16]}.vmfb"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with archive.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # what another process compiles need not be again
            if not archive.exists():
                unfinished = archive.with_suffix(".unfinished")
                iwh.compile(model, output=unfinished, target=target, input_shapes=dict(shapes))
                unfinished.replace(archive)
    return archive


@functools.lru_cache(maxsize=1)
def _compiler_identity() -> str:
    digest = hashlib.sha256(metadata.version("iree-base-compiler").encode())
    for source in sorted((ROOT / "iree_wasm_hal" / "compiler").rglob("*")):
        if source.is_file() and source.suffix != ".pyc":
            digest.update(source.read_bytes())
    return digest.hexdigest()
