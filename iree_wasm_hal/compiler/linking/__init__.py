"""Internal: the linker that iree-compile calls, and the support library that it links.

Imports the standard library only, and its own modules relatively: iree-compile starts it in a
bare interpreter for every kernel module (``launcher.write_launcher``).
"""
