"""Typed bindings, one module a contract (scripts/bindings.py)."""
