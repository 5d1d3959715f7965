"""Start the endpoint: `python -m scripts.kube --state DIR --image cpu=cpu_image`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from scripts.kube.environment import Image
from scripts.kube.identity import ADDRESS
from scripts.kube.server import Settings, serve

_DESCRIPTION = f"""\
A stand-in for Kubernetes, for trying and testing on one machine: the part of core/v1 that pods need, on
https://{ADDRESS}, with each container as a local process. Containers are not isolated: run only images that
you would run as programs. It writes DIR/kubeconfig, for kubectl and every other client, once it listens.
"""


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit code, 1 if the endpoint could not start."""
    settings = _settings()
    try:
        asyncio.run(serve(settings))
    except BlockingIOError:
        print(f"{settings.state} is in use by another endpoint: stop that one first", file=sys.stderr)
        return 1
    except OSError as problem:
        where = f"{ADDRESS}:{settings.port} with {settings.state}"
        print(f"Cannot serve on {where}: {problem}: choose another --port or --state", file=sys.stderr)
        return 1
    return 0


def _settings() -> Settings:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.kube",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--port", type=int, default=16443, help="the port on loopback, 0 for any free one (%(default)s)"
    )
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the folder for all state")
    parser.add_argument(
        "--image",
        type=_image,
        action="append",
        default=[],
        metavar="NAME=FOLDER[:LIBRARIES]",
        help="run FOLDER's package for every image NAME, whatever its registry and tag, with the packages "
        "in LIBRARIES instead of this process's own; may be repeated",
    )
    parser.add_argument(
        "--starting",
        type=int,
        default=4 * (os.cpu_count() or 1),
        metavar="N",
        help="how many containers may start at once; the others are Pending (%(default)s)",
    )
    given = parser.parse_args()
    if given.starting < 1:
        parser.error("--starting must be at least 1")
    return Settings(given.port, given.state, dict(given.image), given.starting)


def _image(text: str) -> tuple[str, Image]:
    name, _, places = text.partition("=")
    folder, _, libraries = places.partition(":")
    if not name or not folder:
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=FOLDER or NAME=FOLDER:LIBRARIES")
    try:
        return name, Image.of_folder(Path(folder).resolve(), Path(libraries).resolve() if libraries else None)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(f"{text!r}: {problem}") from None


if __name__ == "__main__":
    sys.exit(main())
