"""Reading what outside systems land: which files are whole, what is in them, and their rows as text in DuckDB."""
