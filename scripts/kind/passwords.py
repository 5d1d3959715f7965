"""Create the Secrets that helm-values.yaml and the pods refer to, with generated passwords."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping

from scripts.kind.kubectl import Kubectl, Manifest
from scripts.kind.redis_users import acl_file

STORE = "cluster-cpu-passwords"
"""The Secret that holds all passwords: they are stored beside, and removed with, the databases they open."""
SLACK = "AIRFLOW_CONN_SLACK_CPU"
"""The environment variable that holds the Airflow connection to Slack."""


def passwords(kubectl: Kubectl) -> dict[str, str]:
    """Return the passwords of this cluster by purpose; generate and store those that are missing."""
    found = kubectl.find("secret", STORE, "airflow") or {"data": {}}
    stored = {name: base64.b64decode(value).decode() for name, value in found["data"].items()}
    new = {name: secrets.token_hex(24) for name in ("database", "broker", "redis", "wall", "session")}
    new["admin"] = secrets.token_urlsafe(12)
    new["jwt"] = secrets.token_hex(64)
    new["fernet"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    if new.keys() - stored.keys():
        kubectl.apply(secret("airflow", STORE, new | stored))
    return new | stored


def manifests(password: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> list[Manifest]:
    """Return the manifests of all Secrets; the connection to Slack is taken from `environment`."""
    database = f"postgresql://airflow:{password['database']}@postgres:5432/airflow"
    broker = f"redis://:{password['broker']}@broker:6379/0"
    broker_users = f"user default on >{password['broker']} ~* &* +@all\n"
    cpus_redis = f"redis://cpu:{password['redis']}@redis.redis:6379/0"
    wall = f"redis://wall:{password['wall']}@redis.redis:6379/0"
    keys = {
        "fernet-key": password["fernet"],
        "api-secret-key": password["session"],
        "jwt-secret": password["jwt"],
    }
    return [
        secret("airflow", "airflow-database", {"password": password["database"], "connection": database}),
        secret("airflow", "airflow-broker", {"connection": broker, "users.acl": broker_users}),
        secret("airflow", "airflow-keys", keys),
        secret("airflow", "airflow-admin", {"password": password["admin"]}),
        secret("redis", "redis", {"users.acl": acl_file(cpu=password["redis"], wall=password["wall"])}),
        secret("cpu-jobs", "cpu-redis", {"url": cpus_redis}),
        secret("airflow", "airflow-cpu-redis", {"connection": wall}),
        secret("airflow", "airflow-slack", {"connection": environment.get(SLACK, "")}),
    ]


def secret(namespace: str, name: str, values: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": dict(values),
    }
