"""The way to Redis: one client, and one policy for when it is away."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias, TypeVar

# By its modules, as in a pod the package itself is not run: see cpu.fast_imports.
from redis import connection, exceptions
from redis.backoff import NoBackoff
from redis.client import Redis
from redis.retry import Retry

from cpu.errors import PermanentError
from cpu.redis_errors import error_of, refusal_of

if TYPE_CHECKING:
    from redis.cluster import RedisCluster

Client: TypeAlias = "Redis | RedisCluster"

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 3.0
PATIENCE_SECONDS = 9.0  # no new attempt after this; with the last one's time outs under 15 s

T = TypeVar("T")


def with_retries(url: str, command: Callable[[Client], T], patience: float = PATIENCE_SECONDS) -> T:
    """Run a command with a client; while Redis is away run it again, from its start, for `patience` seconds.

    That is safe as every command is made to be sent again, even when only its answer was lost.
    Raises PermanentError or TemporaryError with a text of `cpu.redis_errors`, which never holds the URL or
    the password in it.
    """
    deadline = time.monotonic() + patience
    pause = 0.1
    while True:
        try:
            with closing(connect(url)) as client:
                return command(client)
        except (exceptions.RedisError, exceptions.RedisClusterException) as error:
            refusal = refusal_of(error, url)
        if refusal.then != "wait" or time.monotonic() + pause > deadline:
            raise error_of(refusal)
        time.sleep(pause)
        pause = min(2 * pause, 1.0)


def connect(url: str) -> Client:
    """A client for redis://, rediss:// and unix:// URLs, and redis+cluster:// ones for Redis Cluster.

    Raises PermanentError where the URL is none of these.
    """
    scheme, separator, rest = url.partition("://")
    plain_url = scheme.removesuffix("+cluster") + separator + rest
    try:
        if scheme.endswith("+cluster"):
            from redis.cluster import RedisCluster

            return RedisCluster.from_url(plain_url, **_options(scheme))
        client = Redis.from_url(plain_url, **_options(scheme))
        client.connection_pool.make_connection()  # connects to nothing, but knows which options there are
    except (ValueError, TypeError):
        expected = "redis://, rediss://, unix:// or redis+cluster://"
        raise PermanentError(f"REDIS_URL is not a usable URL: expected {expected}") from None
    return client


def _options(scheme: str) -> dict[str, object]:
    options: dict[str, object] = {
        # Its name and version would take two more round trips. Airflow's image has an older redis than ours,
        # for Celery's sake, with other names for the option.
        **(
            {"driver_info": None}
            if hasattr(connection, "DriverInfo")
            else {"lib_name": None, "lib_version": None}
        ),
        "protocol": 2,  # one handshake less, and old servers echo no password in an error
        "socket_timeout": ANSWER_SECONDS,
        "retry": Retry(NoBackoff(), 0),  # the one policy is with_retries()
    }
    return options if scheme == "unix" else {**options, "socket_connect_timeout": CONNECT_SECONDS}
