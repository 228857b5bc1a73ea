"""A skeleton engine for iree_wasm_hal: the contract's shape, without running wasm."""
