"""Pictures of a start run: its CPUs × time, coloured by state, the CPU with the answer marked."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

from cpu.errors import CpuError, TemporaryError
from cpu.redis_client import Client, with_retries
from scripts import snapshot
from scripts.local.passwords import passwords
from scripts.local.services.redis import url_for_pods
from scripts.local.settings import REPOSITORY, load
from scripts.report.picture import NO_MATPLOTLIB, draw
from scripts.snapshot import Snapshot

EPILOG = """\
environment:
  STACK_DIR        the stack's folder, as --state
  STACK_REDIS_URL  another Redis than the stack's, as --redis-url; may hold a password

exit codes:
  0  done
  1  Redis is away or keeps no such start run, or the pictures cannot be drawn or written
  2  wrong arguments
"""


class ReportError(Exception):
    """There is nothing to show; the text says why, and what helps."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked for on the command line; the exit code."""
    options = parse(arguments)
    try:
        run = look(options)
        said = data(run) if options.json else "\n".join(str(file) for file in write(run, options))
        print(said, flush=True)
    except BrokenPipeError:
        # Whoever reads has read enough; or Python complains once more, at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; ends the process with 2 where they are wrong."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m scripts.report", description=__doc__, epilog=EPILOG, formatter_class=raw
    )
    parser.add_argument("start", nargs="?", metavar="START", help="a start run (default: the newest one)")
    to = parser.add_mutually_exclusive_group()
    to.add_argument(
        "--output",
        action="append",
        type=Path,
        metavar="FILE",
        help="leave the picture there: .svg or .png; may be given more than once",
    )
    to.add_argument(
        "--folder",
        type=Path,
        default=Path(".report"),
        metavar="FOLDER",
        help="leave START.svg and START.png there, and make it if need be (default: %(default)s)",
    )
    to.add_argument("--json", action="store_true", help="print what would be drawn, and draw nothing")
    parser.add_argument(
        "--redis-url", metavar="URL", help="another Redis than the stack's; without a password, see below"
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="where the stack keeps its things (default: .stack in the checkout; STACK_DIR)",
    )
    options = parser.parse_args(arguments)
    if options.start and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", options.start):
        parser.error(f"START is {options.start[:64]!a}: expected up to 32 of a-z, 0-9 and -")
    for file in options.output or ():
        if file.suffix not in (".svg", ".png"):
            parser.error(f"--output is {str(file)!a}: expected a name that ends with .svg or .png")
    if options.redis_url and re.search("@|password", options.redis_url):
        parser.error("--redis-url may not hold a password, which others would see: set STACK_REDIS_URL to it")
    return options


def look(options: argparse.Namespace) -> Snapshot:
    """The start run that is asked for. Raises ReportError."""

    def command(client: Client) -> Snapshot:
        start = options.start or snapshot.newest(client)
        if start is None:
            raise ReportError("Redis keeps no start run: make demo runs one")
        return snapshot.snapshot(client, start)

    given = options.redis_url or os.environ.get("STACK_REDIS_URL")
    url = given or url_of_stack(options)
    name = "the address given" if given else "the stack's address"
    remedy = "" if given else " (make up starts the stack)"
    try:
        return with_retries(url, command)
    except snapshot.NotKeptError as error:
        raise ReportError(str(error)) from error
    except CpuError as error:
        remedy = remedy if isinstance(error, TemporaryError) else ""
        raise ReportError(str(error).replace("REDIS_URL", name) + remedy, error.exit_code) from error


def url_of_stack(options: argparse.Namespace) -> str:
    """The Redis of the stack that was brought up in the folder."""
    state = Path(options.state or os.environ.get("STACK_DIR") or REPOSITORY / ".stack").resolve()
    if (settings := load(state)) is None:
        raise ReportError(f"there is no stack in {state}: make up starts one, or name a Redis (--redis-url)")
    return url_for_pods(settings, passwords(state))


def data(run: Snapshot) -> str:
    """What there is to draw, as JSON. Times are Redis' own, in seconds since 1970; None: not yet."""
    part1, part2 = run.part1(), run.part2()
    return json.dumps(
        {
            "start": run.start,
            "stored": run.stored,
            "now": run.now,
            "ended": run.ended,
            "part1": part1 and part1.model_dump(),
            "part2": part2 and part2.model_dump(),
            "cpus": [tile.model_dump() for tile in run.tiles],
        },
        ensure_ascii=False,
        indent=1,
    )


def write(run: Snapshot, options: argparse.Namespace) -> list[Path]:
    """Leave the pictures where they are wanted; where that is. Raises ReportError."""
    files = options.output or [options.folder / f"{run.start}.{kind}" for kind in ("svg", "png")]
    for file in files:
        try:
            picture = draw(run, cast("Literal['svg', 'png']", file.suffix[1:]))
        except ImportError as error:
            raise ReportError(NO_MATPLOTLIB) from error
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture)
        except OSError as error:
            raise ReportError(f"cannot write {file}: {error.strerror}") from error
    return list(files)
