"""The commands and their arguments."""

import argparse
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

from cpu import handlers
from cpu.errors import PermanentError
from cpu.program import MAX_INSTRUCTIONS

DESCRIPTION = "One CPU, some cycles at a time: its memory is Redis, its clock is whoever starts it."
ENVIRONMENT = """\
environment (all commands but run):
  REDIS_URL    redis://, rediss:// or unix:// URL; redis+cluster://host:port for Redis Cluster;
               it must never evict (maxmemory-policy noeviction)
  CPU_TTL      seconds after which what is not used any more expires (default 604800, 7 days)
  RESULT_FILE  where the result is left beside standard output (default /dev/termination-log)

output (all commands but run):
  One line of JSON on standard output, the same in RESULT_FILE; on standard error what it says, in words.

"""
EXIT_CODES = """\
exit codes:
  0    an answer about the program (run: part 2 has one)
  1    no answer, but trying again may help (run: no swap ends the program)
  2    no answer, and trying again cannot help
  130  interrupted
"""
CYCLES_MAX = 10**6


class _Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        raise PermanentError(f"{message} (see {self.prog} --help)")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; `answer` among them is the command's handler. Raises PermanentError for bad ones."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="python -m cpu",
        description=DESCRIPTION,
        epilog=ENVIRONMENT + EXIT_CODES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, answer: Callable[[argparse.Namespace], int], text: str) -> _Parser:
        added = commands.add_parser(
            name, help=text, description=text, epilog=EXIT_CODES, formatter_class=raw, allow_abbrev=False
        )
        added.set_defaults(answer=answer)
        return added

    run = command("run", handlers.run, "Solve both parts in memory, without any service.")
    run.add_argument("file", metavar="FILE", help="the program; - for standard input")
    run.add_argument("--json", action="store_true", help="one JSON object in one line")

    store = command("store", handlers.store, "Keep a program for the CPUs of a start run, once.")
    _add_start(store)
    store.add_argument("--part", action="append", choices=["1", "2"], help="to solve; default: both")
    store.add_argument("--keep-going", action="store_true", help="CPUs do not stop at the first answer")
    text = "that each pod is to execute, for survey to tell (default 1)"
    store.add_argument("--cycles", metavar="K", type=_number(1, CYCLES_MAX), default=1, help=text)
    program = store.add_mutually_exclusive_group(required=True)
    program.add_argument("--file", metavar="PATH", help="the program; - for standard input")
    program.add_argument("--encoded", metavar="CHUNK", nargs="+", help="base64 of zlib of it, in pieces")

    load = command("load", handlers.load, "Make a CPU: registers zero, nothing visited.")
    _add_start(load)
    _add_cpu(load)
    load.add_argument("--once", action="store_true", help="leave the CPU as it is where there is one")

    execute = command("exec", handlers.execute, "Execute cycles, once however often they are asked for.")
    _add_start(execute)
    _add_cpu(execute)
    execute.add_argument(
        "--cycle", metavar="N", type=_number(1), required=True, help="the first; 1 after load"
    )
    execute.add_argument(
        "--cycles", metavar="K", type=_number(1, CYCLES_MAX), default=1, help="how many at most (default 1)"
    )

    read = command("read", handlers.read, "Tell the last result, and how far its start run is.")
    _add_start(read)
    _add_cpu(read)

    cancel = command("cancel", handlers.cancel, "Have all CPUs of a start run stop at their next cycle.")
    _add_start(cancel)

    survey = command("survey", handlers.survey, "Tell which cycle is due of each CPU of a start run.")
    _add_start(survey)
    text = "only of this one and those after it: a result has room for some hundred (default 0)"
    survey.add_argument("--cpu", metavar="N", type=_number(0, MAX_INSTRUCTIONS), default=0, help=text)
    return parser.parse_args(arguments)


def _add_start(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--start", metavar="S", type=_start, required=True, help="the start run: up to 32 of a-z, 0-9 and -"
    )


def _add_cpu(parser: argparse.ArgumentParser) -> None:
    text = "0 for the program as written, N for the one with its Nth instruction swapped"
    parser.add_argument("--cpu", metavar="N", type=_number(0, MAX_INSTRUCTIONS), required=True, help=text)


def _start(text: str) -> str:
    if not re.fullmatch(r"(?=.{1,32}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text[:64]!a} is no name of up to 32 of a-z, 0-9 and -")
    return text


def _number(least: int, most: int = 10**12) -> Callable[[str], int]:
    """A type for argparse: decimal digits and nothing else, unlike int()."""

    def number(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:64]!a} is no number from {least} to {most}")
        return int(text)

    return number
