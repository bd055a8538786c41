"""Backtests: a named data set through the product's own chain, judged by the protocols of scoring, told as a report."""
