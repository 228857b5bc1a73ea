"""Children that end, are ended, or would go on for ever."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from mlir_functions import SPIN_AT_START
from system_processes import (
    children_of,
    open_descriptors,
    opened_since,
    resident_bytes,
    stop,
    wait_until_gone,
)

import iree_wasm_hal as iwh
from iree_wasm_hal.isolation import remote as remote_module
from iree_wasm_hal.isolation.channel import socket_pair
from iree_wasm_hal.isolation.plain import pack_plain
from iree_wasm_hal.isolation.protocol import STATISTICS
from iree_wasm_hal.isolation.remote import RemoteModule

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    LoadIsolated = Callable[..., iwh.IsolatedModule]

FOREVER = np.zeros(4, np.int32)
AT_ONCE = np.full(4, -1, np.int32)
LOOSE_S = 30.0  # for loaded machines


def process_of(module: iwh.IsolatedModule) -> int:
    process_id = module.process_id
    assert process_id is not None
    return process_id


def while_running(module: iwh.IsolatedModule, action: Callable[[int], object]) -> Any:
    """Does something once the kernel of ``spin`` runs; the error that ends the call."""
    before = module.statistics.submissions

    def act() -> None:
        while module.statistics.submissions == before:
            pass
        action(process_of(module))

    thread = threading.Thread(target=act)
    thread.start()
    try:
        with pytest.raises(iwh.Error) as caught:
            module.spin(FOREVER)
    finally:
        thread.join()
    return caught.value


def test_a_timeout_and_a_cancel_end_a_kernel_on_every_engine(
    load_isolated: LoadIsolated, engine_name: str
) -> None:
    module = load_isolated(engine=engine_name)
    before = time.monotonic()
    with pytest.raises(iwh.CallTimeoutError, match=r"timeout of 0\.1 s"):
        module.spin(FOREVER, timeout=0.1)
    assert time.monotonic() - before < LOOSE_S
    np.testing.assert_array_equal(module.spin(AT_ONCE), AT_ONCE)
    error = while_running(module, lambda _: module.cancel())
    assert type(error) is iwh.InterruptedCallError
    np.testing.assert_array_equal(module.spin(AT_ONCE), AT_ONCE)


def test_where_the_engine_interrupts_state_survives(
    load_isolated: LoadIsolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_module, "_GRACE_S", LOOSE_S)
    module = load_isolated(timeout=0.5)
    process_id = process_of(module)
    assert [module.count_up(timeout=LOOSE_S) for _ in range(2)] == [1, 2]
    for _ in range(3):
        with pytest.raises(iwh.CallTimeoutError):
            module.spin(FOREVER)
    assert module.count_up(timeout=LOOSE_S) == 3
    assert (process_of(module), module.start_count) == (process_id, 1)
    np.testing.assert_array_equal(module.spin(AT_ONCE, timeout=float("inf")), AT_ONCE)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT", "SIGTERM"])
def test_a_child_that_dies_in_a_call_is_an_error(load_isolated: LoadIsolated, name: str) -> None:
    module = load_isolated()
    assert [module.count_up(), module.count_up()] == [1, 2]
    process_id = process_of(module)
    error = while_running(module, lambda child: os.kill(child, signal.Signals[name]))
    assert isinstance(error, iwh.ProcessEndedError)
    assert (error.process_id, error.signal, error.exit_status) == (process_id, name, None)
    assert f"spin: the module's process {process_id} was ended by {name}" in str(error)
    assert module.count_up() == 1
    assert module.start_count == 2
    assert process_of(module) != process_id
    wait_until_gone(process_id)


def test_a_child_that_dies_between_calls_is_replaced(load_isolated: LoadIsolated) -> None:
    module = load_isolated()
    for count in range(1, 3):
        process_id = process_of(module)
        os.kill(process_id, signal.SIGKILL)
        while module.process_id is not None:  # its threads end one after another
            pass
        assert module.count_up() == 1
        assert module.start_count == count + 1


def test_a_child_that_stops_is_ended(load_isolated: LoadIsolated) -> None:
    module = load_isolated()
    process_id = process_of(module)
    os.kill(process_id, signal.SIGSTOP)
    with pytest.raises(iwh.CallTimeoutError, match="process was ended"):
        module.count_up(timeout=0.1)
    wait_until_gone(process_id)
    assert module.count_up() == 1


def test_a_question_without_an_answer_leaves_the_call_alone(
    load_isolated: LoadIsolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_module, "_QUERY_S", 1.0)  # enough for a loaded machine
    module = load_isolated()
    monkeypatch.undo()

    def ask(child: int) -> None:
        stop(child)
        try:
            with pytest.raises(iwh.CallTimeoutError, match=r"did not answer within"):
                _ = module.statistics
        finally:  # or the call would have no end
            os.kill(child, signal.SIGCONT)
            module.cancel()

    process_id = process_of(module)
    assert type(while_running(module, ask)) is iwh.InterruptedCallError
    assert (process_of(module), module.start_count) == (process_id, 1)
    np.testing.assert_array_equal(module.spin(AT_ONCE), AT_ONCE)


LISTENER = """
import socket, sys, threading
from iree_wasm_hal.isolation.child import _Listener
_Listener(socket.socket(fileno=int(sys.argv[1])))
threading.Event().wait()
"""


def test_a_parent_that_goes_before_it_read_an_answer_takes_its_child_along() -> None:
    ours, theirs = socket_pair()
    with (
        ours,
        theirs,
        subprocess.Popen(
            [sys.executable, "-c", LISTENER, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        ) as child,
    ):
        try:
            theirs.close()
            ours.sendall(pack_plain((STATISTICS, 1)))
            assert select.select([ours], [], [], LOOSE_S)[0]
            ours.close()  # with the answer in it: the child gets ECONNRESET, and no end
            assert child.wait(LOOSE_S) == -signal.SIGKILL
        finally:
            child.kill()


def test_ctrl_c_between_a_child_and_its_successor(
    load_isolated: LoadIsolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load_isolated()

    def interrupt(*_: object) -> Any:
        raise KeyboardInterrupt

    def begin_to_kill(remote: RemoteModule) -> None:  # it takes a while
        remote.is_usable = False

    monkeypatch.setattr(RemoteModule, "_wait_for_reply", interrupt)
    monkeypatch.setattr(RemoteModule, "_kill", begin_to_kill)
    monkeypatch.setattr(iwh.IsolatedModule, "_replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        module.count_up()
    monkeypatch.undo()
    assert module.count_up() == 1


def test_ctrl_c_before_the_child_of_a_call_is_ended(
    load_isolated: LoadIsolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call goes on in the child, and no answer to it is one to the next call."""
    module = load_isolated()

    def interrupt(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(RemoteModule, "_wait_for_reply", interrupt)
    monkeypatch.setattr(RemoteModule, "_kill", interrupt)
    monkeypatch.setattr(iwh.IsolatedModule, "_replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        module.count_up()
    monkeypatch.undo()
    assert module.count_up() == 1


def test_ctrl_c_within_a_look_at_the_child(load_isolated: LoadIsolated) -> None:
    """``Popen.poll`` takes a lock, and Ctrl-C may come before it sees to giving it back."""
    module = load_isolated()
    process_id = process_of(module)
    assert module._remote is not None
    module._remote.process._process._waitpid_lock.acquire()  # type: ignore[attr-defined]
    closing = threading.Thread(target=module.close, daemon=True)
    closing.start()
    closing.join(LOOSE_S)
    assert not closing.is_alive()
    wait_until_gone(process_id)


def test_exits_and_exceptions_of_modules_in_python(
    compile_wasm: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
      func.func private @hostile.act(i32) -> i32
      func.func @act(%a: i32) -> i32 {
        %0 = call @hostile.act(%a) : (i32) -> i32
        return %0 : i32
      }
    """
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "programs"))
    from hostile_module import make

    with iwh.load(compile_wasm(source), modules=[make()], isolation="process") as module:
        assert module.act(0) == 7
        with pytest.raises(KeyError, match="the key") as caught:
            module.act(1)
        assert "hostile_module.py" in str(caught.value.__cause__)
        with pytest.raises(ConnectionResetError, match="of the module's own"):
            module.act(4)
        assert module.start_count == 1  # it was no sign that the child was gone
        with pytest.raises(iwh.ProcessEndedError, match="ended with exit status 3") as ended:
            module.act(2)
        assert (ended.value.exit_status, ended.value.signal) == (3, None)
        with pytest.raises(iwh.InternalError, match=r"a message that cannot be read"):
            module.act(3)
        assert module.act(0) == 7
        assert not Path("/tmp/iree-wasm-unpickled").exists()


def test_a_child_that_dies_while_it_loads(
    archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos._exit(9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = open_descriptors()
    with pytest.raises(iwh.ProcessEndedError, match=r"while .*\.vmfb was loaded.*exit status 9"):
        iwh.load(archive, isolation="process")
    assert not opened_since(before)


@pytest.mark.parametrize("engine", ["wasmtime", "wasm3"])
def test_an_initialisation_without_end(compile_wasm: Callable[..., Path], engine: str) -> None:
    with pytest.raises(iwh.CallTimeoutError, match=r"timeout of 0\.2 s"):
        iwh.load(compile_wasm(SPIN_AT_START), engine=engine, timeout=0.2, isolation="process")
    assert children_of(os.getpid()) == set()


def test_cancelling_a_task_ends_its_call(load_isolated: LoadIsolated) -> None:
    module = load_isolated(engine="wasm3")

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(module.spin.aio(FOREVER), 0.1)
        np.testing.assert_array_equal(await module.spin.aio(AT_ONCE), AT_ONCE)

    asyncio.run(main())


def test_ctrl_c_ends_the_call(load_isolated: LoadIsolated) -> None:
    module = load_isolated()
    process_id = process_of(module)
    before = module.statistics.submissions

    def interrupt() -> None:
        while module.statistics.submissions == before:
            pass
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        module.spin(FOREVER)
    thread.join()
    wait_until_gone(process_id)
    np.testing.assert_array_equal(module.spin(AT_ONCE), AT_ONCE)


def test_a_call_that_waits_for_its_turn_times_out(load_isolated: LoadIsolated) -> None:
    module = load_isolated()

    def wait(_: int) -> None:
        with pytest.raises(iwh.CallTimeoutError):
            module.count_up(timeout=0.05)
        module.cancel()

    assert type(while_running(module, wait)) is iwh.InterruptedCallError
    assert module.count_up() == 1


def test_closing_leaves_nothing(archive: Path) -> None:
    gc.collect()
    before = open_descriptors()
    for _ in range(3):
        module = iwh.load(archive, isolation="process")
        module.negate(np.zeros(1_000_000, np.float32))
        process_id = process_of(module)
        module.close()
        wait_until_gone(process_id)
    assert not opened_since(before)
    mapped = Path("/proc/self/maps").read_text()
    assert "memfd:iree-wasm" not in mapped
    assert "/dev/shm" not in mapped
    assert children_of(os.getpid()) == set()
    module = iwh.load(archive, isolation="process")
    process_id = process_of(module)
    del module
    gc.collect()
    wait_until_gone(process_id)
    assert not opened_since(before)


PARENT = """
import os, sys, threading
import numpy as np
import iree_wasm_hal as iwh

module = iwh.load(sys.argv[1], engine=sys.argv[2], isolation="process")
before = module.statistics.submissions
threading.Thread(target=module.spin, args=(np.zeros(4, np.int32),), daemon=True).start()
while module.statistics.submissions == before:
    pass
print(module.process_id, flush=True)
if sys.argv[3] == "fork":
    if os.fork() == 0:
        np.testing.assert_array_equal(module.spin(np.full(4, -1, np.int32)), np.full(4, -1))
        print(module.process_id, flush=True)
        module.close()
        os._exit(0)
    os.wait()
    print("done", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("engine", ["wasm3", "wasmtime"])
def test_the_child_goes_with_its_parent(archive: Path, engine: str) -> None:
    command = [sys.executable, "-c", PARENT, str(archive), engine, "stay"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert child in children_of(parent.pid)
        parent.kill()
        parent.wait()
        wait_until_gone(child)


def test_a_forked_process_has_a_child_of_its_own(archive: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(archive), "wasmtime", "fork"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        lines = [parent.stdout.readline().decode().strip() for _ in range(3)]
        assert lines[2] == "done"
        first, second = int(lines[0]), int(lines[1])
        assert first != second
        wait_until_gone(second)
        assert first in children_of(parent.pid)
        parent.kill()
        parent.wait()
        wait_until_gone(first)


def test_a_script_without_a_main_guard(archive: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, iree_wasm_hal as iwh\n"
        "print(iwh.load(sys.argv[1], isolation='process').positive(5))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(archive)], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("5\n", "")


def test_a_child_that_runs_out_of_memory(load_isolated: LoadIsolated) -> None:
    module = load_isolated(max_memory_bytes=64 << 20)
    small, large = np.zeros(1000, np.float32), np.zeros(20_000_000, np.float32)
    module.negate(small)
    before = resident_bytes(process_of(module))
    for _ in range(3):
        with pytest.raises(iwh.LimitError, match="linear memory") as caught:
            module.negate(large)
        assert caught.value.asked > 0
    module.negate(small)
    # The message of 80 MB has been given back, but for what a segment keeps.
    assert resident_bytes(process_of(module)) - before < (64 << 20) + (32 << 20)
    assert module.start_count == 1
    # Address space is out: the child is told so, or dies of it, and either is an error of ours.
    resource.prlimit(process_of(module), resource.RLIMIT_AS, (1 << 28, 1 << 28))
    with pytest.raises((iwh.Error, MemoryError, OSError)):
        module.negate(np.zeros(100_000_000, np.float32))
    np.testing.assert_array_equal(module.negate(small), -small)
