"""Internal: the native modules that a program may import: ``hal``, ``io_parameters``, ``check``."""
