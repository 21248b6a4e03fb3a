"""Training in rounds: local steps, what states and updates are worth, fast hashing."""
