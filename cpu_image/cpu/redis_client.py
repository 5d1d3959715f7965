"""The way to Redis: one client, and one policy for when it is away."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias, TypeVar

# By its modules, as in a pod the package itself is not run: see cpu.lean.
from redis import exceptions
from redis.backoff import NoBackoff
from redis.client import Redis
from redis.retry import Retry

from cpu.errors import PermanentError, TemporaryError

if TYPE_CHECKING:
    from redis.cluster import RedisCluster

Client: TypeAlias = "Redis | RedisCluster"

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 3.0
PATIENCE_SECONDS = 9.0  # no new attempt after this; with the last one's time outs under 15 s

_REFUSED = (exceptions.AuthenticationError, exceptions.AuthorizationError)
_AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,  # a failover is under way
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    exceptions.RedisClusterException,
)

T = TypeVar("T")


def patiently(url: str, command: Callable[[Client], T], patience: float = PATIENCE_SECONDS) -> T:
    """Run a command with a client; while Redis is away run it again, from its start, for `patience` seconds.

    That is safe as every command is made to be sent again, even when only its answer was lost.
    Raises TemporaryError, which never tells the URL, as a password is in it.
    """
    deadline = time.monotonic() + patience
    pause = 0.1
    while True:
        try:
            with closing(connect(url)) as client:
                return command(client)
        except _REFUSED:
            raise TemporaryError("Redis refuses the user or the password in REDIS_URL") from None
        except _AWAY as error:
            if time.monotonic() + pause > deadline:
                reason = f"Redis does not answer ({_reason(error)}): is it up, and does REDIS_URL lead to it?"
                raise TemporaryError(reason) from None
        except exceptions.InvalidResponse:
            raise TemporaryError("what answers where REDIS_URL leads to is not Redis") from None
        except exceptions.RedisError as error:
            raise TemporaryError(f"Redis refuses a command: {_code(error)}") from None
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
        "driver_info": None,  # its name and version would take two more round trips
        "protocol": 2,  # one handshake less, and old servers echo no password in an error
        "socket_timeout": ANSWER_SECONDS,
        "retry": Retry(NoBackoff(), 0),  # the one policy is patiently()
    }
    return options if scheme == "unix" else {**options, "socket_connect_timeout": CONNECT_SECONDS}


def _reason(error: BaseException) -> str:
    """Why Redis is away, in the system's words; redis' own would tell the address."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return "timed out" if isinstance(error, exceptions.TimeoutError) else type(error).__name__


def _code(error: exceptions.RedisError) -> str:
    """The error's kind; its text may quote what was sent."""
    word = str(error).partition(" ")[0]
    return word if word.isupper() else type(error).__name__
