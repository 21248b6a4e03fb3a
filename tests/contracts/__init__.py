"""Contract tests: one folder a contract, one file a function, failures first."""
