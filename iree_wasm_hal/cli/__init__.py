"""The iree-wasm command. Internal: may change at any time."""
