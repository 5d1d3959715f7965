"""The commands ``up``, ``down``, ``demo``, ``items``, ``status``, ``logs``, ``pods`` and ``clean-up``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from scripts.local import lifecycle, logs, pods, status
from scripts.local.errors import StackError
from scripts.local.options import add_settings, settings_for_up, state_folder
from scripts.local.services.airflow import ADMIN
from scripts.local.settings import load_or_default
from scripts.local.stack import Stack
from scripts.progress import Progress

EXIT_CODES = "exit code: 0 success, 1 failure (standard error says why and what to do), 130 interrupted"
DEMO_EXIT_CODES = (
    "exit code: 0 both parts are answered, 1 no swap ends the program or something failed, 2 the program is "
    "refused, 130 interrupted (the run continues). With --json nothing is printed on standard output unless "
    "the run is answered."
)
ITEMS_EXIT_CODES = (
    "exit code: 0 every item is done and none is lost, doubled or failed, 1 otherwise, 130 interrupted (the "
    "run continues)"
)
STATUS_EXIT_CODES = "exit code: 0 all components run, 3 not all of them run, 1 failure, 130 interrupted"


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code. SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does."""
    options = parser().parse_args(arguments)
    # So a closed terminal or a kill makes ``up`` clean up as Ctrl-C does. A signal that the caller ignores,
    # as nohup does with a closed terminal's, stays ignored.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        return int(options.run(options))
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.component:
            logs.print_tail(load_or_default(state_folder(options)), error.component)
        return 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m scripts.local", description="Run the whole stack on one machine."
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    up = _add_command(commands, "up", "start everything that does not run yet", run_up)
    _add_json(up)
    add_settings(up)

    down = _add_command(commands, "down", "stop everything; the data stays", run_down)
    down.add_argument("--purge", action="store_true", help="remove the data too")

    demo = _add_command(commands, "demo", "bring the stack up and run a program to its answers", run_demo)
    demo.epilog = DEMO_EXIT_CODES
    demo.add_argument(
        "program",
        nargs="?",
        metavar="PROGRAM",
        help="the name of a bundled program (a file in dags/programs), a file of yours, or - for standard "
        "input (default: example)",
    )
    demo.add_argument(
        "--cycles", type=int, default=1, metavar="N", help="cycles per pod (default: %(default)s)"
    )
    _add_json(demo)
    add_settings(demo)

    items = _add_command(
        commands, "items", "bring the stack up and solve many random programs, many to a pod", run_items
    )
    items.epilog = ITEMS_EXIT_CODES
    items.add_argument(
        "total", nargs="?", type=int, default=1000, metavar="N", help="how many (default: %(default)s)"
    )
    items.add_argument(
        "--per-pod", type=int, default=100, metavar="K", help="items per pod (default: %(default)s)"
    )
    items.add_argument(
        "--pods-in-flight", type=int, default=32, metavar="P", help="pods at once (default: %(default)s)"
    )
    _add_json(items)
    add_settings(items)

    _add_command(commands, "clean-up", "remove now what is older than the stack's --keep-days", run_clean_up)

    shown = _add_command(commands, "status", "show which components run, and where", run_status)
    shown.epilog = STATUS_EXIT_CODES
    _add_json(shown)

    tail = _add_command(commands, "logs", "show the last lines of the components' logs", run_logs)
    tail.add_argument("component", nargs="*", help="only these components")
    tail.add_argument("-f", "--follow", action="store_true", help="keep printing new lines")
    tail.add_argument(
        "-n", "--lines", type=int, default=20, metavar="N", help="lines per component (default: %(default)s)"
    )

    watched = _add_command(commands, "pods", "show the pods with kubectl, and every change", run_pods)
    watched.add_argument("--start", metavar="S", help="only this start run's pods (default: all)")
    return top


