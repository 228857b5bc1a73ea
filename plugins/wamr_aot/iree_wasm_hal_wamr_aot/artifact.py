"""The form in which compiled programs are kept: a header that says for what, and machine code.

::

    magic                8 bytes
    SHA-256              32 bytes, of all that follows
    header byte length   4 bytes, little-endian
    header               JSON
    parts                AOT images of WAMR, one behind the other

The checksum finds damage, not malice: whoever writes an artifact chooses the machine code that
runs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.errors import WasmCompileError
from iree_wasm_hal_wamr_aot.module_reader import Import, MemoryLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT_VERSION = 1
_MAGIC = b"IWHAOT\r\n"
_DIGEST_BYTE_LENGTH = 32
_LENGTH_BYTE_LENGTH = 4
_HEADER_OFFSET = len(_MAGIC) + _DIGEST_BYTE_LENGTH + _LENGTH_BYTE_LENGTH


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which compiled code may run. A field's name is what an error calls it."""

    wamr_version: str
    runtime_interface: int
    compiler_interface: int
    vector_bits: int
    bounds_checks: str
    """As the engine was opened; a program with a 64-bit memory has explicit ones in any case."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled program."""

    conditions: Conditions
    llvm_version: str
    cpu_features: tuple[str, ...]
    """LLVM's names for what the CPU must have; sorted."""
    tune_cpu: str
    """LLVM's name for the CPU that the code is best for."""
    guarded: bool
    """Whether the code leaves bounds checks to guard pages."""
    imports: tuple[Import, ...]
    function_names: tuple[str, ...]
    """By function index, imported ones included; ``""`` for one without a name."""
    owners: tuple[int, ...]
    """The part that owns each function of the program's own."""
    parts: tuple[bytes, ...]


def encode(artifact: Artifact) -> bytes:
    """The bytes of an artifact."""
    header: dict[str, Any] = {"format_version": FORMAT_VERSION} | asdict(artifact)
    header["parts"] = [len(part) for part in artifact.parts]
    text = json.dumps(header, separators=(",", ":")).encode()
    body = b"".join([len(text).to_bytes(_LENGTH_BYTE_LENGTH, "little"), text, *artifact.parts])
    return _MAGIC + hashlib.sha256(body).digest() + body


def decode(image: bytes) -> Artifact:
    """Reads what ``encode`` wrote.

    Raises:
        WasmCompileError: It is something else, damaged, or of another version of this plugin.
    """
    if image[: len(_MAGIC)] != _MAGIC:
        raise _refused(f"it begins with {image[:8]!r}, expected {_MAGIC!r}", len(image))
    digest = image[len(_MAGIC) : _HEADER_OFFSET - _LENGTH_BYTE_LENGTH]
    body = memoryview(image)[_HEADER_OFFSET - _LENGTH_BYTE_LENGTH :]
    if hashlib.sha256(body).digest() != digest:
        raise _refused("it is damaged: its checksum differs", len(image))
    header_end = _LENGTH_BYTE_LENGTH + int.from_bytes(body[:_LENGTH_BYTE_LENGTH], "little")
    try:
        header = json.loads(bytes(body[_LENGTH_BYTE_LENGTH:header_end]))
        version = header.pop("format_version")
        if version != FORMAT_VERSION:
            what = f"its format is version {version}, this plugin's is {FORMAT_VERSION}"
            raise _refused(what, len(image))
        return _from_header(header, bytes(body[header_end:]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _refused(f"its header cannot be read: {error}", len(image)) from error


def check_conditions(artifact: Artifact, here: Conditions, llvm_version: str | None) -> None:
    """Checks that an artifact was compiled as this engine compiles.

    Args:
        artifact: The artifact.
        here: What this engine compiles for.
        llvm_version: Of this engine's compiler; None where there is none.

    Raises:
        WasmCompileError: Names what differs.
    """
    found, expected = asdict(artifact.conditions), asdict(here)
    if llvm_version is not None:
        found["llvm_version"], expected["llvm_version"] = artifact.llvm_version, llvm_version
    wrong = [
        f"{name} is {found[name]!r}, here it is {value!r}"
        for name, value in expected.items()
        if found[name] != value
    ]
    if wrong:
        raise _refused(f"it was compiled otherwise: {'; '.join(wrong)}", _byte_length(artifact))


def check_cpu(artifact: Artifact, cpu_features: frozenset[str]) -> None:
    """Checks that this machine's CPU has what an artifact was compiled for.

    Raises:
        WasmCompileError: Names what the CPU lacks.
    """
    missing = sorted(set(artifact.cpu_features) - cpu_features)
    if missing:
        what = f"it is for a CPU ({artifact.tune_cpu}) with {', '.join(missing)}, which this lacks"
        raise _refused(what, _byte_length(artifact))


def _from_header(header: dict[str, Any], code: bytes) -> Artifact:
    lengths: Sequence[int] = header.pop("parts")
    if not all(isinstance(one, int) and one > 0 for one in lengths) or sum(lengths) != len(code):
        raise ValueError(f"parts of {lengths} bytes, {len(code)} bytes are there")
    parts, at = [], 0
    for byte_length in lengths:
        parts.append(code[at : at + byte_length])
        at += byte_length
    owners = tuple(int(owner) for owner in header.pop("owners"))
    if not all(0 <= owner < len(parts) for owner in owners):
        raise ValueError(f"functions of parts that are none of {len(parts)}")
    return Artifact(
        conditions=Conditions(**header.pop("conditions")),
        cpu_features=tuple(header.pop("cpu_features")),
        imports=tuple(_import(one) for one in header.pop("imports")),
        function_names=tuple(header.pop("function_names")),
        owners=owners,
        parts=tuple(parts),
        **header,
    )


def _import(fields: dict[str, Any]) -> Import:
    limits = fields["limits"]
    return Import(str(fields["name"]), None if limits is None else MemoryLimits(**limits))


def _byte_length(artifact: Artifact) -> int:
    return sum(map(len, artifact.parts))


def _refused(reason: str, byte_length: int) -> WasmCompileError:
    msg = (
        f"engine 'wamr-aot' cannot load the compiled program ({byte_length} bytes): {reason}. "
        "Compile the module again"
    )
    return WasmCompileError(msg)
