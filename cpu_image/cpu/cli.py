"""The command line: its commands, their arguments, and the help."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from cpu import handlers
from cpu.errors import PermanentError
from cpu.program import MAX_INSTRUCTIONS

DESCRIPTION = """\
Run programs on CPUs that live in Redis: each command is the work of one pod.

plan, work and report are for items runs: each item is a random program, and a pod solves many of them.
"""
ENVIRONMENT = """\
environment (all commands but run):
  REDIS_URL    redis://, rediss:// or unix:// URL; redis+cluster:// or rediss+cluster:// for Redis
               Cluster; Redis must never evict keys (maxmemory-policy noeviction)
  CPU_TTL      seconds after which an unused start run, CPU or items run expires (default 604800, 7 days)
  RESULT_FILE  file to which the result is written as well (default /dev/termination-log)
  JOB_COMPLETION_INDEX  work: added to --pod, as Kubernetes sets it in an Indexed Job (default 0)

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
MAX_ITEMS = 10**6
MAX_PER_POD = 10**4
MAX_SEED = 10**9


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises its errors instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        raise PermanentError(f"{message} (see {self.prog} --help)")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed arguments; the attribute `handler` is the function in cpu.handlers to call with them.

    Raises PermanentError if the arguments are not valid.
    """
    words = sys.argv[1:] if arguments is None else arguments
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="python -m cpu",
        description=DESCRIPTION,
        epilog=ENVIRONMENT + EXIT_CODES,
        formatter_class=raw,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # A parser for each command takes longer than all else here, and a pod needs one only.
    named = [command for command in _COMMANDS if words and command[0] == words[0]]
    for name, handler, text, add_arguments in named or _COMMANDS:
        command = commands.add_parser(
            name, help=text, description=text, epilog=EXIT_CODES, formatter_class=raw, allow_abbrev=False
        )
        add_arguments(command)
        command.set_defaults(handler=handler)
    return parser.parse_args(words)


def _add_run(parser: _Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="the program; - for standard input")
    parser.add_argument("--json", action="store_true", help="print one JSON object in one line")


def _add_store(parser: _Parser) -> None:
    _add_start(parser)
    parser.add_argument("--part", action="append", choices=["1", "2"], help="a part to solve (default: both)")
    parser.add_argument(
        "--keep-going", action="store_true", help="let the other CPUs run on after the first answer"
    )
    text = "how many each pod is to execute; survey reports it (default 1)"
    parser.add_argument("--cycles", metavar="K", type=_number(1, MAX_CYCLES), default=1, help=text)
    program = parser.add_mutually_exclusive_group(required=True)
    program.add_argument("--file", metavar="PATH", help="the program; - for standard input")
    text = "the program, compressed with zlib and encoded as base64, in one or more chunks"
    program.add_argument("--encoded", metavar="CHUNK", nargs="+", help=text)


def _add_load(parser: _Parser) -> None:
    _add_cpu_of_start(parser)
    parser.add_argument("--once", action="store_true", help="keep the CPU as it is if it exists")


def _add_execute(parser: _Parser) -> None:
    _add_cpu_of_start(parser)
    text = "the first cycle to execute; 1 after load"
    parser.add_argument("--cycle", metavar="N", type=_number(1, MAX_CYCLE), required=True, help=text)
    text = "how many to execute at most (default 1)"
    parser.add_argument("--cycles", metavar="K", type=_number(1, MAX_CYCLES), default=1, help=text)


def _add_survey(parser: _Parser) -> None:
    _add_start(parser)
    text = "the first CPU to report: a result has room for a hundred or so (default 0)"
    parser.add_argument("--cpu", metavar="N", type=_number(0, MAX_INSTRUCTIONS), default=0, help=text)


def _add_plan(parser: _Parser) -> None:
    _add_items(parser)
    text = "how many items there are"
    parser.add_argument("--total", metavar="N", type=_number(1, MAX_ITEMS), required=True, help=text)
    text = "how many of them each pod solves (default 100)"
    parser.add_argument("--per-pod", metavar="K", type=_number(1, MAX_PER_POD), default=100, help=text)
    text = "what the items are made from, beside their numbers (default 1)"
    parser.add_argument("--seed", metavar="N", type=_number(0, MAX_SEED), default=1, help=text)


def _add_work(parser: _Parser) -> None:
    _add_items(parser)
    text = "the pod's number, from 0, to which JOB_COMPLETION_INDEX is added (default 0)"
    parser.add_argument("--pod", metavar="N", type=_number(0, MAX_ITEMS), default=0, help=text)


def _add_start(parser: _Parser) -> None:
    text = "the start run: up to 32 of a-z, 0-9 and -"
    parser.add_argument("--start", metavar="S", type=_name("a start run"), required=True, help=text)


def _add_cpu_of_start(parser: _Parser) -> None:
    _add_start(parser)
    text = "0 for the program as written, N for the program with its Nth instruction swapped"
    parser.add_argument("--cpu", metavar="N", type=_number(0, MAX_INSTRUCTIONS), required=True, help=text)


def _add_items(parser: _Parser) -> None:
    text = "the items run: up to 32 of a-z, 0-9 and -"
    parser.add_argument("--items", metavar="R", type=_name("an items run"), required=True, help=text)


def _name(what: str) -> Callable[[str], str]:
    """Return a type for argparse that takes the names of start runs and of items runs."""

    def name(text: str) -> str:
        if not re.fullmatch(r"(?=.{1,32}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?", text):
            expected = "expected up to 32 of a-z, 0-9 and -, and no - at the ends"
            raise argparse.ArgumentTypeError(f"{text[:64]!a} cannot name {what}: {expected}")
        return text

    return name


def _number(least: int, most: int) -> Callable[[str], int]:
    """Return a type for argparse that takes decimal digits and nothing else, unlike int()."""

    def number(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:64]!a} is not an integer from {least} to {most}")
        return int(text)

    return number


_COMMANDS: list[tuple[str, Callable[[argparse.Namespace], int], str, Callable[[_Parser], None]]] = [
    ("run", handlers.run, "Solve both parts in memory, without Redis.", _add_run),
    ("store", handlers.store, "Store a program for the CPUs of a start run, once.", _add_store),
    ("load", handlers.load, "Create a CPU: registers zero, nothing visited.", _add_load),
    ("exec", handlers.execute, "Execute cycles: once, however often this is repeated.", _add_execute),
    (
        "read",
        handlers.read,
        "Return a CPU's last result, and the account of its start run.",
        _add_cpu_of_start,
    ),
    (
        "answers",
        handlers.answers,
        "Return the answers of a start run, and whether it comes to those that are missing.",
        _add_start,
    ),
    ("cancel", handlers.cancel, "Make all CPUs of a start run stop at their next cycle.", _add_start),
    ("survey", handlers.survey, "Return which cycle of each CPU of a start run is due.", _add_survey),
    ("plan", handlers.plan, "Plan an items run: how many items, and how many each pod solves.", _add_plan),
    ("work", handlers.work, "Solve a pod's share of the items: each counts once.", _add_work),
    ("report", handlers.report, "Return the tally of an items run, checked against its bits.", _add_items),
]
"""Each command's name, handler, description, and what adds its arguments."""
