"""The one way in which the validator refuses a module."""

from __future__ import annotations

from iree_wasm_hal.errors import WasmCompileError

__all__ = ["InvalidWasmError"]


class InvalidWasmError(WasmCompileError):
    """The module is malformed, invalid, or outside of what wasm3 can take.

    Attributes:
        reason: The message without the offset.
        offset: Byte offset of the fault in the module.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} (at byte offset {offset:#x})")
        self.reason = message
        self.offset = offset
