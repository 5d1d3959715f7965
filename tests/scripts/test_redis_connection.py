"""The Airflow connection redis_cpu: its fields, its URL, and refusals that name the remedy."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from airflow.sdk import Connection

from cpu.redis_client import connect, with_retries
from scripts.redis_connection import UnusableConnectionError, redis_url, url_of
from tests.support import redis_server as servers
from tests.support.tls import relay


def connection(**fields: Any) -> Connection:
    extra = fields.pop("extra", None)
    text = extra if isinstance(extra, str) or extra is None else json.dumps(extra)
    return Connection(conn_id="redis_cpu", **{"conn_type": "redis", "host": "h", "extra": text, **fields})


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "redis://h:6379/0"),
        ({"conn_type": "generic", "port": 1}, "redis://h:1/0"),
        ({"login": "u", "password": "p@/ w"}, "redis://u:p%40%2F%20w@h:6379/0"),
        ({"password": "p"}, "redis://:p@h:6379/0"),
        ({"host": "::1"}, "redis://[::1]:6379/0"),
        ({"schema": "3"}, "redis://h:6379/3"),
        ({"extra": {"db": 3}}, "redis://h:6379/3"),
        ({"extra": {"db": "3", "ssl": False, "ssl_cert_reqs": "required"}}, "redis://h:6379/3"),
        ({"extra": {"db": None, "ssl_ca_certs": "", "ssl": None}}, "redis://h:6379/0"),
        ({"extra": {"ssl": True}}, "rediss://h:6379/0"),
        ({"conn_type": "redis+cluster", "extra": {"ssl": "true"}}, "rediss+cluster://h:6379/0"),
        ({"conn_type": "rediss", "extra": {"ssl_cert_reqs": "none"}}, "rediss://h:6379/0?ssl_cert_reqs=none"),
        (
            {"extra": {"ssl": True, "ssl_check_hostname": False, "ssl_ca_certs": __file__}},
            f"rediss://h:6379/0?ssl_check_hostname=False&ssl_ca_certs={quote_plus(__file__)}",
        ),
        ({"conn_type": "unix", "host": "", "schema": "run/redis"}, "unix:///run/redis?db=0"),
        (
            {"conn_type": "unix", "host": "/run/redis", "schema": "", "password": "p", "extra": {"db": 1}},
            "unix://:p@/run/redis?db=1",
        ),
    ],
)
def test_fields_of_a_connection_mean_what_they_mean_to_airflows_redis_hook(
    fields: dict[str, Any], url: str
) -> None:
    assert url_of(connection(**fields)) == url
    connect(url).close() if "cluster" not in url else None


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@127.0.0.1:6380/3",
        "rediss://user:secret@h:6379/0?ssl_cert_reqs=none&ssl_check_hostname=false",
        "rediss://h:6379/0?ssl_ca_data=-----BEGIN+CERTIFICATE-----%0Asecret%2B",
        "redis://h:6379/0?health_check_interval=30&client_name=cpu",
        "redis+cluster://:secret@h:7000/0",
        "unix:///run/redis?db=0",
    ],
)
def test_a_connection_given_as_a_url_is_the_url_that_pods_take(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_CPU", url)
    assert redis_url() == url


@pytest.mark.parametrize("kind", ["redis", "rediss", "unix"])
def test_time_outs_are_those_of_the_caller_whatever_the_connection_has(kind: str) -> None:
    url = url_of(connection(conn_type=kind, extra={"socket_timeout": 60}), answer_seconds=0.4)
    options = connect(url).connection_pool.connection_kwargs  # type: ignore[union-attr]
    assert options["socket_timeout"] == 0.4
    assert options.get("socket_connect_timeout", 0.4) == 0.4


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"conn_type": "postgres"}, "has the type 'postgres': expected redis, rediss, "),
        ({"extra": {"SSL": True}}, "has an unknown extra 'SSL': known are db, ssl, ssl_cert_reqs, "),
        ({"extra": {"sentinels": []}}, "has an unknown extra 'sentinels'"),
        ({"extra": "ssl=true"}, "has an extra field that is no JSON object"),
        ({"extra": "[]"}, "has an extra field that is no JSON object"),
        ({"extra": {"db": "zero"}}, "has a db that is no number"),
        ({"schema": "secret"}, "has a db that is no number"),
        ({"extra": {"ssl": True, "ssl_cert_reqs": "require"}}, "expected required, optional or none"),
        ({"extra": {"ssl": True, "ssl_ca_certs": "/nowhere"}}, "names a file as ssl_ca_certs that cannot be"),
    ],
)
def test_a_wrong_connection_is_refused_with_what_is_wrong_and_without_its_secrets(
    fields: dict[str, Any], why: str
) -> None:
    with pytest.raises(UnusableConnectionError) as refused:
        url_of(connection(**{"password": "secret", **fields}))
    assert why in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("value", ["", "secret", "{secret", "redis://:secret@h:port/0"])
def test_a_connection_that_is_missing_or_cannot_be_parsed_is_refused_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_CPU", value)
    with pytest.raises(UnusableConnectionError, match="redis_cpu") as refused:
        redis_url()
    assert "secret" not in str(refused.value)


async def test_tls_options_of_airflows_form_lead_to_a_verified_tls_connection(tmp_path: Path) -> None:
    port = servers.free_port()
    with servers.running(port=port):
        async with relay("127.0.0.1", port, tmp_path) as (encrypted, pem):
            authority = tmp_path / "authority.pem"
            authority.write_text(pem)
            extra = {"ssl": True, "ssl_cert_reqs": "required", "ssl_ca_certs": str(authority)}
            url = url_of(connection(host="127.0.0.1", port=encrypted, extra=extra), answer_seconds=10)
            assert await asyncio.to_thread(with_retries, url, lambda client: client.ping(), 0)
