"""How wide the vectors are that 128-bit operations are merged into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iree_wasm_hal.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from iree_wasm_hal_wamr_aot.compiler_library import CompilerRecord

NARROW = 128
# What LLVM needs before it keeps values of a width in registers.
_NEEDED_FEATURES = {
    512: {"avx512f", "avx512vl", "avx512bw", "avx512dq"},
    256: {"avx", "avx2"},
    NARROW: set[str](),
}


def choose_vector_bits(
    asked: int | None, cpu_features: AbstractSet[str], compiler: CompilerRecord | None
) -> int:
    """The width that programs are compiled for.

    Args:
        asked: The option's width; None for the widest.
        cpu_features: What the CPU has.
        compiler: The compiler; None where there is none, and compiled programs are loaded.

    Raises:
        EngineError: The CPU or the compiler cannot do what the option asks for.
    """
    widest = max(bits for bits, needed in _NEEDED_FEATURES.items() if needed <= cpu_features)
    reason = f"this CPU's widest vectors have {widest} bits"
    if compiler is not None and not compiler.can_widen:
        widest = NARROW
        reason = f"its compiler has LLVM {compiler.llvm_version}, which merges none; LLVM 22 does"
    if asked is not None and asked > widest:
        msg = f"engine 'wamr-aot': option 'vector_bits' is {asked}, but {reason}"
        raise EngineError(msg)
    return widest if asked is None else asked
