"""``iree-wasm run``: calls one function and prints, writes or checks its results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from iree_wasm_hal.cli.comparison import compare_results
from iree_wasm_hal.cli.loading import load_module
from iree_wasm_hal.cli.printing import format_result
from iree_wasm_hal.cli.reporting import ExitStatus, UsageError
from iree_wasm_hal.cli.values import Null, Tensor, Value, parse_values
from iree_wasm_hal.cli.writing import check_places, write_results
from iree_wasm_hal.hal import elements
from iree_wasm_hal.hal.buffer_view import BufferView
from iree_wasm_hal.isolation.tensors import TypedArray
from iree_wasm_hal.runtime.declaration import PrimitiveType, TensorType, parse_declaration
from iree_wasm_hal.runtime.module import Module
from iree_wasm_hal.vm.modules.check import CheckModule

if TYPE_CHECKING:
    from pathlib import Path

    from iree_wasm_hal.cli.comparison import Tolerance
    from iree_wasm_hal.cli.printing import ScalarResult
    from iree_wasm_hal.isolation.module import IsolatedModule
    from iree_wasm_hal.runtime.declaration import Value as Declared
    from iree_wasm_hal.runtime.face import FunctionFace, ModuleFace

__all__ = ["RunRequest", "run"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One call as the command line asks for it."""

    model: Path
    engine: str | None
    threads: int
    function: str | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    expected_outputs: tuple[str, ...]
    parameters: tuple[str, ...]
    cache: bool
    isolation: Literal["process"] | None
    timeout: float | None
    max_element_count: int
    tolerance: Tolerance


def run(request: RunRequest) -> int:
    """Runs the function.

    Returns:
        DONE, or FAILED where results differ from the expected ones or the program's own
        expectations (IREE's check dialect) fail.

    Raises:
        UsageError: An unknown function, or a value that cannot be read or does not fit.
        Error: The archive cannot be loaded, or the call failed.
    """
    check_places(request.outputs)
    inputs = parse_values(request.inputs)
    expected = parse_values(request.expected_outputs)
    expectations = CheckModule()
    with load_module(
        request.model,
        request.engine,
        request.threads,
        request.parameters,
        # In another process its notes would be out of sight.
        [expectations] if request.isolation is None else [],
        cache=request.cache,
        isolation=request.isolation,
        timeout=request.timeout,
    ) as module:
        function = _choose(module, request.function)
        declaration = parse_declaration(function.signature)
        declared = declaration.arguments if declaration else ()
        arguments = [
            _argument(value, declared[i] if i < len(declared) else None, module)
            for i, value in enumerate(inputs)
        ]
        print(f"EXEC @{function.name}", flush=True)
        results = [
            _result(value, letter)
            for value, letter in zip(
                function.call_raw(*arguments), function.result_types, strict=True
            )
        ]
        if expectations.failures:
            print("\n".join(expectations.failures))
            return ExitStatus.FAILED
        if expected:
            return _check(expected, results, request.tolerance)
        if request.outputs:
            write_results(results, request.outputs, request.max_element_count)
        else:
            for index, result in enumerate(results):
                print(f"result[{index}]: {format_result(result, request.max_element_count)}")
    return ExitStatus.DONE


def _choose(module: ModuleFace[Any], name: str | None) -> FunctionFace:
    names = list(module.functions)
    if name is None:
        # The ONNX importer exports each function twice, as main and main$async.
        twins = {f"{other}$async" for other in names}
        plain = [other for other in names if other not in twins]
        if len(plain) == 1:
            chosen: FunctionFace = module[plain[0]]
            return chosen
        raise UsageError(
            f"the module exports {len(names)} functions; choose one with --function: "
            f"{', '.join(names)}"
        )
    if name not in names:
        raise UsageError(f"the module exports no function '{name}'; it exports {', '.join(names)}")
    function: FunctionFace = module[name]
    return function


def _argument(value: Value, declared: Declared | None, module: Module | IsolatedModule) -> object:
    """What the runtime takes for a value; where no tensor is declared, its own type counts."""
    kind = declared.type if declared else None
    if isinstance(value, Tensor):
        if isinstance(kind, TensorType):
            return value.array
        element_type = elements.element_type_from_name(value.element_name)
        if isinstance(module, Module):
            buffer = module.device.allocator.upload(value.array)
            return BufferView(buffer, value.array.shape, element_type)
        return TypedArray(element_type, value.array)
    if isinstance(value, Null):
        return None
    if isinstance(kind, PrimitiveType):
        return value.as_float() if kind.element_type[0] in "fb" else value.as_int()
    if declared and isinstance(kind, TensorType):
        raise UsageError(
            f"argument {declared.name} is a tensor; expected {kind}=..., got '{value.text}'"
        )
    return value.as_number()


def _result(value: object, type_letter: str) -> Tensor | ScalarResult | None:
    """A result with the type that IREE prints.

    Args:
        value: As the VM has it.
        type_letter: The calling convention's character for it.
    """
    if isinstance(value, BufferView):
        return Tensor(elements.element_name(value.element_type), value.to_numpy())
    if isinstance(value, TypedArray):
        return Tensor(elements.element_name(value.element_type), value.array)
    if isinstance(value, int):
        return ("i64" if type_letter == "I" else "i32", value)
    if isinstance(value, float):
        return ("f64" if type_letter == "F" else "f32", value)
    return None


def _check(
    expected: list[Value], results: list[Tensor | ScalarResult | None], tolerance: Tolerance
) -> int:
    failures = compare_results(expected, results, tolerance)
    if failures:
        print("\n".join(failures))
        return ExitStatus.FAILED
    print("[SUCCESS] all function outputs matched their expected values.")
    return ExitStatus.DONE
