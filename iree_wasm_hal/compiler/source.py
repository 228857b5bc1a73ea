"""What a model is: told from its contents, not from its file name."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import CompileError

if TYPE_CHECKING:
    import onnx

__all__ = ["INPUT_TYPES", "Source", "SourceKind", "read_source"]

_MLIR_BYTECODE_MAGIC = b"ML\xefR"
_ONNX_FIRST_FIELD = 0x08  # ModelProto.ir_version, field 1, a varint
_HEAD_BYTE_LENGTH = 1 << 20


class SourceKind(enum.Enum):
    """The two ways into the compiler."""

    ONNX = "onnx"
    MLIR = "mlir"


INPUT_TYPES = ("auto", "onnx", "stablehlo", "stablehlo_xla", "tosa", "torch", "none")
"""Input types that users may name; all but ``onnx`` go to iree-compile's ``--iree-input-type``."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model before compilation: a file, bytes, or an ONNX model in memory."""

    kind: SourceKind
    path: Path | None = None
    data: bytes | None = None
    model: Any = None

    @property
    def name(self) -> str:
        """For messages."""
        return str(self.path) if self.path is not None else "model"


def _is_text_mlir(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        # The head may end within a character.
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    code = re.sub(r"//[^\n]*", "", text)
    return bool(
        re.search(r"\b(module|func\.func|util\.func|builtin\.module|#\w+\s*=|!\w+\s*=)", code)
    )


def _sniff(head: bytes, name: str) -> SourceKind:
    if head.startswith(_MLIR_BYTECODE_MAGIC) or _is_text_mlir(head):
        return SourceKind.MLIR
    if head[:1] == bytes([_ONNX_FIRST_FIELD]):
        return SourceKind.ONNX
    shown = head[:8].hex(" ") or "nothing"
    raise CompileError(
        f"{name}: not an ONNX model, MLIR text or MLIR bytecode (starts with: {shown}); "
        "name what it is with input_type"
    )


def read_source(source: str | Path | bytes | onnx.ModelProto, input_type: str) -> Source:
    """Tells an ONNX model from MLIR by its first bytes.

    Args:
        source: A path, the bytes of a file, or an ``onnx.ModelProto``.
        input_type: ``auto``, or one of ``INPUT_TYPES`` to skip the guess.

    Raises:
        CompileError: No such file, or neither ONNX nor MLIR.
    """
    if input_type not in INPUT_TYPES:
        raise CompileError(f"input type {input_type!r}; expected one of {', '.join(INPUT_TYPES)}")
    path: Path | None = None
    if isinstance(source, (str, Path)):
        path = Path(source)
        try:
            with path.open("rb") as stream:
                head = stream.read(_HEAD_BYTE_LENGTH)
        except OSError as error:
            raise CompileError(f"{path}: {error.strerror}") from error
    elif isinstance(source, (bytes, bytearray, memoryview)):
        head = bytes(source[:_HEAD_BYTE_LENGTH])
    else:
        if not hasattr(source, "graph"):
            raise CompileError(
                f"a model is a path, bytes or an onnx.ModelProto, not {type(source).__name__}"
            )
        return Source(SourceKind.ONNX, model=source)
    if input_type == "auto":
        kind = _sniff(head, str(path or "model"))
    else:
        kind = SourceKind.ONNX if input_type == "onnx" else SourceKind.MLIR
    data = None if path else bytes(source)  # type: ignore[arg-type] # neither a path nor a proto
    return Source(kind, path=path, data=data)
