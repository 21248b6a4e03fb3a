"""Training between trainers: states, updates, their aggregation and its faults, in NumPy."""
