"""The gate: SQL tags rows with rule ids, great-expectations judges the batch, what is bad is set aside with reasons."""
