"""What an engine plugin may import: the contract, feature probes, registry and conformance suite."""

from iree_wasm_hal.engine.contract import *  # noqa: F403
