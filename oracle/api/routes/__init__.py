"""One module per kind of resource; each has a `router`."""
