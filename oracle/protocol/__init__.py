"""The byte formats both sides agree on: pure functions, no I/O, no clock, no configuration."""
