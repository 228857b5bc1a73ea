"""What happens with a kernel that differs: it is cut down and stored as a test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fuzz_generate import generate
from fuzz_kernel import Kernel
from fuzz_process import Worker
from fuzz_reduce import reduce_kernel

if TYPE_CHECKING:
    from fuzz_run import Difference, Mode

__all__ = ["REGRESSIONS", "load_regressions", "reduce_and_store"]

REGRESSIONS = Path(__file__).with_name("regressions")
# One kernel compiles in well under a second.
_TIMEOUT_S = 20.0


def load_regressions() -> dict[str, Kernel]:
    """The stored kernels by name."""
    return {
        path.stem: Kernel.from_json(path.read_text()) for path in sorted(REGRESSIONS.glob("*.json"))
    }


def reduce_and_store(seed: int, difference: Difference, mode: Mode, folder: Path) -> Path:
    """Cuts the kernel of a seed down and writes it to a file of its own.

    Args:
        seed: Of the kernel.
        difference: What was seen.
        mode: Where.
        folder: For the file.
    """
    worker = Worker(_TIMEOUT_S)

    def still_differs(kernel: Kernel) -> bool:
        return any(one.kind == difference.kind for one in worker.run(kernel, [mode]))

    kernel = generate(seed)
    if still_differs(kernel):
        kernel = reduce_kernel(kernel, still_differs)
        (last, *_) = worker.run(kernel, [mode])
        what = f"{last.kind}: {last.detail}"
    else:
        what = f"{difference.kind}: {difference.detail}; not seen again"
    worker.close()
    kernel.note = f"seed {seed}, {mode.name}: {what}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{difference.kind.replace(' ', '_')}_{seed}.json"
    path.write_text(kernel.to_json())
    return path
