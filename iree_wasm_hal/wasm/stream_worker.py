"""The worker block: IREE's dispatch and workgroup state, per worker, in linear memory.

The only structures of the command stream that depend on the pointer width, because the kernels
read them (iree/hal/local/executable_library.h, version 0.6).
"""

from __future__ import annotations

from iree_wasm_hal.errors import ArgumentError
from iree_wasm_hal.wasm.stream import MAX_BINDING_COUNT, Struct

__all__ = ["WorkerBlockLayout", "worker_block_layout"]

_WORKER_HEADER = (
    *("I worker_index", "I executable_index", "I required_executable"),
    *("I resume_offset", "I resume_phase", "I local_memory_byte_length"),
    "Q local_memory_address",
)


class WorkerBlockLayout:
    """Where everything is in a worker block for one pointer width.

    Attributes:
        header: Fields that the host writes and the executor updates.
        dispatch_state: ``iree_hal_executable_dispatch_state_v0_t``.
        workgroup_state: ``iree_hal_executable_workgroup_state_v0_t``.
        dispatch_state_offset: Byte offset of the dispatch state in the block; so for the others.
        byte_length: Size of the block; align it to 64.
    """

    def __init__(self, pointer_byte_length: int) -> None:
        pointer = {4: "I", 8: "Q"}[pointer_byte_length]
        wide = pointer_byte_length == 8
        self.pointer_byte_length = pointer_byte_length
        self.header = Struct("worker block header", _WORKER_HEADER, 32)
        self.dispatch_state = Struct(
            "dispatch state",
            (
                *("I workgroup_size_x", "I workgroup_size_y", "H workgroup_size_z"),
                *("H constant_count", "I workgroup_count_x", "I workgroup_count_y"),
                *("H workgroup_count_z", "B max_concurrency", "B binding_count"),
                *(f"{pointer} constants", f"{pointer} binding_ptrs", f"{pointer} binding_lengths"),
            ),
            48 if wide else 36,
        )
        self.workgroup_state = Struct(
            "workgroup state",
            (
                *("I workgroup_id_x", "I workgroup_id_y", "H workgroup_id_z", "H reserved"),
                *("I processor_id", f"{pointer} local_memory", "I local_memory_size"),
            ),
            32 if wide else 24,
        )
        self.dispatch_state_offset = 64
        self.workgroup_state_offset = 128
        self.binding_ptrs_offset = 192
        self.binding_lengths_offset = 192 + MAX_BINDING_COUNT * pointer_byte_length
        self.byte_length = 192 + 2 * MAX_BINDING_COUNT * pointer_byte_length

    def encode(
        self,
        *,
        worker_index: int,
        executable_index: int = 0,
        local_memory_address: int = 0,
        local_memory_byte_length: int = 0,
    ) -> bytes:
        """A fresh worker block, to be written before a worker's first call in a submission.

        Args:
            worker_index: 0 up to the worker count; kernels see it as the processor id.
            executable_index: Index, as in the stream's dispatches, of the module about to be
                called; any number that no dispatch uses for the bare executor.
            local_memory_address: Scratch memory of this worker's own, or 0.
            local_memory_byte_length: Its size.
        """
        header = self.header.pack(
            worker_index=worker_index,
            executable_index=executable_index,
            local_memory_address=local_memory_address,
            local_memory_byte_length=local_memory_byte_length,
        )
        return header + bytes(self.byte_length - len(header))


_LAYOUTS = {4: WorkerBlockLayout(4), 8: WorkerBlockLayout(8)}


def worker_block_layout(pointer_byte_length: int) -> WorkerBlockLayout:
    """The layout for 4- or 8-byte pointers.

    Raises:
        ArgumentError: Another pointer width.
    """
    if pointer_byte_length not in _LAYOUTS:
        raise ArgumentError(f"pointer_byte_length is {pointer_byte_length}, expected 4 or 8")
    return _LAYOUTS[pointer_byte_length]
