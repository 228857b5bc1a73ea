"""``vm.list``: a growable list of values of one type, of refs of one type, or of anything.

Reading or writing a value of another type than the element type converts between integers and
between floats as IREE does; any other pair of types gives zero.

Spec: iree/vm/list.h.
"""

from __future__ import annotations

import struct

from iree_wasm_hal.status import StatusCode, invocation_error
from iree_wasm_hal.vm.account import MemoryAccount

__all__ = ["ElementType", "List"]

ElementType = str | type | None
"""A value type name, the class of a ref type, or None for a variant list."""

_REF_BYTES = 16
"""Charged per ref or variant: what IREE's list takes, and what a Python list takes at most."""
_VALUE_BYTES = 40
"""Charged per value: a list slot and a boxed Python number."""
_CAPACITY_GRANULE = 64
_INTEGER_BITS = {"i8": 8, "i16": 16, "i32": 32, "i64": 64}
_F32 = struct.Struct("<f")


class _Value:
    """A number in a variant list, with the type it was stored as."""

    __slots__ = ("type_name", "value")

    def __init__(self, type_name: str, value: int | float) -> None:
        self.type_name = type_name
        self.value = value


def _convert(value: int | float, source: str, target: str) -> int | float:
    if source == target:
        return value
    bits = _INTEGER_BITS.get(target)
    if bits is not None:
        if source not in _INTEGER_BITS:
            return 0
        half = 1 << (bits - 1)
        return ((int(value) + half) & ((1 << bits) - 1)) - half
    if source in _INTEGER_BITS:
        return 0.0
    return value if target == "f64" else _round_f32(float(value))


def _round_f32(value: float) -> float:
    try:
        rounded: float = _F32.unpack(_F32.pack(value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return rounded


class List:
    """A ``vm.list``. Compared by identity, as refs are. Thread-compatible."""

    __slots__ = ("__weakref__", "_account", "_capacity", "_items", "element_type")

    def __init__(
        self, element_type: ElementType, capacity: int = 0, account: MemoryAccount | None = None
    ) -> None:
        self.element_type = element_type
        self._items: list[object] = []
        self._capacity = 0
        self._account = account if account is not None else MemoryAccount()
        self.reserve(capacity)

    def __del__(self) -> None:
        capacity = getattr(self, "_capacity", 0)
        if capacity:
            self._account.release(capacity * self._charge_per_item)

    @property
    def _charge_per_item(self) -> int:
        return _VALUE_BYTES if isinstance(self.element_type, str) else _REF_BYTES + _VALUE_BYTES

    def __len__(self) -> int:
        return len(self._items)

    def reserve(self, capacity: int) -> None:
        """Makes room for ``capacity`` items (taken as unsigned 32 bits).

        Raises:
            LimitError: The account does not allow it.
        """
        wanted = capacity & 0xFFFFFFFF
        if wanted <= self._capacity:
            return
        # Geometric growth, so that a program that appends does not charge at each step.
        granted = max(wanted, 2 * self._capacity)
        granted = -(-granted // _CAPACITY_GRANULE) * _CAPACITY_GRANULE
        self._account.charge((granted - self._capacity) * self._charge_per_item, "vm.list.reserve")
        self._capacity = granted

    def resize(self, size: int) -> None:
        """Truncates, or extends with zeros, nulls or empty variants (unsigned 32 bits).

        Raises:
            LimitError: The account does not allow it.
        """
        wanted = size & 0xFFFFFFFF
        self.reserve(wanted)
        count = len(self._items)
        if wanted < count:
            del self._items[wanted:]
        else:
            self._items.extend([self._zero()] * (wanted - count))

    def _zero(self) -> object:
        if isinstance(self.element_type, str):
            return 0 if self.element_type in _INTEGER_BITS else 0.0
        return None

    def _position(self, index: int) -> int:
        position = index & 0xFFFFFFFF
        if position >= len(self._items):
            raise invocation_error(
                StatusCode.OUT_OF_RANGE,
                f"index {position} of a vm.list of {len(self._items)} items",
            )
        return position

    def get_value(self, index: int, type_name: str) -> int | float:
        """The number at ``index``, converted to ``type_name``.

        Raises:
            InvocationError: OUT_OF_RANGE, or FAILED_PRECONDITION where there is no number.
        """
        item = self._items[self._position(index)]
        if isinstance(self.element_type, str):
            return _convert(item, self.element_type, type_name)  # type: ignore[arg-type] # numbers
        if self.element_type is None and isinstance(item, _Value):
            return _convert(item.value, item.type_name, type_name)
        raise invocation_error(
            StatusCode.FAILED_PRECONDITION, f"item {index} of the vm.list is not a number"
        )

    def set_value(self, index: int, type_name: str, value: int | float) -> None:
        """Stores a number of type ``type_name``, converted to the element type.

        Raises:
            InvocationError: OUT_OF_RANGE, or FAILED_PRECONDITION in a list of refs.
        """
        position = self._position(index)
        if isinstance(self.element_type, str):
            self._items[position] = _convert(value, type_name, self.element_type)
        elif self.element_type is None:
            self._items[position] = _Value(type_name, value)
        else:
            raise invocation_error(
                StatusCode.FAILED_PRECONDITION, "the vm.list holds refs, not numbers"
            )

    def get_ref(self, index: int, cls: type | None, *, move: bool = False) -> object:
        """The ref at ``index``, or None where it is null or of another type than ``cls``.

        Args:
            index: Position, unsigned 32 bits.
            cls: The expected type; None accepts any ref.
            move: Leave null behind.

        Raises:
            InvocationError: OUT_OF_RANGE, or FAILED_PRECONDITION where there is a number.
        """
        position = self._position(index)
        item = self._items[position]
        if isinstance(self.element_type, str) or isinstance(item, _Value):
            raise invocation_error(
                StatusCode.FAILED_PRECONDITION, f"item {index} of the vm.list is not a ref"
            )
        if move:
            self._items[position] = None
        return item if cls is None or isinstance(item, cls) else None

    def set_ref(self, index: int, ref: object) -> None:
        """Stores a ref.

        Raises:
            InvocationError: OUT_OF_RANGE, FAILED_PRECONDITION in a list of numbers, or
                INVALID_ARGUMENT where the list holds refs of another type.
        """
        position = self._position(index)
        if isinstance(self.element_type, str):
            raise invocation_error(
                StatusCode.FAILED_PRECONDITION, "the vm.list holds numbers, not refs"
            )
        cls = self.element_type
        if cls is not None and ref is not None and not isinstance(ref, cls):
            raise invocation_error(
                StatusCode.INVALID_ARGUMENT,
                f"the vm.list holds {cls.__name__} refs; got {type(ref).__name__}",
            )
        self._items[position] = ref

    def __repr__(self) -> str:
        kind = self.element_type
        name = kind if isinstance(kind, str) else kind.__name__ if kind else "?"
        return f"<vm.list<{name}> of {len(self._items)} items>"
