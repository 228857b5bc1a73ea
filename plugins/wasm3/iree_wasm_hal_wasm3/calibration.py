"""Measures wasm3 as it was built on this machine: struct layouts and native stack use.

pywasm3 is compiled by whoever installs it. Its structs must be those of declarations.h, and its
interpreter relies on the compiler to turn calls at a function's end into jumps: built without
that, straight code would climb the native stack with every instruction.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from iree_wasm_hal.engine import PAGE_SIZE
from iree_wasm_hal.errors import EngineUnavailableError, WasmCompileError
from iree_wasm_hal_wasm3.c_api import SLOT_BYTE_LENGTH, WASM3_VERSION, ffi, text
from iree_wasm_hal_wasm3.runtime import Runtime

if TYPE_CHECKING:
    from iree_wasm_hal_wasm3.library import Library

PROBE_TEXT = """(module
  (type $t (func))
  (import "env" "here" (func $here))
  (global $depth (mut i32) (i32.const 64))
  (table 2 funcref)
  (elem (i32.const 0) $calls $loops)
  (func $calls (call $here)
    (if (global.get $depth) (then
      (global.set $depth (i32.sub (global.get $depth) (i32.const 1)))
      (call_indirect (type $t) (i32.const 0)))))
  (func $loops (call $here)
    (if (global.get $depth) (then
      (global.set $depth (i32.sub (global.get $depth) (i32.const 1)))
      (loop (loop (loop (loop (call_indirect (type $t) (i32.const 1)))))))))
  (func $straight (local f64 i64)
    (call $here)
    (local.set 1 (i64.add (local.get 1) (i64.trunc_sat_f64_s (local.get 0))))
    (local.set 0 (f64.add (local.get 0) (f64.convert_i64_s (local.get 1))))
    (if (i64.eqz (local.get 1)) (then (i32.store (i32.const 0) (i32.load (i32.const 8)))))
    (block (br_if 0 (i64.eqz (local.get 1))) (local.set 1 (i64.const 7)))
    (call $here)))
"""
"""The module that ``PROBE`` is; ``here`` records the native stack pointer."""
PROBE = bytes.fromhex(
    "0061736d01000000010401600000020c0103656e7604686572650000030403000000040401700002"
    "0607017f0141c0000b0908010041000b0201020a71031500100023000440230041016b2400410011"
    "00000b0b2100100023000440230041016b2400034003400340034041011100000b0b0b0b0b0b3702"
    "017c017e100020012000fc067c210120002001b9a021002001500440410041082802003602000b02"
    "402001500d00420721010b10000b0036046e616d65011f04000468657265010563616c6c7302056c"
    "6f6f70730308737472616967687404040100017407080100056465707468"
)

_LOOPS_IN_PROBE = 4
_TABLE_SIZE = 2
_CALL_BYTE_LENGTH, _LOOP_BYTE_LENGTH = 160, 48
"""What gcc's -O3 makes of them on x86-64; what is measured counts where it is more."""
_MARGIN = 1.25
_OTHER_STRUCTS = f"its structs are not those of pywasm3 {WASM3_VERSION} from PyPI"
_MAX_STRAIGHT_BYTE_LENGTH = 256
_STACK_BYTE_LENGTH = 16 * 1024


@dataclass(frozen=True, slots=True)
class CallCost:
    """Native stack of one wasm call, in bytes: of the call itself and of each open loop."""

    call: int
    loop: int

    def byte_length(self, loop_depth: int) -> int:
        """What a call from within that many loops takes."""
        return self.call + self.loop * loop_depth


@lru_cache(maxsize=1)
def calibrate(library: Library) -> CallCost:
    """Checks the library and measures its calls, once per process.

    Raises:
        EngineUnavailableError: The library was built so that it cannot be used.
    """
    _check_structs(library)
    calls, loops, straight = (_stack_pointers(library, index) for index in (1, 2, 3))
    if abs(straight[-1] - straight[0]) > _MAX_STRAIGHT_BYTE_LENGTH:
        raise _unusable(library, "it was built without sibling-call optimization (-O2 or -O3)")
    call, with_loops = (_per_call(pointers) for pointers in (calls, loops))
    loop = (with_loops - call) // _LOOPS_IN_PROBE
    return CallCost(
        round(_MARGIN * max(call, _CALL_BYTE_LENGTH)), round(_MARGIN * max(loop, _LOOP_BYTE_LENGTH))
    )


def _check_structs(library: Library) -> None:
    """Compares declarations.h with a live runtime, from its first field to its last."""
    lib, mark = library.lib, ffi.new("char[]", 1)
    environment = lib.m3_NewEnvironment()
    runtime = lib.m3_NewRuntime(environment, PAGE_SIZE, mark)
    same = (
        runtime.environment == environment
        and runtime.user_data == mark
        and runtime.stack_slot_count * SLOT_BYTE_LENGTH == PAGE_SIZE
        and not runtime.memory.header
        and not runtime.modules
        and runtime.error.message
        and text(runtime.error.message) == ""
        and lib.m3_GetBacktrace(runtime) == ffi.addressof(runtime, "backtrace")
    )
    lib.m3_FreeRuntime(runtime)
    lib.m3_FreeEnvironment(environment)
    if not same:
        raise _unusable(library, _OTHER_STRUCTS)


def _stack_pointers(library: Library, function_index: int) -> list[int]:
    """Where the native stack was at each call of ``here``."""
    pointers: list[int] = []

    @ffi.callback("M3RawCall")  # type: ignore[untyped-decorator]  # cffi's
    def here(_runtime: Any, context: Any, _stack: Any, _memory: Any) -> Any:
        pointers.append(int(ffi.cast("uintptr_t", context)))  # a local variable of the caller
        return ffi.NULL

    def link(module: Any) -> None:
        failed = library.lib.m3_LinkRawFunction(module, b"env", b"here", b"v()", here)
        if failed:
            raise _unusable(library, text(failed))

    memory = ffi.new("uint8_t[]", ffi.sizeof("M3MemoryHeader") + PAGE_SIZE)
    header = ffi.cast("M3MemoryHeader *", memory)
    try:
        runtime = Runtime(library.lib, PROBE, _STACK_BYTE_LENGTH, header, _TABLE_SIZE, link)
    except WasmCompileError as error:
        raise _unusable(library, str(error)) from error
    header.runtime, header.max_stack = runtime.pointer, runtime.stack_end
    header.length = PAGE_SIZE
    functions = runtime.module.functions
    if functions[function_index].index != function_index or functions.module != runtime.module:
        raise _unusable(library, _OTHER_STRUCTS)
    failed = library.lib.m3_Call(functions + function_index, 0, ffi.NULL)
    if failed or len(pointers) < 2:
        raise _unusable(library, f"the calibration failed: {text(failed)}")
    return pointers


def _per_call(pointers: list[int]) -> int:
    return max(abs(after - before) for before, after in itertools.pairwise(pointers))


def _unusable(library: Library, reason: str) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"engine 'wasm3': {library.path} cannot be used: {reason}. To repair it: "
        f"pip install --force-reinstall --no-cache-dir pywasm3=={WASM3_VERSION}"
    )
