"""The Airflow connection to the CPUs' Redis, as a URL: fields mean what they mean to Airflow's Redis hook."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote, urlencode

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

CONNECTION = "redis_cpu"
CONNECTION_TYPES = ("redis", "rediss", "redis+cluster", "rediss+cluster", "unix")
CERT_REQS = ("required", "optional", "none")
FILE_EXTRAS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
EXTRAS = (
    "db",
    "ssl",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    *FILE_EXTRAS,
    # Airflow's hook does not read those that follow, but the URL of the pods may have them.
    "ssl_ca_data",
    "ssl_ca_path",
    "ssl_ciphers",
    "ssl_min_version",
    "ssl_password",
    "client_name",
    "health_check_interval",
    "protocol",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_timeout",
)
REMEDY = "add it: the address of the CPUs' Redis, such as redis://:password@redis.redis:6379/0"


class UnusableConnectionError(Exception):
    """The connection is missing or wrong; the text says what to change, and contains no secret."""


def redis_url(answer_seconds: float | None = None) -> str:
    """Return the connection `redis_cpu` as a URL for `cpu.redis_client`.

    `answer_seconds`: how long Redis may take to connect and for each answer; None for the client's defaults.
    Raises UnusableConnectionError.
    """
    try:
        return url_of(BaseHook.get_connection(CONNECTION), answer_seconds)
    except UnusableConnectionError:
        raise
    except AirflowNotFoundException as error:
        # Airflow raises the same error for a connection that it cannot parse.
        reason = f"there is no Airflow connection {CONNECTION}, or it is not valid"
        raise UnusableConnectionError(f"{reason} ({REMEDY})") from error
    except Exception as error:  # of a secrets backend or a key: its text may contain a secret
        reason = f"{type(error).__name__}: see the log of Airflow's API server"
        raise UnusableConnectionError(
            f"the Airflow connection {CONNECTION} cannot be read ({reason})"
        ) from error


def url_of(connection: Connection, answer_seconds: float | None = None) -> str:
    """Return a connection as a URL; see `redis_url`. Raises UnusableConnectionError."""
    kind = "redis" if connection.conn_type == "generic" else connection.conn_type
    if kind not in CONNECTION_TYPES:
        raise _wrong(f"has the type {kind!a}", f"expected {_listed(CONNECTION_TYPES)}")
    options = _extras(connection)
    if _is_true(options.pop("ssl", False)) and not kind.startswith("rediss") and kind != "unix":
        kind = kind.replace("redis", "rediss")
    if not kind.startswith("rediss"):
        options = {name: value for name, value in options.items() if not name.startswith("ssl_")}
    _check_tls(options)
    db = options.pop("db", "" if kind == "unix" else connection.schema) or 0
    if not str(db).isdecimal():
        raise _wrong("has a db that is no number", "expected 0 or more")
    if answer_seconds:
        options["socket_timeout"] = answer_seconds
        if kind != "unix":
            options["socket_connect_timeout"] = answer_seconds
    query = f"?{urlencode(options)}" if options else ""
    login, password = (quote(text or "", safe="") for text in (connection.login, connection.password))
    who = f"{login}:{password}@" if login or password else ""
    if kind == "unix":
        path = (connection.host or "") + (f"/{connection.schema}" if connection.schema else "")
        return f"unix://{who}{quote(path)}?{urlencode({'db': db, **options})}"
    host = connection.host or "localhost"
    host = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"{kind}://{who}{host}:{connection.port or 6379}/{db}{query}"


def _extras(connection: Connection) -> dict[str, Any]:
    """Return the connection's extra field, without what is empty."""
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise _wrong("has an extra field that is no JSON object", 'expected such as {"db": 0, "ssl": true}')
    if unknown := sorted(set(extra) - set(EXTRAS)):
        raise _wrong(f"has an unknown extra {unknown[0][:64]!a}", f"known are {_listed(EXTRAS)}")
    return {name: value for name, value in extra.items() if value not in (None, "")}


def _check_tls(options: dict[str, Any]) -> None:
    """Refuse options for which redis-py would not say what is wrong."""
    if options.get("ssl_cert_reqs", "none") not in CERT_REQS:
        raise _wrong("has an unknown ssl_cert_reqs", f"expected {_listed(CERT_REQS)}")
    for name in FILE_EXTRAS:
        if name in options and not os.access(str(options[name]), os.R_OK):
            raise _wrong(f"names a file as {name} that cannot be read", "put it there, on the API server too")


def _is_true(value: Any) -> bool:
    return str(value).lower() in ("true", "1", "yes", "on")


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _wrong(what: str, remedy: str) -> UnusableConnectionError:
    return UnusableConnectionError(f"the Airflow connection {CONNECTION} {what}: {remedy}")
