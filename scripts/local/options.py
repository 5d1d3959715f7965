"""A stack's settings from the command line and the environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from scripts.local import supervisor
from scripts.local.errors import StackError
from scripts.local.settings import REPOSITORY, Settings, load_or_default


class Option(NamedTuple):
    """A setting's option and environment variable."""

    setting: str
    variable: str
    parse: Callable[[str], Any]
    metavar: str
    help: str

    @property
    def flag(self) -> str:
        """The option: ``--redis-port`` for ``redis_port``."""
        return f"--{self.setting.replace('_', '-')}"


OPTIONS = [
    Option("port", "STACK_PORT", int, "PORT", "port of Airflow's UI and REST API"),
    Option("redis_port", "STACK_REDIS_PORT", int, "PORT", "port of Redis"),
    Option("kube_port", "STACK_KUBE_PORT", int, "PORT", "port of the local Kubernetes endpoint"),
    Option("cpus_at_once", "CPUS_AT_ONCE", int, "N", "how many CPUs run at once, 4 to 400"),
    Option(
        "keep_days",
        "STACK_KEEP_DAYS",
        int,
        "DAYS",
        "how long finished DAG runs, their logs and pods are kept; at least a day longer than CPU_TTL",
    ),
    Option("kubeconfig", "STACK_KUBECONFIG", Path, "PATH", "use this cluster instead of the local endpoint"),
    Option("context", "STACK_CONTEXT", str, "NAME", "the context in that kubeconfig"),
    Option(
        "pods_reach_host_at",
        "STACK_PODS_REACH_HOST_AT",
        str,
        "ADDRESS",
        "the address at which that cluster's pods reach this machine; Redis listens there too",
    ),
    Option("redis_url", "STACK_REDIS_URL", str, "URL", "use this Redis instead of the stack's own"),
    Option("image", "STACK_IMAGE", str, "NAME", "the CPU's image"),
    Option("namespace", "STACK_NAMESPACE", str, "NAME", "the namespace of the CPUs' pods"),
    Option("dags", "STACK_DAGS", Path, "FOLDER", "the folder of DAGs"),
    Option(
        "base_url",
        "STACK_BASE_URL",
        str,
        "URL",
        "the address at which people reach Airflow through a reverse proxy; it may have a path",
    ),
]


def add_settings(command: argparse.ArgumentParser) -> None:
    """Add an option for each setting; its help names the default and the environment variable."""
    defaults = {field.name: field.default for field in fields(Settings)}
    for option in OPTIONS:
        default = defaults[option.setting]
        prefix = f"default: {default}; " if default not in (None, "") else ""
        command.add_argument(
            option.flag,
            type=option.parse,
            metavar=option.metavar,
            help=f"{option.help} ({prefix}{option.variable})",
        )


def state_folder(options: argparse.Namespace) -> Path:
    """Return the state folder asked for, absolute and without symbolic links."""
    return Path(options.state or os.environ.get("STACK_DIR") or REPOSITORY / ".stack").resolve()


def settings_for_up(options: argparse.Namespace) -> Settings:
    """Return the settings asked for, or those of the stack in the state folder if it is up.

    Raises StackError if a setting is not valid, or differs from that of the stack that is up.
    """
    state, asked = state_folder(options), _asked_settings(options)
    current = load_or_default(state)
    if not supervisor.states(current):
        settings = Settings(state=state, **asked)
        if not settings.dags.is_dir():
            raise StackError(f"the folder of DAGs {settings.dags} does not exist: name another with --dags")
        return settings
    for name, value in asked.items():
        now = getattr(current, name)
        if now != value:
            raise StackError(f"the stack in {state} is up with {name} {now}, not {value}: run down first")
    return current


def _asked_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings given by option or else by environment variable, without the defaults."""
    asked: dict[str, Any] = {}
    for option in OPTIONS:
        value = getattr(options, option.setting, None)
        if value is None and (text := os.environ.get(option.variable)):
            try:
                value = option.parse(text)
            except ValueError as error:
                raise StackError(f"{option.variable} is {text!r}: set it to a number") from error
        if value is not None:
            asked[option.setting] = value.resolve() if isinstance(value, Path) else value
    return asked
