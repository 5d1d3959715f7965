"""The connection to Redis: one kind of client for each URL, and one way to retry."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias, TypeVar

# By its modules, because in a pod the package's own code is not run: see cpu.fast_imports.
from redis import connection, exceptions
from redis.backoff import NoBackoff
from redis.client import Redis
from redis.retry import Retry

from cpu.errors import PermanentError
from cpu.redis_errors import find_cause

if TYPE_CHECKING:
    from redis.cluster import RedisCluster

Client: TypeAlias = "Redis | RedisCluster"

CONNECT_SECONDS = 2.0
REPLY_SECONDS = 3.0
RETRY_SECONDS = 9.0  # no try begins after that; with the timeouts of the last one, under 15 s

T = TypeVar("T")


def with_retries(url: str, command: Callable[[Client], T], retry_seconds: float | None = None) -> T:
    """Call a command with a client; while Redis is away, call it again until `retry_seconds` have passed.

    The command must be safe to repeat from its start, also if only the last reply was lost.
    Raises PermanentError or TemporaryError with a text from `cpu.redis_errors`, which never contains the URL
    or its password.
    """
    deadline = time.monotonic() + (RETRY_SECONDS if retry_seconds is None else retry_seconds)
    pause = 0.1
    while True:
        try:
            with closing(connect(url)) as client:
                return command(client)
        except (exceptions.RedisError, exceptions.RedisClusterException) as error:
            cause = find_cause(error, url)
        if cause.retry != "soon" or time.monotonic() + pause > deadline:
            raise cause.error()
        time.sleep(pause)
        pause = min(2 * pause, 1.0)


def connect(url: str) -> Client:
    """Return a client for a redis://, rediss:// or unix:// URL, or redis+cluster:// for Redis Cluster.

    Raises PermanentError if the URL is none of these.
    """
    scheme, separator, rest = url.partition("://")
    plain_url = scheme.removesuffix("+cluster") + separator + rest
    try:
        if scheme.endswith("+cluster"):
            from redis.cluster import RedisCluster

            return RedisCluster.from_url(plain_url, **_options(scheme))
        client = Redis.from_url(plain_url, **_options(scheme))
        client.connection_pool.make_connection()  # does not connect, but raises TypeError for unknown options
    except (ValueError, TypeError):
        expected = "redis://, rediss://, unix:// or redis+cluster://"
        raise PermanentError(f"REDIS_URL is not a usable URL: expected {expected}") from None
    return client


def _options(scheme: str) -> dict[str, object]:
    # Without this, redis-py sends its name and version, which takes two more round trips. Airflow's image has
    # an older redis-py, because of Celery, in which the option has other names.
    if hasattr(connection, "DriverInfo"):
        options: dict[str, object] = {"driver_info": None}
    else:
        options = {"lib_name": None, "lib_version": None}
    options |= {
        "protocol": 2,  # one handshake less, and old servers echo no password in an error
        "socket_timeout": REPLY_SECONDS,
        "retry": Retry(NoBackoff(), 0),  # only with_retries() retries
    }
    return options if scheme == "unix" else {**options, "socket_connect_timeout": CONNECT_SECONDS}
