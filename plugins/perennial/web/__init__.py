"""Pages and endpoints of the Airflow plugin: what has landed, quarantine, Data Docs, signed webhooks."""
