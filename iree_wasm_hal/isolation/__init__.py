"""Modules that run in a child process. Internal: may change at any time.

What the parent sends is pickled. What comes back is plain data and never more: numbers, strings,
tuples and dicts, without a single name that would be looked up, because the child runs programs of
strangers. Tensors lie in shared memory in both directions.
"""
