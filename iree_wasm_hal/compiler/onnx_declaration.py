"""The signature of an ONNX model's function, under the model's own names.

iree-compile describes each function in its archive (``iree.abi.declaration``), but for functions
that come from ONNX by way of the torch dialect it does not. A declaration on the imported function
is carried through to the archive; with it, a runtime can name the argument that does not fit.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import onnx

__all__ = ["declaration", "write_declaration"]

# ONNX element type -> MLIR's spelling.
_ELEMENT_TYPES = {
    "FLOAT": "f32",
    "DOUBLE": "f64",
    "FLOAT16": "f16",
    "BFLOAT16": "bf16",
    "BOOL": "i1",
    **{f"INT{bits}": f"i{bits}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"ui{bits}" for bits in (8, 16, 32, 64)},
    "FLOAT8E4M3FN": "f8E4M3FN",
    "FLOAT8E4M3FNUZ": "f8E4M3FNUZ",
    "FLOAT8E5M2": "f8E5M2",
    "FLOAT8E5M2FNUZ": "f8E5M2FNUZ",
}


def _value(value: onnx.ValueInfoProto) -> str | None:
    import onnx  # noqa: PLC0415 # an extra

    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    element_type = _ELEMENT_TYPES.get(onnx.TensorProto.DataType.Name(tensor.elem_type))
    if element_type is None:
        return None
    sizes = [
        str(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value >= 0 else "?"
        for dim in tensor.shape.dim
    ]
    name = re.sub(r"[^\w.$-]", "_", value.name, flags=re.ASCII)
    return f"%{name}: tensor<{'x'.join([*sizes, element_type])}>"


def _values(values: Iterable[onnx.ValueInfoProto]) -> str | None:
    texts = [_value(value) for value in values]
    return None if None in texts else ", ".join(text for text in texts if text)


def declaration(model: onnx.ModelProto) -> str | None:
    """The text of the declaration; None if a type has no spelling in it (strings, sequences)."""
    inputs, outputs = _values(model.graph.input), _values(model.graph.output)
    if inputs is None or outputs is None:
        return None
    return f"sync func @{model.graph.name}({inputs}) -> ({outputs})"


def write_declaration(imported: Path, text: str) -> None:
    """Puts a declaration on the first function of an imported module, in place."""
    attribute = f'iree.reflection = {{iree.abi.declaration = "{text}"}}'.encode()
    target = imported.with_suffix(".declared.mlir")
    with imported.open("rb") as source, target.open("wb") as sink:
        for line in source:
            is_function = line.lstrip().startswith(b"func.func ")
            sink.write(
                line.replace(b" attributes {", b" attributes {" + attribute + b", ", 1)
                if is_function
                else line
            )
            if is_function:
                break
        shutil.copyfileobj(source, sink)
    target.replace(imported)
