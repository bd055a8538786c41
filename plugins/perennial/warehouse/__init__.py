"""The only room that opens the warehouse: DuckDB with Parquet parts, Arrow in, Arrow out."""
