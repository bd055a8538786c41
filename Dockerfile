# syntax=docker/dockerfile:1.7
# One image for all of Airflow's services and for the command line, made from the lock file. `./perennial up` builds it.
# Two stages: what installs (uv) does not reach the second one. Every package is a wheel with the hash that the lock file
# names, and the wheels bring their own libraries: nothing is compiled but to bytecode, no system package is installed.

FROM python:3.11.14-slim-bookworm AS packages

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore UV_NO_CACHE=1
COPY requirements-uv.txt requirements.lock /tmp/
RUN python -m venv /opt/uv \
    && /opt/uv/bin/pip install --require-hashes -r /tmp/requirements-uv.txt \
    && python -m venv --without-pip /opt/env \
    && /opt/uv/bin/uv pip install --python /opt/env/bin/python --require-hashes \
        --only-binary :all: --compile-bytecode -r /tmp/requirements.lock


FROM python:3.11.14-slim-bookworm

# Group 0, as images of Airflow have it: a host's user (PERENNIAL_UID) writes where the group may.
RUN useradd --uid 50000 --gid 0 --no-create-home --home-dir /var/lib/perennial perennial \
    && install -d -o perennial -g 0 -m 2770 /var/lib/perennial

COPY --from=packages /opt/env /opt/env
WORKDIR /opt/perennial
COPY LICENSE pyproject.toml ./
COPY deploy deploy
COPY config config
COPY dags dags
COPY dbt_project dbt_project
COPY plugins plugins

ENV USER=perennial \
    PATH=/opt/env/bin:$PATH \
    PYTHONPATH=/opt/perennial/plugins \
    PYTHONUNBUFFERED=1 \
    HOME=/var/lib/perennial \
    AIRFLOW_HOME=/var/lib/perennial/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/perennial/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/perennial/plugins \
    PERENNIAL_HOME=/var/lib/perennial \
    PERENNIAL_CONFIG=/opt/perennial/config
RUN python -m compileall -q -j 0 /opt/perennial/plugins /opt/perennial/dags

USER 50000:0
CMD ["python", "-P", "-m", "perennial", "--help"]
