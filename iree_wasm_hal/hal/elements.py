"""IREE's element types and their numpy dtypes.

An element type is a 32-bit code: the numerical type in the top byte, the bit count in the lowest.
Spec: runtime/src/iree/hal/buffer_view.h (``iree_hal_element_types_t``).
"""

from __future__ import annotations

import numpy as np

from iree_wasm_hal.errors import ArgumentError

__all__ = [
    "ENCODING_DENSE_ROW_MAJOR",
    "ENCODING_OPAQUE",
    "ElementType",
    "dtype_of",
    "element_bit_count",
    "element_name",
    "element_type_from_name",
    "element_type_of",
    "element_types_compatible",
]

ENCODING_OPAQUE = 0
ENCODING_DENSE_ROW_MAJOR = 1


class ElementType:
    """Element type codes as plain ints, because programs pass them as i32."""

    NONE = 0
    OPAQUE_8 = 0x00000008
    OPAQUE_16 = 0x00000010
    OPAQUE_32 = 0x00000020
    OPAQUE_64 = 0x00000040
    BOOL_8 = 0x13000008
    INT_4 = 0x10000004
    INT_8 = 0x10000008
    INT_16 = 0x10000010
    INT_32 = 0x10000020
    INT_64 = 0x10000040
    SINT_4 = 0x11000004
    SINT_8 = 0x11000008
    SINT_16 = 0x11000010
    SINT_32 = 0x11000020
    SINT_64 = 0x11000040
    UINT_4 = 0x12000004
    UINT_8 = 0x12000008
    UINT_16 = 0x12000010
    UINT_32 = 0x12000020
    UINT_64 = 0x12000040
    FLOAT_16 = 0x21000010
    FLOAT_32 = 0x21000020
    FLOAT_64 = 0x21000040
    BFLOAT_16 = 0x22000010
    COMPLEX_64 = 0x23000040
    COMPLEX_128 = 0x23000080
    FLOAT_8_E5M2 = 0x24000008
    FLOAT_8_E4M3FN = 0x25000008
    FLOAT_8_E5M2FNUZ = 0x26000008
    FLOAT_8_E4M3FNUZ = 0x27000008
    FLOAT_8_E8M0FNU = 0x28000008


# Names as IREE prints and parses them (runtime/src/iree/hal/string_util.c).
_NAMES: dict[int, str] = {
    ElementType.OPAQUE_8: "*8",
    ElementType.OPAQUE_16: "*16",
    ElementType.OPAQUE_32: "*32",
    ElementType.OPAQUE_64: "*64",
    ElementType.BOOL_8: "i1",
    ElementType.INT_4: "i4",
    ElementType.INT_8: "i8",
    ElementType.INT_16: "i16",
    ElementType.INT_32: "i32",
    ElementType.INT_64: "i64",
    ElementType.SINT_4: "si4",
    ElementType.SINT_8: "si8",
    ElementType.SINT_16: "si16",
    ElementType.SINT_32: "si32",
    ElementType.SINT_64: "si64",
    ElementType.UINT_4: "ui4",
    ElementType.UINT_8: "ui8",
    ElementType.UINT_16: "ui16",
    ElementType.UINT_32: "ui32",
    ElementType.UINT_64: "ui64",
    ElementType.FLOAT_16: "f16",
    ElementType.FLOAT_32: "f32",
    ElementType.FLOAT_64: "f64",
    ElementType.BFLOAT_16: "bf16",
    ElementType.COMPLEX_64: "cf64",
    ElementType.COMPLEX_128: "cf128",
    ElementType.FLOAT_8_E5M2: "f8E5M2",
    ElementType.FLOAT_8_E4M3FN: "f8E4M3FN",
    ElementType.FLOAT_8_E5M2FNUZ: "f8E5M2FNUZ",
    ElementType.FLOAT_8_E4M3FNUZ: "f8E4M3FNUZ",
    ElementType.FLOAT_8_E8M0FNU: "f8E8M0FNU",
}
_CODES = {name: code for code, name in _NAMES.items()}
# MLIR's spellings, as they stand in ``iree.abi.declaration``.
_CODES |= {"complex<f32>": ElementType.COMPLEX_64, "complex<f64>": ElementType.COMPLEX_128}

# Types that numpy lacks; the names are ml_dtypes'.
_ML_DTYPES: dict[int, str] = {
    ElementType.BFLOAT_16: "bfloat16",
    ElementType.FLOAT_8_E5M2: "float8_e5m2",
    ElementType.FLOAT_8_E4M3FN: "float8_e4m3fn",
    ElementType.FLOAT_8_E5M2FNUZ: "float8_e5m2fnuz",
    ElementType.FLOAT_8_E4M3FNUZ: "float8_e4m3fnuz",
    ElementType.FLOAT_8_E8M0FNU: "float8_e8m0fnu",
}
_ML_CODES = {name: code for code, name in _ML_DTYPES.items()}

