"""The commands ``up``, ``down``, ``demo``, ``status``, ``logs``, ``pods`` and ``clean-up``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from scripts.local import logs, pods, stack, status, supervisor
from scripts.local.errors import StackError
from scripts.local.passwords import passwords
from scripts.local.services.airflow import ADMIN
from scripts.local.settings import REPOSITORY, Settings
from scripts.progress import Progress

# How every command may end; the others are told by those that have them.
EXIT_CODES = "exit code: 0 done, 1 it failed, and standard error says why and what helps, 130 interrupted"
DEMO_EXIT_CODES = (
    "exit code: 0 both parts are answered, 1 no swap ends the program or something broke, 2 the program is "
    "refused, 130 interrupted (the run goes on). With --json nothing is on standard output where it is not "
    "answered."
)
STATUS_EXIT_CODES = "exit code: 0 all of it runs, 3 not all of it does, 1 it failed, 130 interrupted"


class Option(NamedTuple):
    """A setting's option and environment variable."""

    setting: str
    variable: str
    read: Callable[[str], Any]
    metavar: str
    help: str

    @property
    def flag(self) -> str:
        """``--redis-port`` for ``redis_port``."""
        return f"--{self.setting.replace('_', '-')}"


OPTIONS = [
    Option("port", "STACK_PORT", int, "PORT", "Airflow's UI and REST API"),
    Option("redis_port", "STACK_REDIS_PORT", int, "PORT", "Redis"),
    Option("kube_port", "STACK_KUBE_PORT", int, "PORT", "the local Kubernetes endpoint"),
    Option("cpus_at_once", "CPUS_AT_ONCE", int, "N", "how many CPUs run at once, 4 to 400"),
    Option(
        "keep_days",
        "STACK_KEEP_DAYS",
        int,
        "DAYS",
        "finished DAG runs, their logs and pods stay so long; at least a day longer than CPU_TTL",
    ),
    Option("kubeconfig", "STACK_KUBECONFIG", Path, "PATH", "use this cluster, not the local endpoint"),
    Option("context", "STACK_CONTEXT", str, "NAME", "the context in that kubeconfig"),
    Option(
        "pods_reach_host_at",
        "STACK_PODS_REACH_HOST_AT",
        str,
        "ADDRESS",
        "this machine as that cluster's pods see it: Redis listens there too",
    ),
    Option("redis_url", "STACK_REDIS_URL", str, "URL", "use this Redis, not one of the stack's own"),
    Option("image", "STACK_IMAGE", str, "NAME", "the CPU's image"),
    Option("namespace", "STACK_NAMESPACE", str, "NAME", "where its pods run"),
    Option("dags", "STACK_DAGS", Path, "FOLDER", "the DAGs"),
    Option(
        "base_url",
        "STACK_BASE_URL",
        str,
        "URL",
        "where people reach Airflow, if that is through a reverse proxy; it may have a path",
    ),
]


def main(arguments: Sequence[str]) -> int:
    """Run a command; return its exit code. Raises KeyboardInterrupt, as for Ctrl-C, when it shall end."""
    options = parser().parse_args(arguments)
    # A closed terminal and a polite kill stop an ``up`` as Ctrl-C does: by unwinding it. A signal that the
    # caller ignores, as nohup does a closed terminal's, stays ignored.
    for what in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(what) is not signal.SIG_IGN:
            signal.signal(what, signal.default_int_handler)
    try:
        return int(options.run(options))
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.component:
            logs.print_tail(stack.remembered(state_folder(options)), error.component)
        return 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m scripts.local", description=__doc__)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    up = add_command(commands, "up", "start everything; what runs already stays as it is", run_up)
    add_json(up)
    add_settings(up)

    down = add_command(commands, "down", "stop everything; the data stays", run_down)
    down.add_argument("--purge", action="store_true", help="remove the data too")

    job = add_command(commands, "demo", "bring the stack up and run a program to its answers", run_demo)
    job.epilog = DEMO_EXIT_CODES
    job.add_argument(
        "program",
        nargs="?",
        metavar="PROGRAM",
        help="a file, - for standard input (default: the article's example)",
    )
    job.add_argument("--cycles", type=int, default=1, metavar="N", help="per pod (default: %(default)s)")
    add_json(job)
    add_settings(job)

    add_command(commands, "clean-up", "remove now what is older than --keep-days", run_clean_up)

    shown = add_command(commands, "status", "what runs, and where", run_status)
    shown.epilog = STATUS_EXIT_CODES
    add_json(shown)

    tail = add_command(commands, "logs", "the end of the components' logs", run_logs)
    tail.add_argument("component", nargs="*", help="these only")
    tail.add_argument("-f", "--follow", action="store_true", help="go on as they grow")
    tail.add_argument(
        "-n", "--lines", type=int, default=20, metavar="N", help="of each (default: %(default)s)"
    )

    watched = add_command(commands, "pods", "the pods as kubectl tells of them, as they change", run_pods)
    watched.add_argument("--start", metavar="S", help="of this start run only (default: of all)")
    return top


