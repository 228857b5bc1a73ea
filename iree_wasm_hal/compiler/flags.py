"""The flags that iree-compile gets, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from iree_wasm_hal.compiler.targets import Target

__all__ = ["DEMOTE_F64", "FAST_CONVOLUTIONS", "KEEP_F64", "iree_compile_flags"]

# Runs on each kernel before code generation.
_KERNEL_PIPELINE = (
    "builtin.module(hal.executable.variant(builtin.module("
    "iree-preprocessing-apply-pdl-patterns{{patterns-file={patterns}}})))"
)


_DATA_LAYOUTS = {
    bits: f"e-m:e-p:{bits}:{bits}-p10:8:8-p20:8:8-i64:64-i128:128-n32:64-S128-ni:1:10:20"
    for bits in (32, 64)
}
"""As LLVM's wasm backend has them."""


def _target_attribute(target: Target, executable_format: str) -> str:
    """An ``#hal.executable.target`` with all that iree-compile would make of its flags.

    Nothing has a default in the attribute: without ``native_vector_size`` the compiler divides
    by zero.
    """
    fields = (
        'cpu = ""',
        f'cpu_features = "{",".join(target.cpu_features)}"',
        f'data_layout = "{_DATA_LAYOUTS[target.pointer_bits]}"',
        "iree.encoding.resolver = #iree_cpu.cpu_encoding_resolver<>",
        # A wasm dynamic library, not an ELF file.
        "link_embedded = false",
        # Measured over whole models; docs/compiling.md has the table.
        "loop_unrolling = true",
        "max_stack_allocation_size = 32768 : i64",
        f"native_vector_size = {target.vector_byte_length} : i64",
        f'target_triple = "{target.triple}"',
    )
    return f'#hal.executable.target<"llvm-cpu", "{executable_format}", {{{", ".join(fields)}}}>'


def _device_attribute(targets: Sequence[Target]) -> str:
    """A device that takes kernels of each target.

    A lone target has the format string that iree-compile itself would write.
    """
    if len(targets) == 1:
        attributes = _target_attribute(targets[0], targets[0].stock_format)
    else:
        attributes = ", ".join(_target_attribute(target, target.format) for target in targets)
    return f'#hal.device.target<"local", [{attributes}]>'


def iree_compile_flags(
    targets: Sequence[Target], linker: Path, patterns: Path, input_type: str
) -> list[str]:
    """Flags for kernels of one target, or of several in one archive.

    Args:
        targets: What to compile for.
        linker: Program that links a kernel module.
        patterns: File with the patterns of ``codegen_patterns``.
        input_type: ``--iree-input-type``.
    """
    return [
        f"--iree-hal-target-device={_device_attribute(targets)}",
        f"--iree-input-type={input_type}",
        f"--iree-hal-preprocess-executables-with={_KERNEL_PIPELINE.format(patterns=patterns)}",
        f"--iree-llvmcpu-wasm-linker-path={linker}",
    ]


KEEP_F64 = ("--iree-input-demote-f64-to-f32=false",)
"""Against the compiler's default, which turns f64 into f32, signatures included."""
DEMOTE_F64 = ("--iree-input-demote-f64-to-f32=true",)
"""Where only intermediate values are f64, and kernels with them do not compile (from 8-bit floats,
on windows of a pooling)."""


FAST_CONVOLUTIONS = ("--iree-global-opt-use-im2col-for-convs",)
"""Convolutions as matrix products: many times faster, but some do not compile in that form."""
