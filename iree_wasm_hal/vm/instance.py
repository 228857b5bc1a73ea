"""The state of one bytecode module in one context, and the namespace of its generated code."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Literal

from iree_wasm_hal.errors import LimitError
from iree_wasm_hal.vm import numbers, objects
from iree_wasm_hal.vm.buffer import Buffer
from iree_wasm_hal.vm.codegen import MAX_CALL_DEPTH
from iree_wasm_hal.vm.list import List
from iree_wasm_hal.vm.types import VALUE_TYPE_NAMES, resolve_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from iree_wasm_hal.vm.account import MemoryAccount
    from iree_wasm_hal.vm.budget import Budget
    from iree_wasm_hal.vm.list import ElementType
    from iree_wasm_hal.vm.module import BytecodeModule

__all__ = ["ModuleInstance"]

_REF_BYTES = 16
_GLOBAL_VIEWS: tuple[tuple[str, Literal["i", "q", "f", "d"]], ...] = (
    ("i32", "i"),
    ("i64", "q"),
    ("f32", "f"),
    ("f64", "d"),
)


class _NoRef:
    """Class of no object: what a value type means where a ref type is expected."""


class ModuleInstance:
    """A module's globals and functions in one context. Thread-compatible."""

    def __init__(
        self,
        module: BytecodeModule,
        imports: tuple[Callable[..., object] | None, ...],
        ref_types: Mapping[str, type],
        account: MemoryAccount,
        budget: Budget,
    ) -> None:
        self.module = module
        interface = module.interface
        global_bytes = interface.global_byte_length
        account.charge(global_bytes + _REF_BYTES * interface.global_ref_count, "module globals")
        self._charged = global_bytes + _REF_BYTES * interface.global_ref_count
        self._account = account
        self.depth = [0]
        self.namespace: dict[str, object] = {
            **numbers.NAMESPACE,
            **objects.NAMESPACE,
            "__builtins__": {"float": float, "len": len},
            "B": budget.cell,
            "D": self.depth,
            "G_ref": [None] * interface.global_ref_count,
            "_over": budget.refill,
            "_hash": objects.buffer_hash(budget.charge),
            "_too_deep": self._too_deep,
        }
        self._add_globals(global_bytes)
        self._add_allocators(account)
        self._add_types(ref_types)
        for ordinal, buffer in enumerate(module.rodata_buffers):
            self.namespace[f"R{ordinal}"] = buffer
        self._add_imports(imports)
        for ordinal in range(len(interface.functions)):
            self.namespace[f"f{ordinal}"] = self._first_call(ordinal)

    def _add_globals(self, byte_length: int) -> None:
        storage = bytearray(byte_length)
        self.namespace["G"] = storage
        view = memoryview(storage)
        for name, format_ in _GLOBAL_VIEWS:
            width = 4 if format_ in "if" else 8
            self.namespace[f"G_{name}"] = view[: byte_length // width * width].cast(format_)

    def _add_allocators(self, account: MemoryAccount) -> None:
        def new_buffer(length: int, alignment: int) -> Buffer:
            return Buffer.allocate(length, alignment, account)

        def new_list(element_type: ElementType, capacity: int) -> List:
            return List(element_type, capacity, account)

        self.namespace["_new_buffer"] = new_buffer
        self.namespace["_new_list"] = new_list
        self.namespace["_clone"] = objects.buffer_clone(new_buffer)

    def _add_types(self, ref_types: Mapping[str, type]) -> None:
        for ordinal, definition in enumerate(self.module.archive.module.types):
            resolved = resolve_type(definition.full_name, ref_types)
            self.namespace[f"T{ordinal}"] = resolved
            if resolved is None:
                # What the compiler writes for !vm.ref<?>. The reference compares it like any
                # other type and so refuses every ref there; we take it at its word.
                self.namespace[f"K{ordinal}"] = object
            else:
                is_value = resolved in VALUE_TYPE_NAMES
                self.namespace[f"K{ordinal}"] = _NoRef if is_value else resolved

    def _add_imports(self, imports: tuple[Callable[..., object] | None, ...]) -> None:
        self.namespace["P"] = tuple(int(function is not None) for function in imports)
        for ordinal, function in enumerate(imports):
            name = self.module.imports[ordinal].full_name
            self.namespace[f"m{ordinal}"] = function or objects.unresolved(name)

    def _first_call(self, ordinal: int) -> Callable[..., object]:
        """Stands for a function until it is called: generates it and takes its own place."""

        def call(*arguments: object) -> object:
            return self.function(ordinal)(*arguments)

        return call

    def function(self, ordinal: int) -> Callable[..., object]:
        """The generated function of an ordinal, bound to this instance."""
        name = f"f{ordinal}"
        current = self.namespace[name]
        if isinstance(current, FunctionType) and current.__globals__ is self.namespace:
            return current
        generated = self.module.code(ordinal)
        self.namespace.update(generated.messages)
        function = FunctionType(generated.code, self.namespace, name)
        self.namespace[name] = function
        return function

    def close(self) -> None:
        """Drops the functions and the globals, and gives their memory back."""
        # The functions refer to the namespace that holds them: without this, a program and all that
        # it holds would go when Python next collects cycles, and not now.
        self.namespace.clear()
        self._account.release(self._charged)
        self._charged = 0

    @staticmethod
    def _too_deep() -> None:
        raise LimitError(
            f"more than {MAX_CALL_DEPTH} nested calls of VM functions",
            name="VM call depth",
            asked=MAX_CALL_DEPTH + 1,
            allowed=MAX_CALL_DEPTH,
        )
