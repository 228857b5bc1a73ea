"""What a test starts in the place of a child process: one that says whatever it likes.

It gets the child's arguments, and as ``argv[2]`` the name of what it does.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys

arguments, attack, *sys.path = sys.argv[1:]

from iree_wasm_hal.isolation.plain import pack_plain, unpack_plain  # noqa: E402
from iree_wasm_hal.isolation.protocol import LOADED, OPENED, PROGRESS  # noqa: E402

HEADER = struct.Struct("<qQQ")
ARRAY, FLOAT_32 = 3, 0x21000020
FAR = 1 << 40

data, control, requests, replies, archive, options, *_ = json.loads(arguments)
calls = socket.socket(fileno=data)
questions = socket.socket(fileno=control)


def send(number: int, body: object, end: int = 0) -> None:
    """Sends plain data, or bytes as they are."""
    packed = body if isinstance(body, bytes) else pack_plain(body)
    calls.sendall(HEADER.pack(number, end, 0) + packed)


def send_results(number: int, *results: object, end: int = 0) -> None:
    """Answers a call."""
    send(number, (False, results), end)


def send_long(number: int, body: bytes, byte_length: int) -> None:
    """Sends a body through the segment, and announces so many bytes."""
    os.ftruncate(replies, byte_length)
    os.pwrite(replies, body, 0)
    calls.sendall(HEADER.pack(number, byte_length, 0))


def next_number() -> int:
    """Waits for a request."""
    number: int = HEADER.unpack_from(calls.recv(1 << 17))[0]
    return number


INFO = {"name": "wasmtime", "version": "1", "library_path": "", "memory_model": "imports"}
send(OPENED, {**INFO, "features": ["interrupt"], "notes": {}})
description = ["main", "sync func @main()", False, "", 0, 1]
if attack == "no function":
    description = ["main"]
send(LOADED, (False, {"name": "taken over", "functions": [description]}))

if attack == "answers before it is asked":
    for number in range(1, 100):
        send_results(number, [0, 1])
    questions.recv(1)
if attack == "no answer":
    _, question = unpack_plain(questions.recv(1 << 12))
    questions.sendall(pack_plain((question, 5)))
elif attack == "other statistics":
    _, question = unpack_plain(questions.recv(1 << 12))
    questions.sendall(pack_plain((question, {"used": 1})))
number = next_number()
if attack == "nested without end":
    nested = b"[" * 5_000_000
    send_long(number, nested, len(nested))
elif attack == "a pickle":
    send(number, b"\x80\x05K\x01.")
elif attack == "a body without end":
    send_long(number, b" " * (9 << 20), 9 << 20)
elif attack == "a segment that it never filled":
    os.ftruncate(replies, FAR)
    send_results(number, [ARRAY, FLOAT_32, [FAR // 4], 0], end=FAR)
elif attack == "a message beyond its segment":
    send_results(number, [ARRAY, FLOAT_32, [FAR // 4], 0], end=FAR)
elif attack == "a tensor again and again":
    os.pwrite(replies, bytes(1 << 20), 0)
    send_results(number, *[[ARRAY, FLOAT_32, [1 << 18], 0]] * 2, end=1 << 20)
elif attack == "a tensor behind the message":
    os.pwrite(replies, bytes(1 << 20), 0)
    send_results(number, [ARRAY, FLOAT_32, [1 << 10], 1 << 19], end=1 << 12)
elif attack == "dimensions":
    send_results(number, [ARRAY, FLOAT_32, [0, 1 << 80], 0])
elif attack == "many dimensions":
    send_results(number, [ARRAY, FLOAT_32, [0] * 99, 0])
elif attack == "no list":
    send(number, (False, 5))
elif attack == "no results":
    send_results(number)
elif attack == "no outcome":
    send(number, 5)
elif attack == "no error":
    send(number, (True, {"classes": [["builtins", "int"]]}))
elif attack == "progress":
    send(PROGRESS, (1, 2))
while calls.recv(1 << 17):
    pass
