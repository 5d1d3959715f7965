"""The handler of each command: from its arguments to its output and exit code.

Modules that import redis are imported only in the functions that need them, because that takes most of a
pod's start.
"""

import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cpu import describe, program, reference, result, source
from cpu.errors import PermanentError

if TYPE_CHECKING:
    from cpu.redis_client import Client

DEFAULT_TTL = 7 * 24 * 3600
MAX_TTL = 10**9


def run(options: Namespace) -> int:
    """Print both answers, computed in this process. Returns 1 if no swap ends the program."""
    parsed = program.parse(source.read_file(options.file))
    if options.json:
        answers = reference.answers(parsed)
        result.print_line(result.to_line(answers))
        return 0 if answers["part2"] else 1
    result.print_line(f"Part 1: {reference.part1(parsed)}")
    answer = reference.part2(parsed)
    result.print_line(f"Part 2: {answer or 'no swap ends this program'}")
    return 0 if answer else 1


def store(options: Namespace) -> int:
    text = source.decode(options.encoded) if options.encoded else source.read_file(options.file)
    parsed = program.parse(text)
    from cpu import commands, start_run

    parts = "".join(sorted(set(options.part or "12")))
    settings = start_run.Settings(parts, options.keep_going, options.cycles)
    return _run_on_redis(lambda client, ttl: commands.store(client, options.start, parsed, settings, ttl))


def load(options: Namespace) -> int:
    from cpu import commands

    start, cpu, once = options.start, options.cpu, options.once
    return _run_on_redis(lambda client, ttl: commands.load(client, start, cpu, once=once, ttl=ttl))


def execute(options: Namespace) -> int:
    from cpu import commands

    start, cpu, first, cycles = options.start, options.cpu, options.cycle, options.cycles
    return _run_on_redis(lambda client, ttl: commands.execute(client, start, cpu, first, cycles, ttl))


def read(options: Namespace) -> int:
    from cpu import commands

    return _run_on_redis(lambda client, ttl: commands.read(client, options.start, options.cpu, ttl))


def cancel(options: Namespace) -> int:
    from cpu import commands

    return _run_on_redis(lambda client, ttl: commands.cancel(client, options.start, ttl))


def survey(options: Namespace) -> int:
    from cpu import commands

    return _run_on_redis(lambda client, ttl: commands.survey(client, options.start, options.cpu, ttl))


def _run_on_redis(command: "Callable[[Client, int], result.Result]") -> int:
    """Run a command on the Redis that the environment names; print its result, and leave it in the file."""
    from cpu import redis_client

    url = os.environ.get("REDIS_URL", "").strip()  # a Secret made from a file often ends with a newline
    if not url:
        raise PermanentError("REDIS_URL is not set: expected a URL such as redis://host:6379")
    ttl = _ttl()
    answer = describe.with_sentence(redis_client.with_retries(url, lambda client: command(client, ttl)))
    result.print_sentence(answer["sentence"])
    result.leave(result.to_line(answer), Path(os.environ.get("RESULT_FILE", "/dev/termination-log")))
    return 0


def _ttl() -> int:
    text = os.environ.get("CPU_TTL", "") or str(DEFAULT_TTL)
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and 1 <= int(text) <= MAX_TTL):
        raise PermanentError(f"CPU_TTL is {text[:64]!a}: expected seconds, from 1 to {MAX_TTL}")
    return int(text)
