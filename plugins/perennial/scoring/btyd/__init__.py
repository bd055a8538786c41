"""Buy-till-you-die models: how many purchases are to come from clients who may silently leave, and what they spend."""
