"""What people are told of a start run, as plain text: that it has begun, its answers, what has failed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal
from urllib.parse import quote

from scripts.text import duration, shorten, visible

STARTED = "started"
"""The news that begin a start run's thread."""
SHOWN_LINES, SHOWN_OF_A_LINE = 20, 100
SHOWN_OF_A_CAUSE = 500  # characters


@dataclass(frozen=True)
class Swap:
    """One instruction replaced: its 1-based `line` in the program, its text `before` and `after`."""

    line: int
    before: str
    after: str


@dataclass(frozen=True)
class News:
    """Something worth telling about a start run; what is None is not known or not said.

    `verdict`: `part1` (the program as written has stopped), `part2` (a swapped one has ended) or `none`
    (all have stopped, none has ended). `status`, `acc`, `pc`, `line`: how the CPU stopped; `cpu`: its number;
    `cycle`: its last cycle; `seconds`: from the program's storing to the CPU's stop; `cpus`: how many swaps
    are tried; `ended`: how many of them have ended so far; `link`: the DAG run's address; `since`: a moment
    before anybody was told, in seconds since 1970.
    """

    verdict: Literal["part1", "part2", "none"]
    start: str
    link: str | None = None
    status: str | None = None
    acc: str | None = None
    pc: str | None = None
    line: int | None = None
    swap: Swap | None = None
    cpu: int | None = None
    cycle: int | None = None
    seconds: float | None = None
    cpus: int | None = None
    ended: int | None = None
    since: float = 0

    @classmethod
    def of(cls, result: Mapping[str, Any], link: str | None = None, since: float = 0) -> News:
        """The news in the result of a `read` pod; raises ValueError where the result has no verdict."""
        if result.get("verdict") not in ("part1", "part2", "none"):
            raise ValueError(f"no news: the verdict is {result.get('verdict')!r}, not part1, part2 or none")
        facts = {name: result[name] for name in cls.__dataclass_fields__ if name in result}
        # Results of older versions hold integers.
        facts |= {name: str(facts[name]) for name in ("acc", "pc") if name in facts}
        if swap := facts.get("swap"):
            facts["swap"] = Swap(swap["line"], swap["before"], swap["after"])
        return cls(**facts | {"link": link, "since": since})


def dag_run_link(base_url: str, dag_id: str, run_id: str) -> str:
    """The address of a DAG run in Airflow's UI, whose own address (`[api] base_url`) is `base_url`."""
    return f"{base_url.rstrip('/')}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


@dataclass(frozen=True)
class Mark:
    """The deduplication key of a Slack message: two messages are the same if start, news and about are equal.

    `news`: what kind of message it is. `about`: what tells it from others of that kind, such as the CPU; ""
    where a start run has only one. `since`: no message with this mark is older, in seconds since 1970.
    """

    start: str
    news: str
    since: float
    about: str = ""


@dataclass(frozen=True)
class Message:
    """Plain text of one or more lines, free of control characters: the headline, and what there is to it.

    `link`: goes with it. `mark`: this message shall be there once; None where it may be there as often as it
    is posted. `code`: lines of a program.
    """

    text: str
    link: str | None = None
    mark: Mark | None = None
    code: str | None = None

    def __str__(self) -> str:
        return "\n".join(filter(None, [self.text, self.code, self.link]))


def message(news: News) -> Message:
    """The answer in the first line, in the words of the image's `run` command; how it came about below."""
    start = visible(news.start)
    text = "\n".join([headline(news), details(news), f"Start run {start}"])
    # Each CPU that ends has an answer of its own. Part 1 is CPU 0's; that no swap helps is true of all CPUs.
    about = f"cpu-{news.cpu}" if news.verdict == "part2" else ""
    return Message(text, news.link, Mark(start, news.verdict, news.since, about))


def started(
    start: str, program: str, instructions: int, cpus: int, cycles: int, link: str, since: float
) -> Message:
    """A start run has begun: so many `cpus` on a program of so many `instructions`, `cycles` per pod."""
    text = (
        f"Started: {_count(instructions, 'instruction')} on {_count(cpus, 'CPU')}\n"
        f"{_count(cycles, 'cycle')} per pod\n"
        f"Start run {start}"
    )
    return Message(text, link, Mark(start, STARTED, since), beginning(program, instructions))


