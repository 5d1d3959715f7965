"""The description of a stack: its settings, and the processes that it consists of."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from scripts.local.errors import StackError
from scripts.local.passwords import Passwords, passwords
from scripts.local.services import airflow, endpoint, postgres, redis
from scripts.local.services.component import Component
from scripts.local.settings import REPOSITORY, Settings, load_or_default


@dataclass(frozen=True)
class Stack:
    """A stack as plain data. A command describes its stack once and passes it on."""

    settings: Settings
    foundations: tuple[Component, ...]
    """What Airflow needs: PostgreSQL, and unless the settings name others, Redis and Kubernetes."""
    airflow: tuple[Component, ...]
    """Airflow's processes."""
    housekeeping: Component
    one_shots: tuple[Component, ...]
    """The programs that are run to their end during startup."""

    @classmethod
    def describe(cls, settings: Settings) -> Stack:
        """Return the description of the stack with these settings.

        Raises StackError if a package is missing, or if the folder of its sockets is not safe to use.
        """
        return cls(
            settings,
            foundations=(
                postgres.server(settings),
                *([] if settings.redis_url else [redis.server(settings)]),
                *([] if settings.kubeconfig else [endpoint.server(settings)]),
            ),
            airflow=tuple(airflow.components(settings)),
            housekeeping=Component(
                "housekeeping",
                [sys.executable, "-m", "scripts.local.housekeeping", str(settings.state)],
                folder=REPOSITORY,
            ),
            one_shots=(postgres.initdb(settings), airflow.migration(settings), airflow.discovery(settings)),
        )

    @classmethod
    def in_folder(cls, state: Path) -> Stack:
        """Return the description of the stack in a state folder; with default settings if there is none."""
        return cls.describe(load_or_default(state))

    @cached_property
    def passwords(self) -> Passwords:
        """The stack's secrets, which are created at the first access in the life of the stack."""
        return passwords(self.settings.state)

    @property
    def components(self) -> list[Component]:
        """The long-running processes, in starting order."""
        return [*self.foundations, *self.airflow, self.housekeeping]

    @property
    def stopping_stages(self) -> list[list[Component]]:
        """The components in stopping order: Airflow's all at once, then the foundations one by one."""
        return [
            [*self.airflow, self.housekeeping],
            *([component] for component in reversed(self.foundations)),
        ]

    def has(self, name: str) -> bool:
        """Return whether the stack has a component of this name."""
        return any(component.name == name for component in self.components)

    def component(self, name: str) -> Component:
        """Return the component or one-shot of this name; raise StackError if there is none."""
        for component in (*self.components, *self.one_shots):
            if component.name == name:
                return component
        raise StackError(f"the stack in {self.settings.state} has no component {name!r}")
