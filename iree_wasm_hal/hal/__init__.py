"""IREE's HAL on one linear memory. Internal: may change at any time."""
