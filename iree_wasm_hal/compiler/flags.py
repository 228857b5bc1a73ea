"""The flags that iree-compile gets, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from iree_wasm_hal.compiler.targets import Target

__all__ = ["iree_compile_flags"]

# Runs on each kernel before code generation.
_KERNEL_PIPELINE = (
    "builtin.module(hal.executable.variant(builtin.module("
    "iree-preprocessing-apply-pdl-patterns{{patterns-file={patterns}}})))"
)


def _target_attribute(target: Target) -> str:
    """An ``#hal.executable.target`` for one of several targets."""
    fields = [
        f'target_triple = "{target.triple}"',
        'cpu = ""',
        f'cpu_features = "{",".join(target.cpu_features)}"',
    ]
    # The attribute has no default: without it the compiler divides by zero.
    fields.append(f"native_vector_size = {target.vector_byte_length or 16} : i64")
    return f'#hal.executable.target<"llvm-cpu", "{target.format}", {{{", ".join(fields)}}}>'


def _device_flags(targets: Sequence[Target]) -> list[str]:
    if len(targets) > 1:
        attributes = ", ".join(_target_attribute(target) for target in targets)
        return [f'--iree-hal-target-device=#hal.device.target<"local", [{attributes}]>']
    (target,) = targets
    flags = [
        "--iree-hal-target-device=local",
        "--iree-hal-local-target-device-backends=llvm-cpu",
        f"--iree-llvmcpu-target-triple={target.triple}",
        f"--iree-llvmcpu-target-cpu-features={','.join(target.cpu_features)}",
    ]
    if target.vector_byte_length:
        flags.append(f"--iree-llvmcpu-target-vector-width-in-bytes={target.vector_byte_length}")
    return flags


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
        *_device_flags(targets),
        f"--iree-input-type={input_type}",
        f"--iree-hal-preprocess-executables-with={_KERNEL_PIPELINE.format(patterns=patterns)}",
        # Kernels are wasm dynamic libraries, not ELF files.
        "--iree-llvmcpu-link-embedded=false",
        f"--iree-llvmcpu-wasm-linker-path={linker}",
        # The compiler would turn f64 into f32, signatures included.
        "--iree-input-demote-f64-to-f32=false",
    ]