_DTYPES: dict[int, np.dtype[np.generic]] = {
    code: np.dtype(name)
    for code, name in {
        ElementType.OPAQUE_8: "uint8",
        ElementType.OPAQUE_16: "uint16",
        ElementType.OPAQUE_32: "uint32",
        ElementType.OPAQUE_64: "uint64",
        ElementType.BOOL_8: "bool",
        ElementType.INT_8: "int8",
        ElementType.INT_16: "int16",
        ElementType.INT_32: "int32",
        ElementType.INT_64: "int64",
        ElementType.SINT_8: "int8",
        ElementType.SINT_16: "int16",
        ElementType.SINT_32: "int32",
        ElementType.SINT_64: "int64",
        ElementType.UINT_8: "uint8",
        ElementType.UINT_16: "uint16",
        ElementType.UINT_32: "uint32",
        ElementType.UINT_64: "uint64",
        ElementType.FLOAT_16: "float16",
        ElementType.FLOAT_32: "float32",
        ElementType.FLOAT_64: "float64",
        ElementType.COMPLEX_64: "complex64",
        ElementType.COMPLEX_128: "complex128",
    }.items()
}

# numpy integers are signed or unsigned, never signless; IREE's own bindings choose the same.
_CODES_OF_NUMPY: dict[str, int] = {
    "bool": ElementType.BOOL_8,
    "int8": ElementType.SINT_8,
    "int16": ElementType.SINT_16,
    "int32": ElementType.SINT_32,
    "int64": ElementType.SINT_64,
    "uint8": ElementType.UINT_8,
    "uint16": ElementType.UINT_16,
    "uint32": ElementType.UINT_32,
    "uint64": ElementType.UINT_64,
    "float16": ElementType.FLOAT_16,
    "float32": ElementType.FLOAT_32,
    "float64": ElementType.FLOAT_64,
    "complex64": ElementType.COMPLEX_64,
    "complex128": ElementType.COMPLEX_128,
} | _ML_CODES

_code_of_dtype: dict[np.dtype[np.generic], int] = {}


def element_name(element_type: int) -> str:
    """The name that IREE prints, such as ``"f32"``; hexadecimal where it has none."""
    code = element_type & 0xFFFFFFFF
    return _NAMES.get(code) or f"element type 0x{code:08X}"


def element_type_from_name(name: str) -> int:
    """The element type code of a name such as ``"f32"``, ``"si8"`` or ``"i1"``.

    Raises:
        ArgumentError: No element type has this name.
    """
    code = _CODES.get(name)
    if code is None:
        raise ArgumentError(f"unknown element type {name!r}; known: {', '.join(_CODES)}")
    return code


def element_bit_count(element_type: int) -> int:
    """Bits of one element in memory (8 for ``i1``, 4 for ``i4``)."""
    return element_type & 0xFF


def dtype_of(element_type: int) -> np.dtype[np.generic]:
    """The numpy dtype that holds a dense buffer of ``element_type``.

    Raises:
        ArgumentError: numpy has no such dtype: sub-byte or unknown types, or one of ml_dtypes'
            where that package is not installed.
    """
    dtype = _DTYPES.get(element_type)
    return dtype if dtype is not None else _load_dtype(element_type)


def element_type_of(dtype: np.dtype[np.generic]) -> int:
    """The element type code of a numpy dtype, of either byte order.

    Raises:
        ArgumentError: IREE has no such element type.
    """
    code = _code_of_dtype.get(dtype)
    if code is None:
        code = _CODES_OF_NUMPY.get(dtype.name)
        if code is None:
            known = ", ".join(_CODES_OF_NUMPY)
            raise ArgumentError(f"dtype {dtype} has no IREE element type; expected one of: {known}")
        _code_of_dtype[dtype] = code
    return code


def _load_dtype(element_type: int) -> np.dtype[np.generic]:
    name = _ML_DTYPES.get(element_type)
    if name is None:
        bits = element_bit_count(element_type)
        detail = f"elements of {bits} bits are packed" if bits % 8 else "numpy has no such type"
        raise ArgumentError(
            f"{element_name(element_type)} has no numpy dtype ({detail}); "
            "use a buffer of bytes, or a wider type in the model"
        )
    try:
        import ml_dtypes  # noqa: PLC0415 - optional, and only needed for these types
    except ImportError as error:
        raise ArgumentError(
            f"{element_name(element_type)} needs the package ml_dtypes: "
            "pip install 'iree-wasm-hal[ml-dtypes]'"
        ) from error
    scalar_type = getattr(ml_dtypes, name, None)
    if scalar_type is None:
        raise ArgumentError(
            f"{element_name(element_type)} needs ml_dtypes.{name}, which version "
            f"{ml_dtypes.__version__} lacks: pip install -U ml_dtypes"
        )
    dtype: np.dtype[np.generic] = np.dtype(scalar_type)
    _DTYPES[element_type] = dtype
    return dtype


def element_types_compatible(actual: int, expected: int) -> bool:
    """Whether a buffer view of type ``actual`` may be used where ``expected`` is asked for.

    Opaque types go for anything, and integers of one width for each other, as in IREE
    (runtime/src/iree/modules/hal/utils/buffer_diagnostics.c).
    """
    if actual == expected or actual >> 24 == 0:
        return True
    both_integers = (actual >> 28) & 1 and (expected >> 28) & 1
    return bool(both_integers) and actual & 0xFF == expected & 0xFF
