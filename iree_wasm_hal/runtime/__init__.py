"""Loading archives and calling them with numpy arrays. Internal: may change at any time."""
