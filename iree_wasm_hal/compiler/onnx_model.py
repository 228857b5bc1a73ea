"""ONNX models made ready for IREE's importer: shapes, constants, opset, function name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.compiler.onnx_declaration import declaration, write_declaration
from iree_wasm_hal.compiler.onnx_folding import fold_constants
from iree_wasm_hal.compiler.onnx_padding import gather_reflections
from iree_wasm_hal.compiler.onnx_pointwise import multiply_pixels
from iree_wasm_hal.compiler.onnx_shifts import bound_shifts
from iree_wasm_hal.compiler.onnx_windows import trim_windows
from iree_wasm_hal.compiler.toolchain import PYTHON, require_module, run
from iree_wasm_hal.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import onnx

    from iree_wasm_hal.compiler.source import Source

__all__ = ["OnnxOptions", "import_onnx", "parse_shape"]

FUNCTION_NAME = "main"
"""Exported function of every model that comes from ONNX, whatever its graph is called."""

_LARGE_MODEL_BYTE_LENGTH = 1 << 30
_MIN_IR_VERSION = 4  # from here on, an initializer need not be an input
_MIN_OPSET = 13
"""Lower opsets are raised to ``_RAISED_OPSET``: several operators of theirs have no lowering."""
_RAISED_OPSET = 17


def parse_shape(text: str) -> tuple[int, ...]:
    """``"1x3x640x640"`` as a shape; the empty string is a scalar's.

    Raises:
        CompileError: A dimension is not a number.
    """
    if not text:
        return ()
    try:
        return tuple(int(dim) for dim in text.split("x"))
    except ValueError as error:
        raise CompileError(f"shape {text!r}; expected numbers as in 1x3x640x640") from error


def _load(source: Source) -> onnx.ModelProto:
    import onnx  # noqa: PLC0415 # an extra, and half a second

    if source.model is not None:
        copy = onnx.ModelProto()
        copy.CopyFrom(source.model)
        return copy
    try:
        if source.path is not None:
            return onnx.load(str(source.path), load_external_data=False)
        return onnx.load_model_from_string(source.data or b"")
    except Exception as error:  # protobuf's DecodeError has no public module
        raise CompileError(f"{source.name}: not a readable ONNX model: {error}") from error


def _drop_default_inputs(model: onnx.ModelProto) -> None:
    """Makes constants of the inputs with a default value (before IR version 4, all weights)."""
    constants = {initializer.name for initializer in model.graph.initializer}
    for value in [value for value in model.graph.input if value.name in constants]:
        model.graph.input.remove(value)
    model.ir_version = max(model.ir_version, _MIN_IR_VERSION)


def _graph_inputs(model: onnx.ModelProto) -> dict[str, Any]:
    """Name -> ValueInfoProto of what a caller passes."""
    return {value.name: value for value in model.graph.input}


def _set_shapes(
    model: onnx.ModelProto, shapes: Mapping[str, str | Sequence[int]], name: str
) -> None:
    inputs = _graph_inputs(model)
    for input_name, given in shapes.items():
        if input_name not in inputs:
            known = ", ".join(inputs) or "none"
            raise CompileError(f"{name}: no input {input_name!r} to give a shape; inputs: {known}")
        shape = parse_shape(given) if isinstance(given, str) else tuple(given)
        if not all(isinstance(size, int) and size >= 0 for size in shape):
            raise CompileError(
                f"{name}: input {input_name!r}: shape {shape}; expected integers of 0 or more"
            )
        tensor = inputs[input_name].type.tensor_type
        dims = tensor.shape.dim
        if tensor.HasField("shape") and len(dims) != len(shape):
            raise CompileError(
                f"{name}: input {input_name!r} has {len(dims)} dimensions, the shape given "
                f"has {len(shape)} ({'x'.join(map(str, shape))})"
            )
        for axis, size in enumerate(shape):
            dim = dims[axis] if axis < len(dims) else dims.add()
            if dim.dim_value > 0 and dim.dim_value != size:
                raise CompileError(
                    f"{name}: input {input_name!r} has size {dim.dim_value} in dimension {axis}; "
                    f"the shape given has {size}"
                )
            dim.dim_value = size
    if shapes:
        _forget_inferred_shapes(model)


def _set_values(model: onnx.ModelProto, values: Mapping[str, Any], name: str) -> None:
    """Turns inputs into constants."""
    import numpy as np  # noqa: PLC0415 # beside onnx
    from onnx import helper, numpy_helper  # noqa: PLC0415 # an extra

    inputs = _graph_inputs(model)
    for input_name, given in values.items():
        if input_name not in inputs:
            known = ", ".join(inputs) or "none"
            raise CompileError(f"{name}: no input {input_name!r} to give a value; inputs: {known}")
        tensor = inputs[input_name].type.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        try:
            value = np.asarray(given).astype(dtype)
        except (TypeError, ValueError) as error:
            raise CompileError(f"{name}: input {input_name!r}: {given!r} is no {dtype}") from error
        rank = len(tensor.shape.dim)
        if tensor.HasField("shape") and value.ndim != rank:
            raise CompileError(
                f"{name}: input {input_name!r} has {rank} dimensions, the value given {value.ndim}"
            )
        model.graph.initializer.append(numpy_helper.from_array(value, input_name))
        model.graph.input.remove(inputs[input_name])


def _forget_inferred_shapes(model: onnx.ModelProto) -> None:
    """Drops what was inferred from the dynamic shapes; the importer infers anew."""
    del model.graph.value_info[:]
    for output in model.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            if dim.dim_param or dim.dim_value < 0:
                dim.Clear()


def _opset(model: onnx.ModelProto) -> int:
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def _raise_opset(model: onnx.ModelProto, wanted: int | None, name: str) -> onnx.ModelProto:
    import onnx.version_converter  # noqa: PLC0415 # an extra, and half a second

    current = _opset(model)
    target = wanted or (_RAISED_OPSET if 0 < current < _MIN_OPSET else current)
    if wanted is not None and wanted < current:
        raise CompileError(f"{name}: its opset is {current}; it cannot be lowered to {wanted}")
    if target <= current:
        return model
    try:
        return onnx.version_converter.convert_version(model, target)
    except Exception as error:
        if wanted is None:
            return model
        raise CompileError(f"{name}: cannot raise opset {current} to {wanted}: {error}") from error


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """What a caller says about an ONNX model."""

    shapes: Mapping[str, str | Sequence[int]] = field(default_factory=dict)
    """Input name -> shape, for inputs with dynamic dimensions."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Input name -> value, for inputs to be compiled in as constants."""
    opset: int | None = None
    """Opset to raise the model to."""


