"""The one room that knows Airflow: assets, defaults, the landing trigger and thin task bodies around the pipeline."""
