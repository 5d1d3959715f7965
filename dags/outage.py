"""What a run of the watchdog passes on about an outage, so that people get each message only once.

It is in the conf of the next run. A *round* is one or more runs of DAG ``cpu_watch`` that together survey all
CPUs of a start run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

# The keys of the conf stay as they are: a run in progress may come from an earlier version.
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
"""The JSON schema of an outage in the conf."""


@dataclass(frozen=True)
class Outage:
    """An outage lasts from the first run that fails to the first round that works; empty if there is none.

    `began`: the id of the first run that failed, which identifies the outage in messages. `since`: the time
    of that run. `blind_since`: since when every survey has failed; 0 if the latest one worked. `posted`: the
    ids of the problems that were posted to Slack. `in_this_round`: whether an earlier run of this round has
    failed. Times are in seconds since 1970.
    """

    began: str = ""
    since: float = 0
    blind_since: float = 0
    posted: tuple[str, ...] = ()
    in_this_round: bool = False

    @classmethod
    def from_conf(cls, outage: Mapping[str, Any]) -> Outage:
        """Return the outage that an earlier run has put into the conf."""
        return cls(
            began=outage.get("began", ""),
            since=outage.get("since", 0),
            blind_since=outage.get("blind", 0),
            posted=tuple(outage.get("told", ())),
            in_this_round=outage.get("in_this_look", False),
        )

    def to_conf(self) -> dict[str, Any]:
        """Return what to add to the conf of the next run: nothing if there is no outage."""
        if not self.began:
            return {}
        return {
            "outage": {
                "began": self.began,
                "since": self.since,
                "blind": self.blind_since,
                "told": list(self.posted),
                "in_this_look": self.in_this_round,
            }
        }

    def after_failure(self, run: str, at: datetime, *, surveyed: bool) -> Outage:
        """Return the outage after a run failed; `surveyed`: its survey worked, but not what followed."""
        now = at.timestamp()
        return replace(
            self,
            began=self.began or run,
            since=self.since or now,
            blind_since=0 if surveyed else self.blind_since or now,
            in_this_round=True,
        )

    def after_success(self) -> Outage:
        """Return the outage after a run worked."""
        return replace(self, blind_since=0)

    def after_post(self, problem: str) -> Outage:
        """Return the outage after a problem was posted to Slack."""
        return replace(self, posted=(*self.posted, problem))

    def for_next_round(self) -> Outage:
        """Return the outage at the start of the next round."""
        return replace(self, in_this_round=False)

    def is_over(self) -> bool:
        """Return whether there was an outage and this round has worked; ask after the round's last run."""
        return bool(self.began) and not self.in_this_round

    def is_blind_for(self, seconds: float, at: datetime) -> bool:
        """Return whether no survey has worked for longer than that, at that time."""
        return bool(self.blind_since) and at.timestamp() - self.blind_since > seconds
