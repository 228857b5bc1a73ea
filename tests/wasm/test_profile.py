"""One hand-made module per rule of the static kernel profile, and its message."""

from __future__ import annotations

import pytest
import wasmtime
from wasm_modules import IMPORTS, QUERY, assemble, dylink, kernel_module, uleb

from iree_wasm_hal.engine.contract import MemoryType
from iree_wasm_hal.errors import KernelProfileError, LimitError, MalformedWasmError
from iree_wasm_hal.wasm.relink import relink

MEMORY = MemoryType(16, 256)
GOOD = IMPORTS + QUERY


def check(wasm: bytes) -> None:
    relink(wasm, memory=MEMORY, atomics=False)


def body(code: str) -> str:
    return f"{GOOD} (func $f (param i32) (result i32) {code})"


def test_good_module_is_accepted() -> None:
    check(assemble(GOOD))
    check(kernel_module())


STACK = '(import "env" "__stack_pointer" (global i32))'
VIOLATIONS = {
    "function import": (
        '(import "env" "fmaxf" (func (param f32 f32) (result f32)))'
        f'(import "env" "expf" (func (param f32) (result f32))) {GOOD}',
        r"imports functions: env\.fmaxf, env\.expf\..*iree-wasm compile",
    ),
    "unknown import": (
        f'(import "env" "__tls_base" (global i32)) {GOOD}',
        r"imports env\.__tls_base; only env\.memory",
    ),
    "import from another module": (
        f'(import "GOT.mem" "memory" (global i32)) {GOOD}',
        r"imports GOT\.mem\.memory; only",
    ),
    "two memories": (f'(import "env" "memory2" (memory 1)) {GOOD}', "imports 2 memories"),
    "no memory": (GOOD.replace('(import "env" "memory" (memory 1))', ""), "imports 0 memories"),
    "import twice": (
        f'(import "env" "__table_base" (global i32)) {GOOD}',
        r"imports env\.__table_base twice",
    ),
    "mutable memory base": (
        GOOD.replace("(global $memory_base i32)", "(global $memory_base (mut i32))"),
        r"imports env\.__memory_base as global .*mutable=True.*expected",
    ),
    "wide memory base": (
        '(import "env" "memory" (memory 1)) (import "env" "__memory_base" (global i64))'
        '(func (export "iree_hal_executable_library_query") (param i32 i32) (result i32)'
        " i32.const 0)",
        r"imports env\.__memory_base as global .*value_type=126",
    ),
    "constant stack pointer": (STACK + GOOD, r"imports env\.__stack_pointer as global"),
    "memory as a global": (
        '(import "env" "memory" (memory 1)) (import "env" "__indirect_function_table" (global i32))'
        + QUERY.replace("global.get $memory_base", "i32.const 0"),
        r"imports env\.__indirect_function_table as global .* expected table",
    ),
    "own memory": (
        # wat2wasm puts the import first; two memories need multi-memory.
        f"{GOOD} (memory 1)",
        "has a memory of its own",
    ),
    "own table": (f"{GOOD} (table 1 funcref)", "has a table of its own"),
    "start function": (f"{GOOD} (func $s) (start $s)", "has a start function"),
    "exception tags": (f"{GOOD} (tag)", "has exception tags"),
    "memory.grow": (body("local.get 0 memory.grow"), r"uses memory\.grow in function 1"),
    "table.get": (body("local.get 0 table.get 0 drop i32.const 0"), r"uses table\.get"),
    "table.set": (
        body("local.get 0 ref.null func table.set 0 i32.const 0"),
        r"uses table\.set in function 1",
    ),
    "table.grow": (body("ref.null func local.get 0 table.grow 0"), r"uses table\.grow"),
    "table.size": (body("table.size 0"), r"uses table\.size"),
    "table.fill": (
        body("local.get 0 ref.null func local.get 0 table.fill 0 i32.const 0"),
        r"uses table\.fill",
    ),
    "table.copy": (
        body("local.get 0 local.get 0 local.get 0 table.copy 0 0 i32.const 0"),
        r"uses table\.copy",
    ),
    "notify": (
        body("local.get 0 local.get 0 memory.atomic.notify"),
        r"uses memory\.atomic\.notify",
    ),
    "wait32": (
        body("local.get 0 local.get 0 i64.const -1 memory.atomic.wait32"),
        r"uses memory\.atomic\.wait32",
    ),
    "wait64": (
        body("local.get 0 i64.const 0 i64.const -1 memory.atomic.wait64"),
        r"uses memory\.atomic\.wait64",
    ),
    "passive data": (f'{GOOD} (data "x")', "has data segment 0, which is passive"),
    "memory.init": (
        f'{GOOD} (data $d "x") (func i32.const 0 i32.const 0 i32.const 0 memory.init $d)',
        "has data segment 0, which is passive",
    ),
    "data.drop": (
        f'{GOOD} (data (offset global.get $memory_base) "x") (func data.drop 0)',
        r"uses data\.drop in function 1",
    ),
    "absolute data": (f'{GOOD} (data (i32.const 8) "x")', r"data segment 0 at absolute \+ 8"),
    "data relative to the table": (
        f'{GOOD} (data (offset global.get $table_base) "x")',
        r"data segment 0 at __table_base \+ 0; segments must be relative to env\.__memory_base",
    ),
    "data before the base": (
        f'{GOOD} (data (offset global.get $memory_base i32.const -4 i32.add) "x")',
        r"data segment 0 at __memory_base \+ -4",
    ),
    "data beyond the announced size": (
        f'{GOOD} (data (offset global.get $memory_base i32.const 250 i32.add) "12345678")',
        r"data segment 0 up to byte 258; dylink\.0 announces 256",
    ),
    "absolute elements": (
        f"{GOOD} (elem (i32.const 0) func $query)",
        r"element segment 0 at absolute \+ 0",
    ),
    "elements beyond the announced size": (
        f"{GOOD} (elem (global.get $table_base) func $query $query $query)",
        r"element segment 0 up to entry 3; dylink\.0 announces 2",
    ),
    "global from an import": (
        f"{GOOD} (global i32 (global.get $memory_base))",
        "own global 0 starts as the value of an import",
    ),
    "no query": (
        IMPORTS,
        "does not export 'iree_hal_executable_library_query'; it exports nothing",
    ),
    "query of another type": (
        IMPORTS + '(func (export "iree_hal_executable_library_query") (result i32) i32.const 0)',
        "exports 'iree_hal_executable_library_query' with another type",
    ),
    "query that is a global": (
        IMPORTS + '(export "iree_hal_executable_library_query" (global $memory_base))',
        "exports 'iree_hal_executable_library_query' with another type",
    ),
    "relocations of another type": (
        f'{GOOD} (func (export "__wasm_apply_data_relocs") (param i32))',
        "exports '__wasm_apply_data_relocs' with another type",
    ),
    "export of our name": (
        f'{GOOD} (export "iree_wasm_execute" (func $query))',
        "exports 'iree_wasm_execute'; names that start with 'iree_wasm_' are taken",
    ),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violation_is_refused(name: str) -> None:
    text, message = VIOLATIONS[name]
    with pytest.raises(KernelProfileError, match=message):
        check(assemble(text))


REFUSED_FORMS = {
    "passive elements": (f"{GOOD} (elem func $query)", "element segment with flags 1"),
    "elements of expressions": (
        f"{GOOD} (elem (global.get $table_base) funcref (ref.func $query))",
        "element segment with flags 4",
    ),
    "declared elements": (f"{GOOD} (elem declare func $query)", "element segment with flags 3"),
    "offset of two globals": (
        f'{GOOD} (data (offset global.get $memory_base global.get $memory_base i32.add) "x")',
        "constant expression adds two globals",
    ),
    "offset with a product": (
        f'{GOOD} (data (offset global.get $memory_base i32.const 2 i32.mul) "x")',
        "constant expression of a shape that is not supported",
    ),
    "struct type": (f"{GOOD} (type (struct))", "type of form 0x5f, expected a function type"),
    "garbage collection": (
        body("local.get 0 ref.i31 drop i32.const 0"),
        "unknown or incomplete instruction .bytes fb 1c",
    ),
}


@pytest.mark.parametrize("name", REFUSED_FORMS)
def test_what_no_compiler_emits_is_refused(name: str) -> None:
    text, message = REFUSED_FORMS[name]
    with pytest.raises(MalformedWasmError, match=message):
        check(assemble(text))


PATCHES = {
    # What relinking appends must not become reachable.
    "call of an appended function": (
        body("local.get 0 call $f"),
        (b"\x20\x00\x10\x01", b"\x20\x00\x10\x05"),
        "names function 5 of 2 in function 1",
    ),
    "reference to an appended function": (
        body("ref.func $f drop i32.const 0") + "(elem (global.get $table_base) func $f)",
        (b"\xd2\x01", b"\xd2\x07"),
        "names function 7 of 2 in function 1",
    ),
    "indirect call of an appended type": (
        body("local.get 0 local.get 0 call_indirect (param i32) (result i32)"),
        (b"\x11\x01\x00", b"\x11\x03\x00"),
        "names type 3 of 2 in function 1",
    ),
    "block of an appended type": (
        f"{GOOD} (type (func (param i32))) (func (param i32) local.get 0 (block (param i32) drop))",
        (b"\x20\x00\x02\x00", b"\x20\x00\x02\x09"),
        "names type 9 of 2 in function 1",
    ),
    "assigned memory base": (
        STACK.replace("i32", "(mut i32)") + GOOD + "(func i32.const 0 global.set 0)",
        (b"\x41\x00\x24\x00", b"\x41\x00\x24\x01"),
        r"sets env\.__memory_base, a constant, in function 1",
    ),
    "export of a missing global": (
        f'{GOOD} (export "g" (global 1))',
        (b"\x01g\x03\x01", b"\x01g\x03\x02"),
        "exports global 2 of 2",
    ),
    "element of a missing function": (
        f"{GOOD} (elem (global.get $table_base) func $query)",
        (b"\x23\x01\x0b\x01\x00", b"\x23\x01\x0b\x01\x01"),
        "element segment 0 with function 1 of 1",
    ),
    "shared table": (
        GOOD,
        (b"\x01\x70\x00\x02", b"\x01\x70\x03\x02\x02"),
        "imports a shared table",
    ),
}


@pytest.mark.parametrize("name", PATCHES)
def test_index_beyond_the_kernel_is_refused(name: str) -> None:
    text, (old, new), message = PATCHES[name]
    good = assemble(text)
    check(good)
    bad = good.replace(old, new)
    assert good.count(old) == 1
    if len(new) > len(old):
        # The import section has grown by a byte.
        at = good.index(b"\x03env") - 2
        bad = bad[:at] + bytes([bad[at] + 1]) + bad[at + 1 :]
    with pytest.raises((KernelProfileError, MalformedWasmError), match=message):
        check(bad)


def subsection(kind: int, contents: bytes) -> bytes:
    return bytes([kind]) + uleb(len(contents)) + contents


NEEDED = subsection(2, b"\x02" + b"\x04libm" + b"\x04libc")
KNOWN = (
    subsection(2, b"\0")
    + subsection(3, b"\x01\x01f\x04")
    + subsection(4, b"\x01\x03env\x01g\x10")
    + subsection(5, b"\x01\x01.")
    + subsection(6, b"\x06wasm32")
)
DYLINK_PROBLEMS = {
    "missing": (b"", KernelProfileError, r"has 0 dylink\.0 sections, expected one"),
    "needed": (dylink(extra=NEEDED), KernelProfileError, "needs other libraries: libm, libc"),
    "two": (dylink() + dylink(), KernelProfileError, r"has 2 dylink\.0 sections"),
    "other architecture": (
        dylink(extra=subsection(6, b"\x06wasm64")),
        KernelProfileError,
        "linked for wasm64 but imports a memory of wasm32",
    ),
    "unknown architecture": (
        dylink(extra=subsection(6, b"\x03x86")),
        MalformedWasmError,
        "unknown architecture 'x86'",
    ),
    "unknown subsection": (
        dylink(extra=subsection(9, b"")),
        MalformedWasmError,
        r"unknown dylink\.0 subsection 9",
    ),
    "repeated subsection": (
        dylink(extra=KNOWN + subsection(5, b"\0")),
        MalformedWasmError,
        r"dylink\.0 runtime path subsection repeated",
    ),
    "bytes too many": (
        dylink(extra=subsection(2, b"\0\0")),
        MalformedWasmError,
        "needed subsection at byte .* 1 bytes too many",
    ),
    "no memory info": (
        b"\0\x09\x08dylink.0",
        MalformedWasmError,
        r"dylink\.0 has no memory info subsection",
    ),
    "alignment": (dylink(alignment=40), MalformedWasmError, r"alignment 2\*\*40, at most 2\*\*16"),
    "table size": (dylink(table_size=70_000), LimitError, "70000 kernel table entries, at most 65"),
    "static data": (
        dylink(memory_byte_length=(1 << 30) + 1),
        LimitError,
        "1073741825 kernel static data bytes",
    ),
}


@pytest.mark.parametrize("name", DYLINK_PROBLEMS)
def test_dylink_problem_is_refused(name: str) -> None:
    section, error, message = DYLINK_PROBLEMS[name]
    with pytest.raises(error, match=message):
        check(assemble(GOOD, section))


def test_every_known_dylink_subsection_is_read() -> None:
    check(assemble(GOOD, dylink(extra=KNOWN)))


def test_dylink_section_must_come_first() -> None:
    wasm = bytes(wasmtime.wat2wasm(f"(module {GOOD})"))
    with pytest.raises(KernelProfileError, match=r"expected one, at its start"):
        check(wasm + dylink())


def test_limit_error_carries_its_numbers() -> None:
    with pytest.raises(LimitError) as caught:
        check(assemble(GOOD, dylink(table_size=70_000)))
    assert (caught.value.asked, caught.value.allowed) == (70_000, 65_536)
