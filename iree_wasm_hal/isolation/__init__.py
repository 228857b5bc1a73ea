"""Modules that run in a child process. Internal: may change at any time.

What the parent sends is pickled. What comes back is JSON, and of no size that the child did not
fill, because the child runs programs of strangers. Tensors lie in shared memory in both directions.
"""