def add_command(
    commands: Any, name: str, text: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """A command with the option every command has."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=EXIT_CODES
    )
    command.set_defaults(run=run)
    command.add_argument(
        "--state",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="where the stack keeps its things (default: .stack in the checkout; STACK_DIR)",
    )
    return command


def add_json(command: argparse.ArgumentParser) -> None:
    """The option of the commands that tell something."""
    command.add_argument(
        "--json", action="store_true", help="one JSON object on standard output, the rest on standard error"
    )


def add_settings(command: argparse.ArgumentParser) -> None:
    """The options that make a stack's settings, with their environment variables."""
    defaults = {field.name: field.default for field in fields(Settings)}
    for option in OPTIONS:
        default = defaults[option.setting]
        told = f"default: {default}; " if default not in (None, "") else ""
        command.add_argument(
            option.flag,
            type=option.read,
            metavar=option.metavar,
            help=f"{option.help} ({told}{option.variable})",
        )


def state_folder(options: argparse.Namespace) -> Path:
    """The state folder asked for, absolute and without symbolic links."""
    return Path(options.state or os.environ.get("STACK_DIR") or REPOSITORY / ".stack").resolve()


def given(options: argparse.Namespace) -> dict[str, Any]:
    """The settings asked for by option or environment, without the defaults."""
    found: dict[str, Any] = {}
    for option in OPTIONS:
        value = getattr(options, option.setting, None)
        if value is None and (text := os.environ.get(option.variable)):
            try:
                value = option.read(text)
            except ValueError as error:
                raise StackError(f"{option.variable} is {text!r}: set it to a number") from error
        if value is not None:
            found[option.setting] = value.resolve() if isinstance(value, Path) else value
    return found


def settings_for_up(options: argparse.Namespace) -> Settings:
    """What is asked for; where a stack is up already, its settings, which must not be other ones."""
    state, asked = state_folder(options), given(options)
    current = stack.remembered(state)
    if not supervisor.states(current):
        settings = Settings(state=state, **asked)
        if not settings.dags.is_dir():
            raise StackError(f"the folder of DAGs {settings.dags} is not there: name another with --dags")
        return settings
    for name, value in asked.items():
        if getattr(current, name) != value:
            now = getattr(current, name)
            raise StackError(f"the stack in {state} is up with {name} {now}, not {value}: run down first")
    return current


def run_up(options: argparse.Namespace) -> int:
    """Bring the stack up and say where it is."""
    settings = settings_for_up(options)
    brought = bring_up(settings)
    if options.json:
        print(json.dumps({**where(settings), "already_up": not brought}))
        return 0
    if not brought:
        print("already up")
    say_where(settings)
    return 0


def bring_up(settings: Settings) -> bool:
    """Bring the stack up; whether that was needed."""
    if stack.is_up(settings):
        return False
    with Progress() as progress:
        stack.up(settings, progress.say)
    return True


def where(settings: Settings) -> dict[str, str]:
    """Where the UI is, and how to get in."""
    return {"url": settings.ui_url, "user": ADMIN, "password": passwords(settings.state).admin}


def say_where(settings: Settings) -> None:
    """The same for people."""
    print("Airflow  {url}  user {user}  password {password}".format_map(where(settings)))


def run_demo(options: argparse.Namespace) -> int:
    """Run a program to its answers, on a stack that is brought up for it and stays up."""
    # Imported here: the other commands need nothing of the CPU.
    from scripts.local import demo

    if not 1 <= options.cycles <= demo.MAX_CYCLES:
        raise StackError(f"--cycles is {options.cycles}: choose a number from 1 to {demo.MAX_CYCLES}")
    try:
        program = demo.read_program(options.program)
    except demo.Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return demo.REFUSED
    settings = settings_for_up(options)
    bring_up(settings)
    found = demo.demo(settings, program, options.cycles)
    if not options.json:
        for line in found["text"] if found else ():
            print(line)
        say_where(settings)
    elif found:
        print(json.dumps({**found, "airflow": where(settings)}))
    return 0 if found and found["part2"] else demo.NO_ANSWER


def run_down(options: argparse.Namespace) -> int:
    """Take the stack down."""
    with Progress() as progress:
        stack.down(stack.remembered(state_folder(options)), progress.say, purge=options.purge)
    return 0


def run_clean_up(options: argparse.Namespace) -> int:
    """Remove what is old and say what that was."""
    # Imported here: it takes the Kubernetes client.
    from scripts.local.clean_up import clean_up

    with Console(stderr=True).status("removing what is old"):
        removed = clean_up(stack.remembered(state_folder(options)))
    print(removed)
    return 0


def run_status(options: argparse.Namespace) -> int:
    """Show what runs."""
    return status.show(stack.remembered(state_folder(options)), as_json=options.json)


def run_logs(options: argparse.Namespace) -> int:
    """Show the logs."""
    settings = stack.remembered(state_folder(options))
    return logs.show(settings, options.component, lines=options.lines, follow=options.follow)


def run_pods(options: argparse.Namespace) -> int:
    """Show the pods as they change."""
    return pods.show(stack.remembered(state_folder(options)), options.start)
