"""What people read in Slack about a start run, as plain text: its start, its answers, its failures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal
from urllib.parse import quote

from scripts.text import duration, shorten, visible

STARTED = "started"
"""The kind of the message that begins a start run's thread."""
MAX_PROGRAM_LINES = 20
MAX_LINE_LENGTH = 100  # characters
MAX_CAUSE_LENGTH = 500  # characters


@dataclass(frozen=True)
class Swap:
    """One instruction replaced: its 1-based `line` in the program, and its text `before` and `after`."""

    line: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"line {self.line}: {visible(self.before)} → {visible(self.after)}"


@dataclass(frozen=True)
class Answer:
    """An answer of a start run. A fact that is None is unknown, and the message leaves it out.

    `verdict`: `part1` (the program as written has stopped), `part2` (a candidate has ended) or `none` (all
    candidates have stopped, and none has ended).
    `status`, `acc`, `pc`, `line`, `cycle`: how the CPU stopped, and its last cycle. `cpu`: its number.
    `seconds`: from storing the program to the CPU's stop. `cpus`: the number of candidates. `ended`: how many
    of them have ended so far. `link`: the DAG run's URL. `since`: see `Mark`.
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
    def from_result(cls, result: Mapping[str, Any], link: str | None = None, since: float = 0) -> Answer:
        """Return the answer in the result of a `read` pod. Raises ValueError if the result has no verdict."""
        if result.get("verdict") not in ("part1", "part2", "none"):
            raise ValueError(f"no answer: the verdict is {result.get('verdict')!r}, not part1, part2 or none")
        facts = {name: result[name] for name in cls.__dataclass_fields__ if name in result}
        # Results of older versions hold integers.
        facts |= {name: str(facts[name]) for name in ("acc", "pc") if name in facts}
        if swap := facts.get("swap"):
            facts["swap"] = Swap(swap["line"], swap["before"], swap["after"])
        return cls(**facts | {"link": link, "since": since})


@dataclass(frozen=True)
class Mark:
    """The deduplication key of a Slack message: messages are the same if start, kind and about are equal.

    `about` tells messages of one kind apart, for example by the CPU; it is "" if a start run has only one
    message of that kind. `since`: no message with this mark is older, in seconds since 1970.
    """

    start: str
    kind: str
    since: float
    about: str = ""


@dataclass(frozen=True)
class Message:
    """Plain text of one or more lines, without control characters; the first line is the headline.

    `link`: the DAG run's URL. `mark`: post the message only once; None: post it each time. `code`: lines of a
    program, shown as code.
    """

    text: str
    link: str | None = None
    mark: Mark | None = None
    code: str | None = None

    def __str__(self) -> str:
        return "\n".join(filter(None, [self.text, self.code, self.link]))


def dag_run_link(base_url: str, dag_id: str, run_id: str) -> str:
    """Return the URL of a DAG run in Airflow's UI, which is at `base_url` (`[api] base_url`)."""
    return f"{base_url.rstrip('/')}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def start_message(
    start: str, program: str, instructions: int, cpus: int, cycles: int, link: str, since: float
) -> Message:
    """Return the message that a start run has begun: the size of its program, its CPUs, cycles per pod."""
    text = (
        f"Started: {_count(instructions, 'instruction')} on {_count(cpus, 'CPU')}\n"
        f"{_count(cycles, 'cycle')} per pod\n"
        f"Start run {start}"
    )
    return Message(text, link, Mark(start, STARTED, since), program_excerpt(program, instructions))


def program_excerpt(program: str, instructions: int) -> str:
    """Return the first lines of a valid program, and how many of its `instructions` are left out."""
    lines = (line.strip(" \t\r") for line in program.removeprefix("\ufeff").split("\n"))
    shown = [
        shorten(visible(line), MAX_LINE_LENGTH) for line in islice(filter(None, lines), MAX_PROGRAM_LINES)
    ]
    more = instructions - len(shown)
    return "\n".join([*shown, *([f"… {more} more"] if more else [])])


