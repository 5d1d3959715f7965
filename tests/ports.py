"""Ports for servers that tests start."""

from __future__ import annotations

import socket


def free_ports(number: int) -> list[int]:
    """Ports on loopback that nobody listens on right now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
