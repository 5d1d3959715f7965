"""What of the stack runs, since when, and where it is reached."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import timedelta

from rich.console import Console
from rich.table import Table

from scripts.local import processes, supervisor
from scripts.local.components import components
from scripts.local.passwords import passwords
from scripts.local.services.airflow import ADMIN
from scripts.local.settings import Settings

NOT_ALL_UP = 3


@dataclass(frozen=True)
class Row:
    """One component as it is shown."""

    component: str
    state: str
    pid: int | None
    seconds_up: int
    address: str


def rows(settings: Settings) -> list[Row]:
    """Every component, in starting order."""
    states = supervisor.states(settings)
    shown = []
    for component in components(settings):
        state = states.get(component.name)
        if state is None:
            shown.append(Row(component.name, "stopped", None, 0, component.address))
        else:
            shown.append(
                Row(
                    component.name,
                    state.state.lower(),
                    state.pid or None,
                    state.seconds_up,
                    component.address,
                )
            )
    return shown


def show(settings: Settings, *, as_json: bool) -> int:
    """Print the table, or the same as JSON; return 0 when all is up and 3 otherwise."""
    shown = rows(settings)
    all_up = all(row.state == "running" for row in shown)
    left = [] if supervisor.states(settings) else sorted(one.pid for one in processes.members(settings))
    if as_json:
        found = {"up": all_up, "url": settings.ui_url, "components": [asdict(row) for row in shown]}
        print(json.dumps({**found, "left_behind": left}))
        return 0 if all_up else NOT_ALL_UP
    console = Console(highlight=False, soft_wrap=True)
    table = Table("component", "state", "pid", "uptime", "address", box=None, pad_edge=False)
    for row in shown:
        colour = {"running": "green", "stopped": "dim"}.get(row.state, "red")
        uptime = str(timedelta(seconds=row.seconds_up)) if row.seconds_up else ""
        table.add_row(row.component, f"[{colour}]{row.state}[/]", str(row.pid or ""), uptime, row.address)
    console.print(table)
    if left:
        console.print(f"left behind by a crash: processes {', '.join(map(str, left))}; down ends them")
    if all_up:
        console.print(
            f"\nAirflow  {settings.ui_url}  user {ADMIN}  password {passwords(settings.state).admin}"
        )
    return 0 if all_up else NOT_ALL_UP
