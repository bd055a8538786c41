"""Which client records are one client: normalised, linked by rules, decided by people, undone when wrong."""
