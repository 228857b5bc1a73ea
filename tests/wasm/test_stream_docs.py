"""docs/command-stream.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from iree_wasm_hal.wasm import stream, stream_mailbox
from iree_wasm_hal.wasm.stream_worker import worker_block_layout

PAGE = (Path(__file__).parents[2] / "docs" / "command-stream.md").read_text()
LAYOUTS = {
    "Binding reference": stream.BINDING_REF,
    "Binding table entry": stream.BINDING_TABLE_ENTRY,
    "Command header": stream.COMMAND_HEADER,
    "PHASE command": stream.PHASE_COMMAND,
    "DISPATCH command": stream.DISPATCH_COMMAND,
    "FILL command": stream.FILL_COMMAND,
    "COPY command": stream.COPY_COMMAND,
    "UPDATE command": stream.UPDATE_COMMAND,
    "Submission block": stream.SUBMISSION_BLOCK,
    "Worker block header": worker_block_layout(4).header,
    "Mailbox": stream_mailbox.MAILBOX,
    "Mailbox slot": stream_mailbox.MAILBOX_SLOT,
}


@pytest.mark.parametrize("title", LAYOUTS)
def test_table_is_the_layout(title: str) -> None:
    section = PAGE.split(f"### {title}\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (`?)(\w+)`? \|", section, re.MULTILINE)
    documented = [(int(at), int(size), name) for at, size, quoted, name in rows if quoted]
    fields = list(LAYOUTS[title].fields.values())
    if any(name == "header" for *_, name in rows):
        fields = fields[len(stream.COMMAND_HEADER.fields) :]
    assert documented == [(f.byte_offset, f.byte_length, f.name) for f in fields]


def test_every_layout_is_documented() -> None:
    assert set(re.findall(r"^### (.*)$", PAGE, re.MULTILINE)) == set(LAYOUTS)


@pytest.mark.parametrize("numbers", [stream.Opcode, stream.Result])
def test_numbers_are_documented(numbers: type[stream.Opcode | stream.Result]) -> None:
    for number in numbers:
        assert f"{number.value} {number.name}" in PAGE


def test_parts_of_the_worker_block_are_documented() -> None:
    layout = worker_block_layout(4)
    assert f"at offset {layout.dispatch_state_offset} the dispatch state" in PAGE
    assert f"at {layout.workgroup_state_offset} the workgroup state" in PAGE
    assert f"at {layout.binding_ptrs_offset} the resolved binding pointers" in PAGE