def prepare(source: Source, options: OnnxOptions) -> onnx.ModelProto:
    """The model as the importer gets it.

    Raises:
        CompileError: The model or an option cannot be used.
    """
    model = _load(source)
    _drop_default_inputs(model)
    _set_values(model, options.values, source.name)
    _set_shapes(model, options.shapes, source.name)
    try:
        model = fold_constants(model)
    except Exception as error:
        raise CompileError(f"{source.name}: shapes cannot be inferred: {error}") from error
    model = _raise_opset(model, options.opset, source.name)
    model = bound_shifts(gather_reflections(trim_windows(multiply_pixels(model))))
    model.graph.name = FUNCTION_NAME
    return model


def import_onnx(
    source: Source,
    work_dir: Path,
    log: Path,
    options: OnnxOptions,
) -> Path | None:
    """Turns an ONNX model into MLIR; returns the file, or None if the importer failed (see log).

    Raises:
        CompileError: The packages are missing, or the model or a shape cannot be used.
    """
    require_module("onnx", "it reads ONNX models")
    model = prepare(source, options)
    prepared, imported = work_dir / "prepared.onnx", work_dir / "imported.mlir"
    prepared.write_bytes(model.SerializeToString())
    command = [PYTHON, "-m", "iree.compiler.tools.import_onnx", str(prepared), "-o", str(imported)]
    if source.path is not None:
        # Weights kept in files beside the model stay there.
        command += ["--data-dir", str(source.path.resolve().parent)]
        if source.path.stat().st_size > _LARGE_MODEL_BYTE_LENGTH:
            command.append("--large-model")
    if run(command, log, "the ONNX importer") != 0:
        return None
    text = declaration(model)
    if text is not None:
        write_declaration(imported, text)
    return imported
