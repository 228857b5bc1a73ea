"""The parent's side of a child process, from its start to its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING

from iree_wasm_hal.errors import EngineUnavailableError, ProcessEndedError
from iree_wasm_hal.isolation.channel import Channel, socket_pair
from iree_wasm_hal.isolation.plain import LONGEST_BODY
from iree_wasm_hal.isolation.segment import Segment

if TYPE_CHECKING:
    import socket

    from iree_wasm_hal.isolation.start import StartRequest

__all__ = ["ChildProcess"]

_CLOSING_S = 1.0
"""For a child to end by itself once nobody needs it."""
# The path comes first: nothing but built-in modules may be imported from where the child starts.
_CHILD = (
    "import sys; arguments, *sys.path = sys.argv[1:]; "
    "from iree_wasm_hal.isolation.child import main; main(arguments)"
)


class ChildProcess:
    """A fresh Python, never a copy of this one, that loads a module.

    It ends when this process does, however that happens: what it hears of then is that the sockets
    are closed. Thread-compatible, but for ``kill`` and what goes over ``control``.

    Args:
        start: What it loads. Can be closed afterwards.

    Raises:
        EngineUnavailableError: No process can be started.
        LimitError: There is no memory or descriptor for the messages.

    Attributes:
        process_id: Its number.
        channel: For requests and replies.
        control: For what does not wait for a call.
    """

    def __init__(self, start: StartRequest) -> None:
        self._owner = os.getpid()
        with contextlib.ExitStack() as cleanup:
            requests, replies = Segment(), Segment()
            cleanup.callback(requests.close)
            cleanup.callback(replies.close)
            try:
                data, far_data = socket_pair()
                cleanup.callback(data.close)
                with far_data:
                    self.control, far_control = socket_pair()
                    cleanup.callback(self.control.close)
                    with far_control:
                        inherited = [far_data, far_control]
                        self._process = _spawn(inherited, [requests, replies], start)
            except OSError as error:
                raise EngineUnavailableError(
                    f"{start.name}: no child process can be started for it: {error}"
                ) from error
            cleanup.pop_all()
        self.process_id = self._process.pid
        self.channel = Channel(data, requests, replies, LONGEST_BODY)
        self._finalizer = weakref.finalize(
            self, _end, self._owner, self._process, self.channel, self.control
        )

    @property
    def is_alive(self) -> bool:
        """Whether it is this process's child and runs."""
        return self._owner == os.getpid() and self._process.poll() is None

    def kill(self) -> None:
        """Ends it at once, and what it started. Idempotent."""
        _kill(self._process)

    def ended(self, what: str) -> ProcessEndedError:
        """The error for a child that ended by itself.

        Args:
            what: It did then.
        """
        status = _wait(self._process)  # it may have closed its sockets and go on
        name = _signal_name(-status) if status < 0 else None
        how = f"was ended by {name}" if name else f"ended with exit status {status}"
        if name == "SIGKILL":
            how += " (from outside, or by the system for lack of memory)"
        return ProcessEndedError(
            f"{what}: the module's process {self.process_id} {how}. The next call starts it anew",
            process_id=self.process_id,
            exit_status=status if status >= 0 else None,
            signal=name,
        )

    def close(self) -> None:
        """Lets it end, and waits until it has. Idempotent."""
        if self._owner == os.getpid():
            self._finalizer()

    def abandon(self) -> None:
        """In a forked process: forgets the child, which is not this one's."""
        self._finalizer.detach()
        self._process.returncode = 0  # there is nothing to wait for
        self.channel.abandon()
        self.control.close()


def _spawn(
    sockets: list[socket.socket], segments: list[Segment], start: StartRequest
) -> subprocess.Popen[bytes]:
    descriptors = [
        *(one.fileno() for one in sockets),
        *(one.descriptor for one in segments),
        *start.descriptors,
    ]
    arguments = json.dumps([*descriptors, *start.arguments])
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, arguments, *sys.path],
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        start_new_session=True,  # Ctrl-C is for the parent, which then ends the call
    )


def _end(
    owner: int, process: subprocess.Popen[bytes], channel: Channel, control: socket.socket
) -> None:
    """Ends a child that nobody needs, and frees what it needed."""
    if owner != os.getpid():  # at the end of a process that was forked
        return
    channel.close()
    _wait(process)
    control.close()


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Waits for the end of a child that has to end, and sees to it. Its exit status."""
    try:
        return process.wait(_CLOSING_S)
    except subprocess.TimeoutExpired:
        _kill(process)
    if process.returncode is None:
        # Not Popen.wait: where Ctrl-C came within its poll, a lock may be held for ever.
        with contextlib.suppress(ChildProcessError):  # somebody else met its end
            _, status = os.waitpid(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    return -signal.SIGKILL if process.returncode is None else process.returncode


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
