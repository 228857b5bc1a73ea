"""Internal: the ``io_parameters`` module and the archive formats behind its scopes."""
