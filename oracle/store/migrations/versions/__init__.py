"""One file per change of the tables, named after its revision."""