def beginning(program: str, instructions: int) -> str:
    """The first lines of a program that is not refused, and how many more there are."""
    lines = (line.strip(" \t\r") for line in program.removeprefix("\ufeff").split("\n"))
    shown = [shorten(visible(line), SHOWN_OF_A_LINE) for line in islice(filter(None, lines), SHOWN_LINES)]
    more = instructions - len(shown)
    return "\n".join([*shown, *([f"… {more} more"] if more else [])])


def failed(start: str, dag: str, run: str, task: str, why: str, link: str, since: float) -> Message:
    """Return the message that a task of a start run has failed for good.

    Another run's failure is another message, and so is another cause after the task was cleared.
    """
    text = f"Failed: task {task} of DAG {dag}\n{shorten(visible(why), SHOWN_OF_A_CAUSE)}\nStart run {start}"
    about = f"{run} {hashlib.sha256(why.encode(errors='replace')).hexdigest()[:8]}"
    return Message(text, link, Mark(start, f"failed-{dag}-{task}", since, about))


def outage_began(
    start: str, task: str, why: str, outage: str, trouble: str, link: str, since: float
) -> Message:
    """Return the message that the watchdog over a start run has begun to fail, and goes on trying.

    `outage` and `trouble` tell the message from those of other outages, and of other troubles in this one.
    """
    text = (
        f"Failing: task {task} of DAG cpu_watch\n"
        f"{shorten(visible(why), SHOWN_OF_A_CAUSE)}\n"
        "It goes on trying, and tells you when it works again\n"
        f"Start run {start}"
    )
    return Message(text, link, Mark(start, f"failed-cpu_watch-{task}", since, f"{outage} {trouble}"))


def outage_ended(start: str, outage: str, seconds: float, is_gone: bool, link: str, since: float) -> Message:
    """Return the message that the watchdog over a start run works again, after so many seconds."""
    gone = "; the start run is cancelled, or nothing is left of it in Redis" if is_gone else ""
    text = f"Works again: DAG cpu_watch\nIt failed for {duration(seconds)}{gone}\nStart run {start}"
    return Message(text, link, Mark(start, "works-cpu_watch", since, outage))


def headline(news: News) -> str:
    """The answer in one line; raises ValueError where the news does not hold one."""
    match news:
        case News(verdict="part1", status="loop", acc=str(acc)):
            return f"Part 1: {visible(acc)}"
        case News(verdict="part1", status="end", acc=str(acc)):
            return f"Part 1: the program does not loop: it ends with {visible(acc)}"
        case News(verdict="part1", status="fault", line=int(line), pc=str(pc)):
            return f"Part 1: the program does not loop: it faults at line {line} (pc {visible(pc)})"
        case News(verdict="part2", acc=str(acc), swap=Swap() as swap):
            swapped = f"line {swap.line}: {visible(swap.before)} → {visible(swap.after)}"
            return f"Part 2: {visible(acc)} ({swapped})"
        case News(verdict="none"):
            return "Part 2: no swap ends this program"
    raise ValueError(f"the news holds no answer: {news}")


def details(news: News) -> str:
    """Which CPU, how many cycles, how long: as much of it as is known."""
    if news.verdict == "none":
        facts = [f"{_count(news.cpus, 'swap')} tried" if news.cpus else "nothing to swap: no jmp, no nop"]
    else:
        of = f" (one of {_count(news.cpus, 'swap')})" if news.cpu and news.cpus else ""
        facts = [f"CPU {news.cpu}{of or ' (the program as written)'}", _count(news.cycle or 0, "cycle")]
    if news.seconds is not None:
        facts.append(duration(news.seconds))
    if news.verdict == "part2" and news.ended and news.ended > 1:
        facts.append(f"{_count(news.ended, 'CPU')} have ended so far")
    return " · ".join(facts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
