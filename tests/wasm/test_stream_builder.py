"""Encoding of command streams: layouts, slot requirements, every range check."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from iree_wasm_hal.errors import ArgumentError
from iree_wasm_hal.wasm.stream import (
    BINDING_REF,
    COMMAND_HEADER,
    COPY_COMMAND,
    DISPATCH_COMMAND,
    FILL_COMMAND,
    PHASE_COMMAND,
    SUBMISSION_BLOCK,
    UPDATE_COMMAND,
    WHOLE_BUFFER,
    BindingRef,
    Opcode,
    Status,
    decode_submission_block,
    encode_binding_table,
    encode_submission_block,
)
from iree_wasm_hal.wasm.stream_builder import CommandStreamBuilder, EncodedStream
from iree_wasm_hal.wasm.stream_worker import worker_block_layout

if TYPE_CHECKING:
    from collections.abc import Callable

U32 = (1 << 32) - 1
REF = BindingRef(0, 16, 32)


def walk(stream: EncodedStream) -> list[dict[str, int]]:
    """Command headers with their offsets, END included."""
    commands = []
    offset = 0
    while True:
        header = COMMAND_HEADER.unpack(stream.data, offset)
        commands.append({**header, "offset": offset})
        if header["opcode"] == Opcode.END:
            assert offset + header["byte_length"] == len(stream.data)
            return commands
        offset += header["byte_length"]
        assert offset % 8 == 0


def test_phases_and_counters() -> None:
    builder = CommandStreamBuilder()
    builder.barrier()
    builder.fill(REF, 0x01, 1)
    builder.update(b"12345", BindingRef(1, 0, 5))
    builder.barrier()
    builder.barrier()
    builder.dispatch(3, 1, 0x1_0000, (4, 5, 6), constants=(1, 2, 3), bindings=(REF, REF))
    stream = builder.finish()
    commands = walk(stream)
    opcodes = [Opcode(command["opcode"]) for command in commands]
    assert opcodes == [
        *(Opcode.PHASE, Opcode.FILL, Opcode.UPDATE),
        *(Opcode.PHASE, Opcode.DISPATCH, Opcode.END),
    ]
    # Every phase and command has four bytes of its own behind the block's header.
    offsets = [command["counter_offset"] for command in commands[:-1]]
    assert offsets == [64, 68, 72, 76, 80]
    assert stream.submission_block_byte_length == 88
    assert [command["command_index"] for command in commands[:-1]] == [0, 0, 1, 2, 2]
    first = PHASE_COMMAND.unpack(stream.data)
    assert first["next_phase_offset"] == commands[3]["offset"]
    second = PHASE_COMMAND.unpack(stream.data, commands[3]["offset"])
    assert second["next_phase_offset"] == commands[5]["offset"]
    assert (stream.command_count, stream.dispatch_count) == (3, 1)
    assert stream.executable_indices == {3}


def test_empty_stream_is_end_alone() -> None:
    stream = CommandStreamBuilder().finish()
    assert [command["opcode"] for command in walk(stream)] == [Opcode.END]
    assert (stream.command_count, stream.submission_block_byte_length) == (0, 64)


def test_slot_requirements_are_the_farthest_ends() -> None:
    builder = CommandStreamBuilder()
    builder.fill(BindingRef(2, 100, 20), 0, 4)
    builder.copy(BindingRef(2, 0, 60), BindingRef(-1, 0x10000, 60))
    builder.fill(BindingRef(5, 7, WHOLE_BUFFER), 0, 1)
    builder.dispatch(0, 0, 0, BindingRef(6, 8, 12))
    assert builder.finish().slot_requirements == {2: 120, 5: 7, 6: 20}


def test_dispatch_encoding() -> None:
    builder = CommandStreamBuilder(8)
    builder.dispatch(
        1,
        2,
        1 << 40,
        (7, 8, 9),
        workgroup_size=(10, 11, 65535),
        constants=(-1, 5, 1 << 32),
        bindings=(BindingRef(-1, 1 << 41, 1 << 33), BindingRef(4, 5, WHOLE_BUFFER)),
        local_memory_byte_length=4096,
    )
    stream = builder.finish()
    offset = walk(stream)[1]["offset"]
    command = DISPATCH_COMMAND.unpack(stream.data, offset)
    assert command["environment_address"] == 1 << 40
    assert [command[f"workgroup_count_{axis}"] for axis in "xyz"] == [7, 8, 9]
    assert [command[f"workgroup_size_{axis}"] for axis in "xyz"] == [10, 11, 65535]
    assert (command["constant_count"], command["binding_count"]) == (3, 2)
    constants = struct.unpack_from("<3I", stream.data, offset + DISPATCH_COMMAND.byte_length)
    assert constants == (U32, 5, 0)
    bindings = offset + command["bindings_offset"]
    assert BINDING_REF.unpack(stream.data, bindings) == {
        "slot": -1,
        "byte_offset": 1 << 41,
        "byte_length": 1 << 33,
    }
    second = BINDING_REF.unpack(stream.data, bindings + BINDING_REF.byte_length)
    assert second["byte_length"] == WHOLE_BUFFER


def test_references_in_commands_are_laid_out_like_bindings() -> None:
    for command, prefixes in (
        (FILL_COMMAND, ("target",)),
        (COPY_COMMAND, ("source", "target")),
        (UPDATE_COMMAND, ("target",)),
        (DISPATCH_COMMAND, ("count",)),
    ):
        for prefix in prefixes:
            start = command.offset(f"{prefix}_slot")
            for name, field in BINDING_REF.fields.items():
                assert command.offset(f"{prefix}_{name}") == start + field.byte_offset


def test_binding_table_entries() -> None:
    assert encode_binding_table([(1, 2), (3, 1 << 33)]) == struct.pack("<4Q", 1, 2, 3, 1 << 33)


@pytest.mark.parametrize(
    ("pointer_byte_length", "sizes"), [(4, (36, 24, 704)), (8, (48, 32, 1216))]
)
def test_worker_block_holds_the_abi_structures(
    pointer_byte_length: int, sizes: tuple[int, int, int]
) -> None:
    layout = worker_block_layout(pointer_byte_length)
    dispatch, group, block = sizes
    assert layout.dispatch_state.byte_length == dispatch
    assert layout.workgroup_state.byte_length == group
    assert layout.byte_length == len(layout.encode(worker_index=1)) == block
    ends = (
        layout.header.byte_length,
        layout.dispatch_state_offset + dispatch,
        layout.workgroup_state_offset + group,
    )
    starts = (
        layout.dispatch_state_offset,
        layout.workgroup_state_offset,
        layout.binding_ptrs_offset,
    )
    assert all(end <= start for end, start in zip(ends, starts, strict=True))


def test_submission_block_is_zero_but_for_its_inputs() -> None:
    data = encode_submission_block(byte_length=88, stream_address=0x20000, worker_count=3)
    block = SUBMISSION_BLOCK.unpack(data)
    assert {name for name, value in block.items() if value} == {
        *("stream_address", "worker_count"),
    }
    assert len(data) == 88
    report = decode_submission_block(data)
    assert (report.status, report.stop) == (Status.OK, 0)


def test_scribbled_status_reads_as_bad_command() -> None:
    assert decode_submission_block(b"\xff" * 64).status is Status.BAD_COMMAND


def _finished(*, barrier: bool) -> Callable[[], None]:
    builder = CommandStreamBuilder()
    builder.finish()
    return builder.barrier if barrier else lambda: builder.fill(REF, 0, 1)


def _dispatch(**changes: Any) -> Callable[[], None]:
    arguments: dict[str, Any] = {
        "executable_index": 0,
        "function_table_index": 1,
        "environment_ptr": 0,
        "workgroup_count": (1, 1, 1),
        **changes,
    }
    return lambda: CommandStreamBuilder().dispatch(**arguments)


def _fill(ref: BindingRef, pattern: int = 0, size: int = 4) -> Callable[[], None]:
    return lambda: CommandStreamBuilder().fill(ref, pattern, size)


PROBLEMS: dict[str, tuple[Callable[[], Any], str]] = {
    "pointer width": (lambda: CommandStreamBuilder(5), "pointer_byte_length is 5, expected 4 or 8"),
    "worker layout": (lambda: worker_block_layout(2), "pointer_byte_length is 2, expected 4 or 8"),
    "after finish": (_finished(barrier=False), "recording after finish"),
    "barrier after finish": (_finished(barrier=True), "recording after finish"),
    "pattern size": (_fill(REF, 0, 3), "pattern of 3 bytes, expected 1, 2, 4 or 8"),
    "pattern value": (_fill(REF, 256, 1), "pattern 0x100 does not fit 1 bytes"),
    "negative pattern": (_fill(REF, -1, 8), "pattern -0x1 does not fit 8 bytes"),
    "fill length": (_fill(BindingRef(0, 0, 6)), "6 bytes are no multiple of the pattern's 4"),
    "whole direct": (_fill(BindingRef(-1, 0, WHOLE_BUFFER)), "a byte length is needed"),
    "negative slot": (_fill(BindingRef(-2, 0, 4)), "slot -2, expected -1 to 65535"),
    "large slot": (_fill(BindingRef(65536, 0, 4)), "slot 65536, expected -1 to 65535"),
    "beyond the memory": (
        _fill(BindingRef(-1, (1 << 32) - 4, 8)),
        "8 bytes at 4294967292 are not within 4294967296 bytes",
    ),
    "negative offset": (_fill(BindingRef(0, -4, 4)), "4 bytes at -4 are not within"),
    "negative length": (_fill(BindingRef(0, 4, -4)), "-4 bytes at 4 are not within"),
    "copy lengths": (
        lambda: CommandStreamBuilder().copy(REF, BindingRef(1, 0, 31)),
        "source has 32 bytes, target 31",
    ),
    "copy of a whole buffer": (
        lambda: CommandStreamBuilder().copy(
            BindingRef(0, 0, WHOLE_BUFFER), BindingRef(1, 0, WHOLE_BUFFER)
        ),
        "copy source: a byte length is needed here",
    ),
    "update length": (
        lambda: CommandStreamBuilder().update(b"123", BindingRef(0, 0, 4)),
        "3 bytes of data for a target of 4",
    ),
    "constants": (_dispatch(constants=[0] * 65), "65 constants and 0 bindings; at most 64 and 64"),
    "bindings": (_dispatch(bindings=[REF] * 65), "0 constants and 65 bindings"),
    "binding": (
        _dispatch(bindings=[REF, BindingRef(-1, 1 << 32, 1)]),
        "dispatch binding 1: 1 bytes at 4294967296 are not within",
    ),
    "size z": (_dispatch(workgroup_size=(1, 1, 65536)), "workgroup size z is 65536, expected 0 to"),
    "size x": (_dispatch(workgroup_size=(1 << 32, 1, 1)), "workgroup size x is 4294967296"),
    "count z": (_dispatch(workgroup_count=(1, 1, 65536)), "workgroup count z is 65536"),
    "count x": (_dispatch(workgroup_count=(-1, 1, 1)), "workgroup count x is -1"),
    "workgroups": (_dispatch(workgroup_count=(1 << 16, 1 << 15, 1)), "workgroups is 2147483648"),
    "executable": (_dispatch(executable_index=-1), "executable index is -1"),
    "function": (_dispatch(function_table_index=1 << 32), "function table index is 4294967296"),
    "environment": (_dispatch(environment_ptr=1 << 32), "environment address is 4294967296"),
    "local memory": (_dispatch(local_memory_byte_length=-1), "local memory bytes is -1"),
    "indirect length": (
        _dispatch(workgroup_count=BindingRef(0, 0, 16)),
        "indirect workgroup count of 16 bytes, expected 12",
    ),
    "indirect alignment": (
        _dispatch(workgroup_count=BindingRef(0, 2, 12)),
        "indirect workgroup count at 2, expected a multiple of 4",
    ),
    "stream address": (
        lambda: encode_submission_block(byte_length=64, stream_address=4),
        "stream at 0x4 and binding table at 0x0 must be multiples of 8",
    ),
    "workers": (
        lambda: encode_submission_block(byte_length=64, stream_address=0, worker_count=0),
        "worker_count is 0, expected 1 or more",
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_bad_argument_is_refused(name: str) -> None:
    call, message = PROBLEMS[name]
    with pytest.raises(ArgumentError, match=message):
        call()
