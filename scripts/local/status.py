"""``status``: which components run, since when, and at which address."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import timedelta

from rich.console import Console
from rich.table import Table

from scripts.local import processes, supervisor
from scripts.local.services.airflow import ADMIN
from scripts.local.stack import Stack

NOT_ALL_UP = 3
"""The exit code when a component does not run."""


@dataclass(frozen=True)
class Row:
    """One component, as ``--json`` prints it."""

    component: str
    state: str
    pid: int | None
    seconds_up: int
    address: str


def rows(stack: Stack) -> list[Row]:
    """Return every component's state, in starting order."""
    states = supervisor.states(stack.settings)
    result = []
    for component in stack.components:
        if state := states.get(component.name):
            values = (state.state.lower(), state.pid or None, state.seconds_up)
        else:
            values = ("stopped", None, 0)
        result.append(Row(component.name, *values, component.address))
    return result


def show(stack: Stack, *, as_json: bool) -> int:
    """Print the components' states as a table or as JSON; return 0 if all run, or else NOT_ALL_UP."""
    settings, shown = stack.settings, rows(stack)
    all_up = all(row.state == "running" for row in shown)
    left = [] if supervisor.states(settings) else sorted(one.pid for one in processes.members(settings))
    if as_json:
        found = {"up": all_up, "url": settings.ui_url, "components": [asdict(row) for row in shown]}
        print(json.dumps({**found, "left_behind": left}))
    else:
        console = Console(highlight=False, soft_wrap=True)
        console.print(_table(shown))
        if left:
            console.print(f"processes left by a crash: {', '.join(map(str, left))}; down ends them")
        if all_up:
            console.print(f"\nAirflow  {settings.ui_url}  user {ADMIN}  password {stack.passwords.admin}")
    return 0 if all_up else NOT_ALL_UP


def _table(shown: list[Row]) -> Table:
    table = Table("component", "state", "pid", "uptime", "address", box=None, pad_edge=False)
    for row in shown:
        colour = {"running": "green", "stopped": "dim"}.get(row.state, "red")
        uptime = str(timedelta(seconds=row.seconds_up)) if row.seconds_up else ""
        table.add_row(row.component, f"[{colour}]{row.state}[/]", str(row.pid or ""), uptime, row.address)
    return table