def _add_command(
    commands: Any, name: str, text: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add a command with the option that every command has."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=EXIT_CODES
    )
    command.set_defaults(run=run)
    command.add_argument(
        "--state",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="the stack's state folder (default: .stack in the checkout; STACK_DIR)",
    )
    return command


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object on standard output, and all else on standard error",
    )


def run_up(options: argparse.Namespace) -> int:
    """Bring the stack up and print where it is reached."""
    stack = Stack.describe(settings_for_up(options))
    was_down = _bring_up(stack)
    if options.json:
        print(json.dumps({**_access(stack), "already_up": not was_down}))
        return 0
    if not was_down:
        print("already up")
    _print_access(stack)
    return 0


def run_demo(options: argparse.Namespace) -> int:
    """Bring the stack up, run a program to its answers and print them; the stack stays up."""
    # Imported here, because no other command needs the CPU's code.
    from scripts.local import demo

    if not 1 <= options.cycles <= demo.MAX_CYCLES:
        raise StackError(f"--cycles is {options.cycles}: choose a number from 1 to {demo.MAX_CYCLES}")
    try:
        program = demo.choose_program(options.program)
    except demo.Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return demo.REFUSED
    stack = Stack.describe(settings_for_up(options))
    _bring_up(stack)
    answers = demo.demo(stack, program, options.cycles)
    if not options.json:
        for line in answers["text"] if answers else ():
            print(line)
        _print_access(stack)
        print(demo.NEXT if answers else "", end="")
    elif answers:
        print(json.dumps({**answers, "airflow": _access(stack)}))
    return 0 if answers and answers["part2"] else demo.NO_ANSWER


def run_items(options: argparse.Namespace) -> int:
    """Bring the stack up, solve the items and print the report; the stack stays up."""
    from scripts.local import items

    conf = {name: getattr(options, name) for name in items.LIMITS}
    for name, (least, most) in items.LIMITS.items():
        if not least <= conf[name] <= most:
            shown = "N" if name == "total" else f"--{name.replace('_', '-')}"
            raise StackError(f"{shown} is {conf[name]}: choose a number from {least} to {most}")
    stack = Stack.describe(settings_for_up(options))
    _bring_up(stack)
    report = items.solve(stack, conf)
    if report and options.json:
        print(json.dumps({**report.fields, "airflow": _access(stack)}))
    elif report:
        for line in report.lines():
            print(line)
    return 0 if report and report.is_complete else 1


def _bring_up(stack: Stack) -> bool:
    """Bring the stack up; return False if it was up already."""
    if lifecycle.is_up(stack):
        return False
    with Progress() as progress:
        lifecycle.up(stack, progress.show)
    return True


def _access(stack: Stack) -> dict[str, str]:
    """Return the UI's address, user and password."""
    return {"url": stack.settings.ui_url, "user": ADMIN, "password": stack.passwords.admin}


def _print_access(stack: Stack) -> None:
    print("Airflow  {url}  user {user}  password {password}".format_map(_access(stack)))


def run_down(options: argparse.Namespace) -> int:
    """Stop the stack."""
    with Progress() as progress:
        lifecycle.down(Stack.in_folder(state_folder(options)), progress.show, purge=options.purge)
    return 0


def run_clean_up(options: argparse.Namespace) -> int:
    """Remove what is old and print how much that was."""
    from scripts.local.clean_up import clean_up

    with Console(stderr=True).status("removing what is old"):
        removed = clean_up(load_or_default(state_folder(options)))
    print(removed)
    return 0


def run_status(options: argparse.Namespace) -> int:
    """Print which components run."""
    return status.show(Stack.in_folder(state_folder(options)), as_json=options.json)


def run_logs(options: argparse.Namespace) -> int:
    """Print the components' logs."""
    settings = load_or_default(state_folder(options))
    return logs.show(settings, options.component, lines=options.lines, follow=options.follow)


def run_pods(options: argparse.Namespace) -> int:
    """Print the pods as they change."""
    return pods.show(load_or_default(state_folder(options)), options.start)
