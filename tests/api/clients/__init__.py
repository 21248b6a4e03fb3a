"""Programs for other people's clients; they run in build/clients (scripts/clients.sh)."""
