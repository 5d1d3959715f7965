"""The Secrets that helm-values.yaml and the pods refer to, with passwords made up for one cluster."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping

from scripts.kind.kubectl import Kubectl, Manifest

# All passwords are kept in the cluster, so that they live and die with the databases they open.
KEPT = "cluster-cpu-passwords"
SLACK = "AIRFLOW_CONN_SLACK_CPU"


def passwords(kubectl: Kubectl) -> dict[str, str]:
    """The passwords of this cluster, by what they are for; made if there are none yet."""
    if kept := kubectl.find("secret", KEPT, "airflow"):
        return {name: base64.b64decode(value).decode() for name, value in kept["data"].items()}
    made = {name: secrets.token_hex(24) for name in ("database", "broker", "redis", "session")}
    made["admin"] = secrets.token_urlsafe(12)
    made["jwt"] = secrets.token_hex(64)
    made["fernet"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    kubectl.apply(secret("airflow", KEPT, made))
    return made


def manifests(password: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> list[Manifest]:
    """Every Secret; where answers are told comes from the environment variable AIRFLOW_CONN_SLACK_CPU."""
    database = f"postgresql://airflow:{password['database']}@postgres:5432/airflow"
    broker = f"redis://:{password['broker']}@airflow-redis:6379/0"
    cpus_redis = f"redis://:{password['redis']}@redis.redis:6379/0"
    keys = {
        "fernet-key": password["fernet"],
        "api-secret-key": password["session"],
        "jwt-secret": password["jwt"],
    }
    found = [
        secret("airflow", "airflow-database", {"password": password["database"], "connection": database}),
        secret("airflow", "airflow-broker", {"password": password["broker"], "connection": broker}),
        secret("airflow", "airflow-keys", keys),
        secret("airflow", "airflow-admin", {"password": password["admin"]}),
        secret("redis", "redis", {"password": password["redis"]}),
        secret("cpu-jobs", "cpu-redis", {"url": cpus_redis}),
        secret("airflow", "airflow-cpu-redis", {"connection": cpus_redis}),
    ]
    if connection := environment.get(SLACK):
        found.append(secret("airflow", "airflow-slack", {"connection": connection}))
    return found


def secret(namespace: str, name: str, values: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": dict(values),
    }
