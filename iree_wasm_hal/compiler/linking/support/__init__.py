"""Internal: the support library, its sources and the program that builds it."""
