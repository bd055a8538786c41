"""Scores of clients: features to matrices, estimators, training with backtest, reasons, drift, artefacts.

This room imports scikit-learn at module level (1.7 s): import it inside the step that needs it.
"""
