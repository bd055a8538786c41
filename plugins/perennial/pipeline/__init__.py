"""The day as plain functions, without Airflow: ingest, build, publish, train, score, plan, export."""
