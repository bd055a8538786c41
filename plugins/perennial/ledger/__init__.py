"""Operational truth, with transactions: batches, runs, consents, assignments, model cards, lists and deliveries."""
