"""Rewrites of scalar operations that LLVM's wasm backend cannot compile.

They are PDL patterns in MLIR text, which iree-compile applies to each kernel before it generates
code (``flags.py``), so that they work on every kind of input.
"""

from __future__ import annotations

__all__ = ["codegen_patterns"]

# Steps are (operation, operands, result type, attributes); "$0" is the matched operation's
# operand 0 and a plain name is an earlier step's result.
_Step = tuple[str, str, tuple[str, ...], str, dict[str, str]]


def _constant(name: str, value: str, result_type: str) -> _Step:
    return (name, "arith.constant", (), result_type, {"value": f"{value} : {result_type}"})


def _step(name: str, operation: str, operands: str, result_type: str, **attributes: str) -> _Step:
    return (name, operation, tuple(operands.split()), result_type, attributes)


def _pattern(
    name: str, root: str, operand_type: str | None, result_type: str | None, steps: list[_Step]
) -> str:
    """A pattern for a cast of one operand."""
    types = {step[3] for step in steps}
    lines = [f"  pdl.pattern @{name} : benefit(1) {{"]
    lines += [f"    %t_{t} = pdl.type : {t}" for t in sorted(types)]
    lines.append(f"    %operand_type = pdl.type{f' : {operand_type}' if operand_type else ''}")
    lines.append(f"    %result_type = pdl.type{f' : {result_type}' if result_type else ''}")
    lines.append("    %operand = pdl.operand : %operand_type")
    lines.append(
        f'    %root = pdl.operation "{root}" (%operand : !pdl.value) -> (%result_type : !pdl.type)'
    )
    lines.append("    pdl.rewrite %root {")
    for step_name, operation, operands, step_type, attributes in steps:
        named = []
        for key, value in attributes.items():
            lines.append(f"      %{step_name}_{key} = pdl.attribute = {value}")
            named.append(f'"{key}" = %{step_name}_{key}')
        values = ["%operand" if o == "$0" else f"%{o}" for o in operands]
        arguments = (
            f" ({', '.join(values)} : {', '.join(['!pdl.value'] * len(values))})" if values else ""
        )
        attribute_text = f" {{{', '.join(named)}}}" if named else ""
        lines.append(
            f'      %{step_name}_op = pdl.operation "{operation}"{arguments}{attribute_text}'
            f" -> (%t_{step_type} : !pdl.type)"
        )
        lines.append(f"      %{step_name} = pdl.result 0 of %{step_name}_op")
    lines.append(f"      pdl.replace %root with (%{steps[-1][0]} : !pdl.value)")
    lines += ["    }", "  }"]
    return "\n".join(lines)


def _integer_to_bf16(cast: str) -> str:
    """LLVM: "Cannot select: fp_to_bf16". By way of f32, rounded to nearest even by hand."""
    return _pattern(
        f"{cast}_bf16",
        f"arith.{cast}",
        None,
        "bf16",
        [
            _step("wide", f"arith.{cast}", "$0", "f32"),
            _step("bits", "arith.bitcast", "wide", "i32"),
            _constant("sixteen", "16", "i32"),
            _constant("one", "1", "i32"),
            _constant("below_half", "32767", "i32"),
            _step("high", "arith.shrui", "bits sixteen", "i32"),
            _step("odd", "arith.andi", "high one", "i32"),
            _step("bias", "arith.addi", "odd below_half", "i32"),
            _step("rounded", "arith.addi", "bits bias", "i32"),
            _step("kept", "arith.shrui", "rounded sixteen", "i32"),
            _step("half_bits", "arith.trunci", "kept", "i16"),
            _step("narrow", "arith.bitcast", "half_bits", "bf16"),
        ],
    )


def _f16_to_f64() -> str:
    """LLVM passes i64 to __extendhfsf2, and the module does not validate. By bits instead.

    The exponent is rebiased by a multiplication with 2**1008, which normalizes subnormals.
    """
    return _pattern(
        "f16_to_f64",
        "arith.extf",
        "f16",
        "f64",
        [
            _step("bits", "arith.bitcast", "$0", "i16"),
            _step("wide", "arith.extui", "bits", "i64"),
            _constant("sign_mask", "32768", "i64"),
            _constant("rest_mask", "32767", "i64"),
            _constant("sign_shift", "48", "i64"),
            _constant("rest_shift", "42", "i64"),
            _constant("infinity", "31744", "i64"),
            _constant("wide_infinity", "9218868437227405312", "i64"),
            _constant("rebias", "0x7EF0000000000000", "f64"),
            _step("sign_bit", "arith.andi", "wide sign_mask", "i64"),
            _step("sign", "arith.shli", "sign_bit sign_shift", "i64"),
            _step("rest", "arith.andi", "wide rest_mask", "i64"),
            _step("moved", "arith.shli", "rest rest_shift", "i64"),
            _step("small", "arith.bitcast", "moved", "f64"),
            _step("scaled", "arith.mulf", "small rebias", "f64"),
            _step("finite", "arith.bitcast", "scaled", "i64"),
            _step("special", "arith.ori", "moved wide_infinity", "i64"),
            _step("is_special", "arith.cmpi", "rest infinity", "i1", predicate="9 : i64"),
            _step("magnitude", "arith.select", "is_special special finite", "i64"),
            _step("result_bits", "arith.ori", "magnitude sign", "i64"),
            _step("result", "arith.bitcast", "result_bits", "f64"),
        ],
    )


def codegen_patterns() -> str:
    """The patterns as one MLIR module."""
    patterns = [_integer_to_bf16("sitofp"), _integer_to_bf16("uitofp"), _f16_to_f64()]
    return "module {\n" + "\n".join(patterns) + "\n}\n"
