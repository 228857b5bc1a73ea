"""IREE's VM: archive, ISA, verifier, execution, native modules. Internal: may change any time."""
