"""What a look of the watchdog tells the next one of its trouble, so that people are told of it once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "began": {"type": "string"},
        "since": {"type": "number"},
        "blind": {"type": "number"},
        "told": {"type": "array", "items": {"type": "string"}},
        "in_this_look": {"type": "boolean"},
    },
    "additionalProperties": False,
}
"""Of an outage in the conf."""


@dataclass(frozen=True)
class Outage:
    """From the first look that fails to the first that does not; empty while all is well.

    `began`: the id of the first failing look's run, by which people are told of this outage once. `since`:
    that look's time, in seconds since 1970. `blind`: the time of the first of the surveys that have failed in
    a row; 0 where the last one did not fail. `told`: which of its troubles people know. `in_this_look`:
    whether an earlier part of the present look has failed.
    """

    began: str = ""
    since: float = 0
    blind: float = 0
    told: tuple[str, ...] = ()
    in_this_look: bool = False

    @classmethod
    def of(cls, conf: Mapping[str, Any]) -> Outage:
        """Read what an earlier look has put into the conf."""
        return cls(**{**conf, "told": tuple(conf.get("told", ()))})

    def conf(self) -> dict[str, Any]:
        """Return what goes into the conf of the next look: nothing while all is well."""
        return {"outage": {**asdict(self), "told": list(self.told)}} if self.began else {}

    def fails(self, run: str, at: datetime, *, surveyed: bool) -> Outage:
        """A look has failed: its survey, or what comes after."""
        now = at.timestamp()
        blind = 0 if surveyed else self.blind or now
        began, since = self.began or run, self.since or now
        return replace(self, began=began, since=since, blind=blind, in_this_look=True)

    def works(self) -> Outage:
        """A part of a look has not failed."""
        return replace(self, blind=0)

    def is_known(self, trouble: str) -> Outage:
        """People have been told of that trouble."""
        return replace(self, told=(*self.told, trouble))

    def next_look(self) -> Outage:
        """Another look begins with the first CPU."""
        return replace(self, in_this_look=False)

    def has_ended(self) -> bool:
        """Whether there was one, and a whole look has worked; to be asked when the look's last part has."""
        return bool(self.began) and not self.in_this_look

    def outlasts(self, seconds: float, at: datetime) -> bool:
        """Whether no survey has succeeded for longer than that."""
        return bool(self.blind) and at.timestamp() - self.blind > seconds
