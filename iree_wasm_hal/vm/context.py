"""Contexts: modules linked together, with state of their own.

Imports are resolved by name *and* calling convention, so that several ABI versions of a native
module can live side by side.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import ArgumentError, ClosedError, ImportResolutionError, LimitError
from iree_wasm_hal.vm.account import DEFAULT_MAX_BYTES, MemoryAccount
from iree_wasm_hal.vm.budget import Budget
from iree_wasm_hal.vm.instance import ModuleInstance
from iree_wasm_hal.vm.module import BytecodeModule, ExportedFunction
from iree_wasm_hal.vm.native import check_results
from iree_wasm_hal.vm.numbers import round_f32, wrap32, wrap64
from iree_wasm_hal.vm.types import BUILTIN_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from iree_wasm_hal.vm.calling_convention import CallingConvention
    from iree_wasm_hal.vm.module_def import Import
    from iree_wasm_hal.vm.native import NativeModule

__all__ = ["Context", "VmFunction"]

_INITIALIZER = "__init"
_DEINITIALIZER = "__deinit"


class VmFunction:
    """An exported function of a context. Thread-compatible, with its context.

    Attributes:
        name: Without the module's name.
        calling_convention: Arguments and results.
        attrs: Reflection attributes.
    """

    def __init__(
        self, context: Context, instance: ModuleInstance, export: ExportedFunction
    ) -> None:
        self.name = export.name
        self.calling_convention = export.calling_convention
        self.attrs = export.attrs
        self._context = context
        self._instance = instance
        self._ordinal = export.ordinal
        self._arity = len(export.calling_convention.arguments)
        self._has_values = any(kind != "r" for kind in export.calling_convention.arguments)

    @cached_property
    def raw(self) -> Callable[..., object]:
        """The generated function itself: no argument checks, no budget per call.

        Arguments must be canonical (signed ints in range, rounded f32).
        """
        return self._instance.function(self._ordinal)

    def __call__(self, *arguments: object) -> object:
        """Calls the function.

        Args:
            *arguments: One per argument of the calling convention: int, float, or a ref object
                or None.

        Returns:
            None, the result, or a tuple of results.

        Raises:
            ArgumentError: Wrong number of arguments, or one of a wrong type or range.
            InvocationError: The program failed.
            InterruptedCallError: It runs in a `hal.call.Call` that was ended.
            LimitError: A limit of the context is met.
            ClosedError: The context is closed.
        """
        if len(arguments) != self._arity:
            raise ArgumentError(
                f"{self.name} takes {self._arity} arguments"
                f" ({self.calling_convention.text}); got {len(arguments)}"
            )
        if self._has_values:
            arguments = self._checked(arguments)
        context = self._context
        if context._closed:
            context.check_open()
        budget = context.budget
        budget.enter()
        depth = self._instance.depth
        outer_depth = depth[0]
        try:
            return self.raw(*arguments)
        except RecursionError as cause:
            raise LimitError(
                f"{self.name}: calls nest deeper than Python's recursion limit allows; see"
                " sys.setrecursionlimit",
                name="VM call depth",
                asked=outer_depth + 1,
                allowed=outer_depth,
            ) from cause
        finally:
            depth[0] = outer_depth
            budget.leave()

    def _checked(self, arguments: tuple[object, ...]) -> tuple[object, ...]:
        kinds = self.calling_convention.arguments
        return tuple(
            argument if kind == "r" else _check_value(self.name, index, str(kind), argument)
            for index, (kind, argument) in enumerate(zip(kinds, arguments, strict=True))
        )

    def __repr__(self) -> str:
        return f"<VmFunction {self.name} {self.calling_convention.text}>"


def _check_value(name: str, index: int, kind: str, value: object) -> int | float:
    if kind in "iI":
        bits = 32 if kind == "i" else 64
        if isinstance(value, int) and -(1 << bits - 1) <= value < 1 << bits:
            # Unsigned spellings are accepted; the VM has one integer type per width.
            return wrap32(value) if kind == "i" else wrap64(value)
        expected = f"an int of {bits} bits"
    elif isinstance(value, (int, float)):
        return round_f32(float(value)) if kind == "f" else float(value)
    else:
        expected = "a float"
    raise ArgumentError(f"{name}: argument {index} is {value!r}; expected {expected}")


class Context:
    """Modules linked together. Thread-compatible: callers serialise calls.

    Args:
        modules: In dependency order: a module's imports are served by modules before it.
        max_host_bytes: Bound on the memory of VM buffers, lists and globals.
        instruction_budget: Bound on VM instructions per call, None for none.

    Raises:
        ImportResolutionError: An import, module version or type that no module serves.
        InvocationError: An initializer failed.
        LimitError: The globals do not fit ``max_host_bytes``.
    """

    def __init__(
        self,
        modules: Sequence[BytecodeModule | NativeModule],
        *,
        max_host_bytes: int = DEFAULT_MAX_BYTES,
        instruction_budget: int | None = None,
    ) -> None:
        self.account = MemoryAccount(max_host_bytes)
        self.budget = Budget(instruction_budget)
        self._closed = False
        self._instances: list[ModuleInstance] = []
        ref_types = dict(BUILTIN_TYPES)
        for module in modules:
            if not isinstance(module, BytecodeModule):
                ref_types.update(module.types)
        linked: dict[str, ModuleInstance | NativeModule] = {}
        try:
            for module in modules:
                if isinstance(module, BytecodeModule):
                    linked[module.name] = self._instantiate(module, linked, ref_types)
                else:
                    linked[module.name] = module
        except BaseException:  # Ctrl-C as well: what is linked must be unloaded; raised again
            self.close()
            raise

    def _instantiate(
        self,
        module: BytecodeModule,
        linked: dict[str, ModuleInstance | NativeModule],
        ref_types: dict[str, type],
    ) -> ModuleInstance:
        _check_dependencies(module, linked)
        imports = tuple(
            self._resolve(module, item, convention, linked)
            for item, convention in zip(module.imports, module.interface.imports, strict=True)
        )
        instance = ModuleInstance(module, imports, ref_types, self.account, self.budget)
        self._instances.append(instance)
        initializer = module.exports.get(_INITIALIZER)
        if initializer is not None:
            VmFunction(self, instance, initializer)()
        return instance

    @staticmethod
    def _resolve(
        module: BytecodeModule,
        item: Import,
        convention: CallingConvention,
        linked: dict[str, ModuleInstance | NativeModule],
    ) -> Callable[..., object] | None:
        module_name, _, function_name = item.full_name.partition(".")
        provider = linked.get(module_name)
        served: tuple[str, ...] = ()
        if isinstance(provider, ModuleInstance):
            export = provider.module.exports.get(function_name)
            if export is not None:
                if export.calling_convention.text == convention.text:
                    return provider.function(export.ordinal)
                served = (export.calling_convention.text,)
        elif provider is not None:
            found = provider.lookup(function_name, convention.text)
            if found is not None:
                trusted = getattr(provider, "trusted_results", False)
                return found if trusted else check_results(found, item.full_name, convention)
            served = provider.served_conventions(function_name)
        if item.is_optional:
            return None
        raise ImportResolutionError(_unresolved_message(module, item, convention, linked, served))

    def function(self, name: str, module: str | None = None) -> VmFunction:
        """An exported function.

        Args:
            name: Its name; ``"module.name"`` is taken apart if no module is given.
            module: Which module's; the last bytecode module's if None.

        Raises:
            ArgumentError: No such function; names the ones there are.
        """
        instance = self._instance(module)
        export = instance.module.exports.get(name)
        if export is None and module is None and "." in name:
            module_name, _, function_name = name.partition(".")
            if any(module_name == other.module.name for other in self._instances):
                return self.function(function_name, module_name)
        if export is None:
            names = ", ".join(n for n in instance.module.exports if not n.startswith("__"))
            raise ArgumentError(
                f"module {instance.module.name!r} has no function {name!r}; it exports"
                f" {names or 'none'}"
            )
        return VmFunction(self, instance, export)

    def _instance(self, module: str | None) -> ModuleInstance:
        for instance in reversed(self._instances):
            if module in (None, instance.module.name):
                return instance
        names = ", ".join(instance.module.name for instance in self._instances)
        raise ArgumentError(
            f"no bytecode module {module!r} in the context; there are: {names or 'none'}"
        )

    @cached_property
    def functions(self) -> dict[str, VmFunction]:
        """Exports of the last bytecode module, without its initializers."""
        instance = self._instance(None)
        return {
            name: VmFunction(self, instance, export)
            for name, export in instance.module.exports.items()
            if name not in (_INITIALIZER, _DEINITIALIZER)
        }

    def check_open(self) -> None:
        """Raises ClosedError after ``close``."""
        if self._closed:
            raise ClosedError("the VM context is closed")

    def close(self) -> None:
        """Runs the modules' deinitializers, last module first, and drops their state.

        Idempotent. An error of a deinitializer is raised after all modules are closed.
        """
        if self._closed:
            return
        try:
            for instance in reversed(self._instances):
                deinitializer = instance.module.exports.get(_DEINITIALIZER)
                if deinitializer is not None:
                    VmFunction(self, instance, deinitializer)()
        finally:
            self._closed = True
            for instance in self._instances:
                instance.close()
            self.__dict__.pop("functions", None)  # they refer to this object

    def __enter__(self) -> Context:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _check_dependencies(
    module: BytecodeModule, linked: dict[str, ModuleInstance | NativeModule]
) -> None:
    for dependency in module.dependencies:
        provider = linked.get(dependency.name)
        if provider is None:
            if dependency.is_optional:
                continue
            prefix = f"{dependency.name}."
            names = [item.full_name for item in module.imports if item.full_name.startswith(prefix)]
            raise ImportResolutionError(
                f"{module.archive.file_name}: module {module.name!r} needs a module"
                f" {dependency.name!r} (for {', '.join(names) or 'nothing'}); there are:"
                f" {', '.join(linked) or 'none'}"
            )
        version = (
            provider.module.version if isinstance(provider, ModuleInstance) else provider.version
        )
        if version < dependency.minimum_version:
            raise ImportResolutionError(
                f"{module.archive.file_name}: module {module.name!r} needs {dependency.name!r}"
                f" version {dependency.minimum_version} or later; version {version} is served"
            )


def _unresolved_message(
    module: BytecodeModule,
    item: Import,
    convention: CallingConvention,
    linked: dict[str, ModuleInstance | NativeModule],
    served: tuple[str, ...],
) -> str:
    wanted = f"{item.full_name!r} with calling convention {convention.text!r}"
    name = item.full_name.partition(".")[0]
    if served:
        reason = f"that name is served with {', '.join(map(repr, served))}"
    elif name in linked:
        reason = f"module {name!r} does not serve that name"
    else:
        reason = f"there is no module {name!r}; there are: {', '.join(linked) or 'none'}"
    return f"{module.archive.file_name}: module {module.name!r} imports {wanted}; {reason}"
