"""Internal: the ``hal`` module: what a program imports to drive the device.

One file per family of imports, each with a table of functions by name and calling convention, so
that several releases' forms of one import live side by side (3.11 passes an export ordinal to
``command_buffer.dispatch``, 3.12 and later a function id).

Spec: compiler/src/iree/compiler/Dialect/HAL/hal.imports.mlir, runtime/src/iree/modules/hal.
"""