def answer_message(answer: Answer) -> Message:
    """Return the message with an answer: the answer in the first line, how it was found below.

    Raises ValueError if facts that the first line needs are missing.
    """
    start = visible(answer.start)
    text = "\n".join([headline(answer), details(answer), f"Start run {start}"])
    # Each CPU that ends has its own answer. Only CPU 0 answers part 1, and "no swap ends" is about all CPUs.
    about = f"cpu-{answer.cpu}" if answer.verdict == "part2" else ""
    return Message(text, answer.link, Mark(start, answer.verdict, answer.since, about))


def headline(answer: Answer) -> str:
    """Return the answer in one line, as the image's `run` command prints it.

    Raises ValueError if a fact that it needs is missing.
    """
    match answer:
        case Answer(verdict="part1", status="loop", acc=str(acc)):
            return f"Part 1: {visible(acc)}"
        case Answer(verdict="part1", status="end", acc=str(acc)):
            return f"Part 1: the program does not loop: it ends with {visible(acc)}"
        case Answer(verdict="part1", status="fault", line=int(line), pc=str(pc)):
            return f"Part 1: the program does not loop: it faults at line {line} (pc {visible(pc)})"
        case Answer(verdict="part2", acc=str(acc), swap=Swap() as swap):
            return f"Part 2: {visible(acc)} ({swap})"
        case Answer(verdict="none"):
            return "Part 2: no swap ends this program"
    raise ValueError(f"the result lacks facts of its answer: {answer}")


def details(answer: Answer) -> str:
    """Return which CPU found the answer, in how many cycles and how long, as far as that is known."""
    if answer.verdict == "none":
        facts = [f"{_count(answer.cpus, 'swap')} tried" if answer.cpus else "nothing to swap: no jmp, no nop"]
    else:
        of = f"one of {_count(answer.cpus, 'swap')}" if answer.cpu and answer.cpus else ""
        facts = [f"CPU {answer.cpu} ({of or 'the program as written'})", _count(answer.cycle or 0, "cycle")]
    if answer.seconds is not None:
        facts.append(duration(answer.seconds))
    if answer.verdict == "part2" and answer.ended and answer.ended > 1:
        facts.append(f"{_count(answer.ended, 'CPU')} have ended so far")
    return " · ".join(facts)


def failure_message(
    start: str, dag: str, run: str, task: str, cause: str, remedy: str, link: str, since: float
) -> Message:
    """Return the message that a task of a start run has failed for good.

    Each DAG run has its own message, and so has each cause: a task that is cleared may fail differently.
    """
    text = (
        f"Failed: task {task} of DAG {dag}\n"
        f"{shorten(visible(cause), MAX_CAUSE_LENGTH)}\n"
        f"{remedy}\n"
        f"Start run {start}"
    )
    about = f"{run} {hashlib.sha256(cause.encode(errors='replace')).hexdigest()[:8]}"
    return Message(text, link, Mark(start, f"failed-{dag}-{task}", since, about))


def outage_message(
    start: str, task: str, cause: str, outage: str, problem: str, link: str, since: float
) -> Message:
    """Return the message that the watchdog of a start run fails.

    Each `problem` of each `outage` has its own message.
    """
    text = (
        f"Failing: task {task} of DAG cpu_watch\n"
        f"{shorten(visible(cause), MAX_CAUSE_LENGTH)}\n"
        "The watchdog keeps trying, and posts here when it works again\n"
        f"Start run {start}"
    )
    return Message(text, link, Mark(start, f"failed-cpu_watch-{task}", since, f"{outage} {problem}"))


def recovery_message(
    start: str, outage: str, seconds: float, is_gone: bool, link: str, since: float
) -> Message:
    """Return the message that the watchdog of a start run works again, after an outage of so many seconds.

    `is_gone`: the start run is cancelled or expired, so there is nothing left to watch.
    """
    gone = "; the start run is cancelled, or Redis no longer holds it" if is_gone else ""
    text = f"Works again: DAG cpu_watch\nIt failed for {duration(seconds)}{gone}\nStart run {start}"
    return Message(text, link, Mark(start, "works-cpu_watch", since, outage))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
