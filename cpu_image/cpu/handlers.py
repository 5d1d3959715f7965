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
    from cpu.commands import Commands
    from cpu.items_commands import ItemsCommands
    from cpu.redis_client import Client

DEFAULT_TTL = 7 * 24 * 3600
MAX_TTL = 10**9
MAX_INDEX = 10**6


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
    from cpu.start_run import Settings

    parts = "".join(sorted(set(options.part or "12")))
    settings = Settings(parts, options.keep_going, options.cycles)
    return _on_start(options, lambda commands: commands.store(parsed, settings))


def load(options: Namespace) -> int:
    return _on_start(options, lambda commands: commands.load(options.cpu, once=options.once))


def execute(options: Namespace) -> int:
    cpu, first, cycles = options.cpu, options.cycle, options.cycles
    return _on_start(options, lambda commands: commands.execute(cpu, first, cycles))


def read(options: Namespace) -> int:
    return _on_start(options, lambda commands: commands.read(options.cpu))


def answers(options: Namespace) -> int:
    return _on_start(options, lambda commands: commands.answers())


def cancel(options: Namespace) -> int:
    return _on_start(options, lambda commands: commands.cancel())


def survey(options: Namespace) -> int:
    return _on_start(options, lambda commands: commands.survey(options.cpu))


def plan(options: Namespace) -> int:
    seed, total, per_pod = options.seed, options.total, options.per_pod
    return _on_items(options, lambda commands: commands.plan(seed, total, per_pod))


def work(options: Namespace) -> int:
    pod = options.pod + _number("JOB_COMPLETION_INDEX", 0, range(MAX_INDEX + 1))
    return _on_items(options, lambda commands: commands.work(pod))


def report(options: Namespace) -> int:
    return _on_items(options, lambda commands: commands.report())


def _on_start(options: Namespace, command: "Callable[[Commands], result.Result]") -> int:
    """Run a command on the start run that the arguments name."""
    from cpu.commands import Commands

    return _run_on_redis(lambda client, ttl: command(Commands(client, options.start, ttl)))


def _on_items(options: Namespace, command: "Callable[[ItemsCommands], result.Result]") -> int:
    """Run a command on the items run that the arguments name."""
    from cpu.items_commands import ItemsCommands

    return _run_on_redis(lambda client, ttl: command(ItemsCommands(client, options.items, ttl)))


def _run_on_redis(command: "Callable[[Client, int], result.Result]") -> int:
    """Run a command on the Redis that the environment names; print its result, and leave it in the file.

    The command takes the client, and the TTL in seconds.
    """
    from cpu.redis_client import with_retries

    url = os.environ.get("REDIS_URL", "").strip()  # a Secret made from a file often ends with a newline
    if not url:
        raise PermanentError("REDIS_URL is not set: expected a URL such as redis://host:6379")
    ttl = _number("CPU_TTL", DEFAULT_TTL, range(1, MAX_TTL + 1), "seconds, ")
    answer = describe.with_sentence(with_retries(url, lambda client: command(client, ttl)))
    result.print_sentence(answer["sentence"])
    result.leave(result.to_line(answer), Path(os.environ.get("RESULT_FILE", "/dev/termination-log")))
    return 0


def _number(variable: str, default: int, allowed: range, unit: str = "") -> int:
    """Return the number in an environment variable, the default if it is unset or empty."""
    text = os.environ.get(variable, "") or str(default)
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) in allowed):
        expected = f"{unit}from {allowed[0]} to {allowed[-1]}"
        raise PermanentError(f"{variable} is {text[:64]!a}: expected {expected}")
    return int(text)
