"""The command line: its commands, their arguments, and the help."""

import argparse
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

from cpu import handlers
from cpu.errors import PermanentError
from cpu.program import MAX_INSTRUCTIONS

DESCRIPTION = "Run programs on CPUs that live in Redis: each command is the work of one pod."
ENVIRONMENT = """\
environment (all commands but run):
  REDIS_URL    redis://, rediss:// or unix:// URL; redis+cluster:// or rediss+cluster:// for Redis
               Cluster; Redis must never evict keys (maxmemory-policy noeviction)
  CPU_TTL      seconds after which an unused start run or CPU expires (default 604800, 7 days)
  RESULT_FILE  file to which the result is written as well (default /dev/termination-log)

output (all commands but run):
  On standard output the result, as one line of JSON; on standard error its sentence.

"""
EXIT_CODES = """\
exit codes:
  0    done (run: part 2 has an answer)
  1    failed, and another try may help (run: no swap ends the program)
  2    failed, and another try cannot help
  130  interrupted
"""
MAX_CYCLES = 10**6
MAX_CYCLE = 10**12


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises its errors instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        raise PermanentError(f"{message} (see {self.prog} --help)")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed arguments; the attribute `handler` is the function in cpu.handlers to call with them.

    Raises PermanentError if the arguments are not valid.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="python -m cpu",
        description=DESCRIPTION,
        epilog=ENVIRONMENT + EXIT_CODES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, handler: Callable[[argparse.Namespace], int], text: str) -> _Parser:
        added = commands.add_parser(
            name, help=text, description=text, epilog=EXIT_CODES, formatter_class=raw, allow_abbrev=False
        )
        added.set_defaults(handler=handler)
        return added

    run = command("run", handlers.run, "Solve both parts in memory, without Redis.")
    run.add_argument("file", metavar="FILE", help="the program; - for standard input")
    run.add_argument("--json", action="store_true", help="print one JSON object in one line")

    store = command("store", handlers.store, "Store a program for the CPUs of a start run, once.")
    _add_start(store)
    store.add_argument("--part", action="append", choices=["1", "2"], help="a part to solve (default: both)")
    store.add_argument(
        "--keep-going", action="store_true", help="let the other CPUs run on after the first answer"
    )
    text = "how many each pod is to execute; survey reports it (default 1)"
    store.add_argument("--cycles", metavar="K", type=_number(1, MAX_CYCLES), default=1, help=text)
    program = store.add_mutually_exclusive_group(required=True)
    program.add_argument("--file", metavar="PATH", help="the program; - for standard input")
    text = "the program, compressed with zlib and encoded as base64, in one or more chunks"
    program.add_argument("--encoded", metavar="CHUNK", nargs="+", help=text)

    load = command("load", handlers.load, "Create a CPU: registers zero, nothing visited.")
    _add_start(load)
    _add_cpu(load)
    load.add_argument("--once", action="store_true", help="keep the CPU as it is if it exists")

    execute = command("exec", handlers.execute, "Execute cycles: once, however often this is repeated.")
    _add_start(execute)
    _add_cpu(execute)
    text = "the first cycle to execute; 1 after load"
    execute.add_argument("--cycle", metavar="N", type=_number(1, MAX_CYCLE), required=True, help=text)
    text = "how many to execute at most (default 1)"
    execute.add_argument("--cycles", metavar="K", type=_number(1, MAX_CYCLES), default=1, help=text)

    read = command("read", handlers.read, "Return a CPU's last result, and the account of its start run.")
    _add_start(read)
    _add_cpu(read)

    cancel = command("cancel", handlers.cancel, "Make all CPUs of a start run stop at their next cycle.")
    _add_start(cancel)

    survey = command("survey", handlers.survey, "Return which cycle of each CPU of a start run is due.")
    _add_start(survey)
    text = "the first CPU to report: a result has room for a hundred or so (default 0)"
    survey.add_argument("--cpu", metavar="N", type=_number(0, MAX_INSTRUCTIONS), default=0, help=text)
    return parser.parse_args(arguments)


def _add_start(parser: argparse.ArgumentParser) -> None:
    text = "the start run: up to 32 of a-z, 0-9 and -"
    parser.add_argument("--start", metavar="S", type=_start, required=True, help=text)


def _add_cpu(parser: argparse.ArgumentParser) -> None:
    text = "0 for the program as written, N for the program with its Nth instruction swapped"
    parser.add_argument("--cpu", metavar="N", type=_number(0, MAX_INSTRUCTIONS), required=True, help=text)


def _start(text: str) -> str:
    if not re.fullmatch(r"(?=.{1,32}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?", text):
        expected = "expected up to 32 of a-z, 0-9 and -, and no - at the ends"
        raise argparse.ArgumentTypeError(f"{text[:64]!a} cannot name a start run: {expected}")
    return text


def _number(least: int, most: int) -> Callable[[str], int]:
    """Return a type for argparse that takes decimal digits and nothing else, unlike int()."""

    def number(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:64]!a} is not an integer from {least} to {most}")
        return int(text)

    return number
