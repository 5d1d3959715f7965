"""Draw pictures of a start run: a row per CPU, time to the right, coloured by state, with the answers."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, cast

from cpu.errors import CpuError, TemporaryError
from cpu.redis_client import Client, with_retries
from scripts.local.passwords import passwords
from scripts.local.services.redis import url_for_pods
from scripts.local.settings import REPOSITORY, load
from scripts.report.picture import NO_MATPLOTLIB, render
from scripts.snapshot import NotKeptError, Snapshot, newest_start, take_snapshot

EPILOG = """\
environment:
  STACK_DIR        the stack's folder, as --state
  STACK_REDIS_URL  another Redis than the stack's, as --redis-url; may hold a password

exit codes:
  0  done
  1  Redis is away or does not have the start run, or the pictures cannot be drawn or written
  2  wrong arguments
"""


class ReportError(Exception):
    """There is no picture; the text says why, and the remedy."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = parse(arguments)
    try:
        snapshot = read(options)
        if options.json:
            output = to_json(snapshot)
        else:
            output = "\n".join(str(file) for file in write(snapshot, options))
        print(output, flush=True)
    except BrokenPipeError:
        # The reader needs no more of it. Without this, Python complains at exit about what it cannot flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; exit with 2 if they are wrong."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m scripts.report", description=__doc__, epilog=EPILOG, formatter_class=raw
    )
    parser.add_argument("start", nargs="?", metavar="START", help="a start run (default: the newest one)")
    destination = parser.add_mutually_exclusive_group()
    destination.add_argument(
        "--output",
        action="append",
        type=Path,
        metavar="FILE",
        help="write the picture to this file, .svg or .png; may be given more than once",
    )
    destination.add_argument(
        "--folder",
        type=Path,
        default=Path(".report"),
        metavar="FOLDER",
        help="write START.svg and START.png into this folder, which is created if need be"
        " (default: %(default)s)",
    )
    destination.add_argument(
        "--json", action="store_true", help="print what would be drawn as JSON, and draw nothing"
    )
    parser.add_argument(
        "--redis-url", metavar="URL", help="another Redis than the stack's; without a password, see below"
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="where the stack keeps its data (default: .stack in the checkout; STACK_DIR)",
    )
    options = parser.parse_args(arguments)
    if options.start and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", options.start):
        parser.error(f"START is {options.start[:64]!a}: expected up to 32 of a-z, 0-9 and -")
    for file in options.output or ():
        if file.suffix not in (".svg", ".png"):
            parser.error(f"--output is {str(file)!a}: expected a name that ends with .svg or .png")
    if options.redis_url and re.search("@|password", options.redis_url):
        parser.error(
            "--redis-url may not hold a password, which other users of this machine could see:"
            " set STACK_REDIS_URL to the URL"
        )
    return options


def read(options: argparse.Namespace) -> Snapshot:
    """Return the start run that is asked for. Raises ReportError."""

    def command(client: Client) -> Snapshot:
        start = options.start or newest_start(client)
        if start is None:
            raise ReportError("Redis keeps no start run: make demo runs one")
        return take_snapshot(client, start)

    given = options.redis_url or os.environ.get("STACK_REDIS_URL")
    url = given or stack_redis_url(options)
    name = "the address given" if given else "the stack's address"
    remedy = "" if given else " (make up starts the stack)"
    try:
        return with_retries(url, command)
    except NotKeptError as error:
        raise ReportError(str(error)) from error
    except CpuError as error:
        remedy = remedy if isinstance(error, TemporaryError) else ""
        raise ReportError(str(error).replace("REDIS_URL", name) + remedy, error.exit_code) from error


def stack_redis_url(options: argparse.Namespace) -> str:
    """Return the URL of the stack's Redis. Raises ReportError if the folder holds no stack."""
    state = Path(options.state or os.environ.get("STACK_DIR") or REPOSITORY / ".stack").resolve()
    if (settings := load(state)) is None:
        raise ReportError(f"there is no stack in {state}: make up starts one, or name a Redis (--redis-url)")
    return url_for_pods(settings, passwords(state))


def to_json(snapshot: Snapshot) -> str:
    """Return what would be drawn. Times are Unix time by Redis' clock, null for what has not happened."""
    part1, part2 = snapshot.part1(), snapshot.part2()
    return json.dumps(
        {
            "start": snapshot.start,
            "stored": snapshot.stored,
            "now": snapshot.now,
            "ended": snapshot.ended,
            "part1": part1 and asdict(part1),
            "part2": part2 and asdict(part2),
            "cpus": [asdict(cpu) for cpu in snapshot.cpus],
        },
        ensure_ascii=False,
        indent=1,
    )


def write(snapshot: Snapshot, options: argparse.Namespace) -> list[Path]:
    """Write the pictures and return their files. Raises ReportError."""
    files = options.output or [options.folder / f"{snapshot.start}.{kind}" for kind in ("svg", "png")]
    for file in files:
        try:
            picture = render(snapshot, cast("Literal['svg', 'png']", file.suffix[1:]))
        except ImportError as error:
            raise ReportError(NO_MATPLOTLIB) from error
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture)
        except OSError as error:
            raise ReportError(f"cannot write {file}: {error.strerror}") from error
    return list(files)
