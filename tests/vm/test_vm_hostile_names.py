"""No string of a file reaches Python's compiler, imports or opens anything."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING, Any

import pytest

from iree_wasm_hal.errors import Error
from iree_wasm_hal.vm.context import Context
from iree_wasm_hal.vm.module import BytecodeModule
from iree_wasm_hal.vm.native import PyModule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Assemble = Callable[[str], bytes]

# Every name and message is 24 bytes long, so that others of that length can be put in place.
_LENGTH = 24
_FIELDS = {
    "module": "m" * _LENGTH,
    "function": "f" * _LENGTH,
    "import": "i.".ljust(_LENGTH, "j"),
    "type": "!t.".ljust(_LENGTH, "y"),
    "message": "s" * _LENGTH,
    "rodata": "r" * _LENGTH,
    "event": "e" * _LENGTH,
}
SOURCE = f"""
vm.module @{_FIELDS["module"]} version 0
vm.import optional @{_FIELDS["import"]} cconv "0v_v"
vm.rodata[0] = {_FIELDS["rodata"].encode().hex()}
vm.export @{_FIELDS["function"]}
vm.func @{_FIELDS["function"]}(%i0: i32, %r0: !vm.ref<?>) -> () {{
^bb0:
  %r1 = vm.const.ref.rodata 0
  %r0 = vm.cast.any.ref %R0 : !vm.ref<?> -> {_FIELDS["type"]}
  vm.trace "{_FIELDS["event"]}", %i0
  %i1 = vm.import.resolved @{_FIELDS["import"]}
  vm.cond_br %i1, ^bb1(), ^bb2()
^bb1:
  vm.call @{_FIELDS["import"]}()
  vm.return
^bb2:
  vm.fail %i0, "{_FIELDS["message"]}"
}}
"""
_HOSTILE = (
    "__import__('os').abort()",
    "\n    raise SystemExit#   ",
    "');import os;os.abort()#",
    "{__import__('os').name} ",
    "%(__class__)s%s%s%s%s%s ",
    "../../../../etc/passwd\0\0",
    "lambda:exec('import os')",
    '"""\nimport os\nexit()\n""" ',
    "\u202e__class__.__mro__[]",
    "a.b.c.d.e.f.g.h.i.j.k.l.",
    "None:=1;del f;B[0]=-1#  ",
    "nul\0l\0l\0l\0l\0l\0l\0l\0l\0l\0l",
)


class _Watch:
    """Collects audit events while it is on; hooks cannot be removed."""

    def __init__(self) -> None:
        self.on = False
        self.events: list[tuple[str, tuple[Any, ...]]] = []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event in ("compile", "exec", "import", "open", "ctypes.dlopen", "os.system"):
            self.events.append((event, arguments))


@pytest.fixture(scope="module")
def watch() -> _Watch:
    return _Watch()


def _hostile() -> Iterator[tuple[str, bytes, bytes]]:
    for field, benign in _FIELDS.items():
        for text in _HOSTILE:
            data = text.encode()
            yield field, benign.encode(), data[:_LENGTH].ljust(_LENGTH, b" ")


def _use(data: bytes) -> str:
    class Thing:
        pass

    try:
        module = BytecodeModule.from_bytes(data)
        types = {
            definition.full_name.removeprefix("!"): Thing
            for definition in module.archive.module.types
        }
        context = Context([PyModule("types", types=types), module])
        for function in context.functions.values():
            function(5, Thing())
    except Error as error:
        return str(error)
    return ""


def test_names_stay_data(assemble: Assemble, watch: _Watch) -> None:
    data = assemble(SOURCE)
    assert _use(data).endswith(_FIELDS["message"])
    count = 0
    for field, benign, hostile in _hostile():
        assert benign in data, field
        changed = data.replace(benign, hostile)
        watch.events.clear()
        watch.on = True
        message = _use(changed)
        watch.on = False
        count += 1
        for event, arguments in watch.events:
            # Trees (without a file name) and templates of ours.
            assert event == "compile", (field, event, arguments)
            assert arguments[1] in (None, "<iree vm>"), (field, arguments)
            code = arguments[0]
            text = ast.dump(code) if isinstance(code, ast.AST) else str(code)
            assert hostile.decode("utf-8", "replace").strip() not in text, (field, text)
        assert watch.events or message
    assert count == len(_FIELDS) * len(_HOSTILE)


def test_code_holds_no_string_of_the_file(assemble: Assemble) -> None:
    module = BytecodeModule.from_bytes(assemble(SOURCE))
    code = module.code(0).code
    texts = [*code.co_names, *code.co_varnames, *map(str, code.co_consts), code.co_name]
    assert not [text for text in texts for benign in _FIELDS.values() if benign in text]
