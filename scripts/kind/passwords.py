"""The Secrets that helm-values.yaml and the pods refer to, with passwords made up for one cluster."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping

from scripts.kind.kubectl import Kubectl, Manifest
from scripts.kind.redis_users import acl_file

# All passwords are kept in the cluster, so that they live and die with the databases they open.
KEPT = "cluster-cpu-passwords"
SLACK = "AIRFLOW_CONN_SLACK_CPU"


def passwords(kubectl: Kubectl) -> dict[str, str]:
    """Return the passwords of this cluster, by what they are for; make those that are missing."""
    found = kubectl.find("secret", KEPT, "airflow") or {"data": {}}
    kept = {name: base64.b64decode(value).decode() for name, value in found["data"].items()}
    made = {name: secrets.token_hex(24) for name in ("database", "broker", "redis", "wall", "session")}
    made["admin"] = secrets.token_urlsafe(12)
    made["jwt"] = secrets.token_hex(64)
    made["fernet"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    if made.keys() - kept.keys():
        kubectl.apply(secret("airflow", KEPT, made | kept))
    return made | kept


def manifests(password: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> list[Manifest]:
    """Every Secret; where answers are told comes from the environment variable AIRFLOW_CONN_SLACK_CPU."""
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
