#!/usr/bin/env bash
# What Airflow's services find when they start (service `init` of docker-compose.yml): folders, the sign-in file, the
# metadata and the ledger at their newest revision, schemas and rights of the warehouse, the pool of its one writer. Run
# again, it changes nothing.
set -euo pipefail
umask 077

mkdir -p "$AIRFLOW_HOME" "$PERENNIAL_HOME/landing" "$PERENNIAL_HOME/outbox"
passwords=$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE
python -P -c 'import json, os; print(json.dumps({"admin": os.environ["PERENNIAL_ADMIN_PASSWORD"]}))' >"$passwords.part"
mv "$passwords.part" "$passwords"
unset PERENNIAL_ADMIN_PASSWORD

python -P -m perennial check --only config
airflow db migrate
airflow pools set warehouse_writer 1 "One writer at a time in the warehouse"
python -P -m perennial warehouse init
python -P -m perennial status
