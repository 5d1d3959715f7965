"""The sentence of a result, and how it is printed."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from cpu.describe import sentence, with_sentence
from cpu.result import print_sentence, to_line
from tests.support.start_run_client import StartRunClient

CYCLE = {
    "status": "ok", "start": "s", "cpu": 8, "first": 3, "cycle": 3, "instruction": "jmp +4", "line": 3,
    "pc": "6", "acc": "1", "swap": {"line": 8, "before": "jmp -4", "after": "nop -4"},
}  # fmt: skip
LOADED = {"status": "ok", "start": "s", "cpu": 8, "cycle": 0, "pc": "0", "acc": "0", "swap": CYCLE["swap"]}
STOPPED = {"status": "stopped", "cycle": 2, "instruction": None, "line": None}
ACCOUNT = {"seconds": 12.3, "cpus": 4, "stopped": 2, "ended": 1}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            {"status": "stored", "start": "s", "instructions": 9, "candidates": "0x12a"},
            "stored 9 instructions for start run s, 4 candidates",
        ),
        (
            {"status": "stored", "start": "s", "instructions": 1, "candidates": "0x0"},
            "stored 1 instruction for start run s, 0 candidates",
        ),
        (LOADED, "CPU 8 loaded: line 8, jmp -4 → nop -4"),
        (LOADED | {"cpu": 0, "swap": None}, "CPU 0 loaded: the program as written"),
        (
            LOADED | {"status": "invalid", "cpu": 2, "swap": None},
            "CPU 2 has nothing to swap: it runs no cycle",
        ),
        (CYCLE, "CPU 8, cycle 3: jmp +4 → acc 1, pc 6"),
        (CYCLE | {"first": 1, "cycle": 100}, "CPU 8, cycles 1 to 100: jmp +4 → acc 1, pc 6"),
        (
            CYCLE | {"status": "loop"},
            "CPU 8, cycle 3: jmp +4 → acc 1, pc 6, which it has executed before: loop",
        ),
        (CYCLE | {"status": "end"}, "CPU 8, cycle 3: jmp +4 → acc 1, pc 6, past the last instruction: end"),
        (
            CYCLE | {"status": "fault", "pc": "-1"},
            "CPU 8, cycle 3: jmp +4 → acc 1, pc -1, outside of the program: fault",
        ),
        (CYCLE | STOPPED, "CPU 8 was stopped after cycle 2: acc 1, pc 6"),
        (
            CYCLE | {"status": "end", "verdict": "part2"} | ACCOUNT,
            "CPU 8, cycle 3: jmp +4 → acc 1, pc 6, past the last instruction: end; this answers part 2; "
            "12.3 s after store: 2 of 4 candidates stopped, 1 ended",
        ),
        (
            CYCLE | STOPPED | {"verdict": "none"},
            "CPU 8 was stopped after cycle 2: acc 1, pc 6; no swap ends this program",
        ),
        (
            {"status": "cancelled", "start": "s"},
            "start run s is cancelled: its CPUs stop at their next cycle",
        ),
        (
            {"status": "running", "start": "s", "due": [[0, 1, 2]], "answers": [], "more": None},
            "start run s is running: 1 CPU with a cycle due, 0 with an answer",
        ),
        (
            {"status": "running", "start": "s", "lost": [8], "due": [], "answers": [[0, 3]], "more": 150},
            "start run s is running: 0 CPUs with a cycle due, 1 with an answer, 1 with lost registers, "
            "not counting CPU 150 and later",
        ),
        (
            {"status": "over", "start": "s", "due": [], "answers": [[0, 3], [8, 1]], "more": None},
            "start run s is over: 0 CPUs with a cycle due, 2 with an answer",
        ),
    ],
)
def test_a_result_is_described_in_one_sentence(result: dict[str, Any], expected: str) -> None:
    assert sentence(result) == expected


def test_every_result_with_its_sentence_fits_a_termination_message(client: redis.Redis) -> None:
    start_run = StartRunClient(client, "x" * 32, ttl=1000)
    program = "acc -9223372036854775808\n" * 9_998 + "jmp +9223372036854775807\n" * 2
    client.config_set("maxmemory-policy", "volatile-random")
    try:
        results = [start_run.store_text("jmp -9223372036854775808\n" * 10_000, cycles=10**6)]
        assert "warning" in results[0]
        client.flushall()
        start_run.store_text(program, keep_going=True)
    finally:
        client.config_set("maxmemory-policy", "noeviction")
    for cpu in (0, 9_999, 10_000):
        results += [start_run.load(cpu), start_run.execute(cpu, 1, 9_997), start_run.execute(cpu, 9_998, 10)]
        results += [start_run.read(cpu), start_run.survey()]
    results.append(start_run.cancel())
    statuses = {"stored", "ok", "fault", "running", "over", "cancelled"}
    assert {result["status"] for result in results} == statuses
    for result in results:
        assert len(to_line(with_sentence(result)).encode()) < 4_096


def test_a_result_has_its_sentence_as_its_first_field() -> None:
    assert list(with_sentence(CYCLE).items()) == [("sentence", sentence(CYCLE)), *CYCLE.items()]


@pytest.mark.parametrize("missing", sorted(CYCLE))
def test_a_result_of_another_version_is_described_without_its_missing_fields(missing: str) -> None:
    assert "\n" not in sentence({name: value for name, value in CYCLE.items() if name != missing})


def test_an_unknown_result_has_an_empty_sentence_which_is_not_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert sentence({}) == sentence({"status": "asleep"}) == ""
    print_sentence(sentence({}))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "a → b\n"), ("ascii", "a -> b\n")])
def test_an_arrow_is_printed_in_ascii_on_a_terminal_that_has_none(
    monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stderr", terminal)
    print_sentence("a → b")
    terminal.seek(0)
    assert terminal.read() == shown


def test_a_sentence_that_cannot_be_printed_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for closed in (None, (tmp_path / "file").open()):
        if closed:
            closed.close()
        monkeypatch.setattr(sys, "stderr", closed)
        print_sentence("a → b")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "result",
    [CYCLE, CYCLE | STOPPED, CYCLE | {"status": "end", "verdict": "part2"} | ACCOUNT],
    ids=["cycle", "stopped", "answer"],
)
def test_result_of_an_older_version_with_integers_has_the_same_sentence(result: dict[str, Any]) -> None:
    integers = {"acc": int(result["acc"]), "pc": int(result["pc"])}
    assert sentence(result | integers) == sentence(result)
