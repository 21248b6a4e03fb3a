"""Differential tests: the reference in NumPy against the contracts, in an EVM in this process."""
