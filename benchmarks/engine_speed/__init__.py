"""What `engines.py` measures on each engine."""
