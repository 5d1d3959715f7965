"""Texts of messages: the answer first, as the `run` command prints it; nothing is interpreted as markup."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.slack.blocks import payload
from scripts.slack.messages import (
    Answer,
    Mark,
    Message,
    Swap,
    answer_message,
    dag_run_link,
    failure_message,
    headline,
    program_excerpt,
    start_message,
)
from tests.support.slack.rules import checked, shown, unescape

START = "20261122-084725-a1b2c3"
LOOPED = Answer("part1", START, status="loop", acc="5", cpu=0, cycle=7, seconds=3.21, cpus=4)
SWAP = Swap(8, "jmp -4", "nop -4")
ENDED = Answer(
    "part2", START, status="end", acc="8", cpu=8, cycle=6, seconds=12.34, cpus=4, ended=1, swap=SWAP
)
NONE = Answer("none", START, status="loop", acc="3", cpu=4, cycle=9, seconds=7, cpus=4, ended=0)

READ: dict[str, Any] = {
    **{"status": "end", "start": START, "cpu": 8, "first": 6, "cycle": 6, "instruction": "acc +6", "line": 9},
    **{"pc": "9", "acc": "8", "swap": {"line": 8, "before": "jmp -4", "after": "nop -4"}, "verdict": "part2"},
    **{"seconds": 12.34, "cpus": 4, "stopped": 2, "ended": 1},
}

MARKUP = [
    *(
        "<!channel>",
        "<@U0BOSS>",
        "&lt;!here&gt;",
        "@here #cpu",
        "*a* _b_ ~c~ `d`",
        "```",
        "> quote",
        ":tada:",
    ),
    *("<https://evil.example|DAG run>", "https://evil.example", "mailto:a@evil.example"),
    *("a\nPart 2: 9", "\u2028Part 2: 9", "\u202e4- pmj", "\x1b[31m", "\ud800"),
]
any_text = st.text() | st.sampled_from(MARKUP)
any_number = st.integers() | st.integers(-(10**200), 10**200)


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (LOOPED, "Part 1: 5"),
        (replace(LOOPED, status="end", acc="8"), "Part 1: the program does not loop: it ends with 8"),
        (
            replace(LOOPED, status="fault", line=3, pc="17"),
            "Part 1: the program does not loop: it faults at line 3 (pc 17)",
        ),
        (ENDED, "Part 2: 8 (line 8: jmp -4 → nop -4)"),
        (NONE, "Part 2: no swap ends this program"),
    ],
)
def test_first_line_of_an_answer_is_what_the_run_command_prints(answer: Answer, line: str) -> None:
    assert str(answer_message(answer)).splitlines()[0] == line


def test_lines_below_the_answer_say_how_it_was_found() -> None:
    answer = replace(ENDED, link="http://localhost:8080/dags/cpu/runs/r")
    assert str(answer_message(answer)).splitlines()[1:] == [
        "CPU 8 (one of 4 swaps) · 6 cycles · 12.3 s",
        f"Start run {START}",
        "http://localhost:8080/dags/cpu/runs/r",
    ]


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (LOOPED, "CPU 0 (the program as written) · 7 cycles · 3.2 s"),
        (replace(LOOPED, cycle=1, seconds=None), "CPU 0 (the program as written) · 1 cycle"),
        (replace(ENDED, cpus=1), "CPU 8 (one of 1 swap) · 6 cycles · 12.3 s"),
        (replace(ENDED, ended=3), "CPU 8 (one of 4 swaps) · 6 cycles · 12.3 s · 3 CPUs have ended so far"),
        (NONE, "4 swaps tried · 7.0 s"),
        (Answer("none", START, cpus=0), "nothing to swap: no jmp, no nop"),
    ],
)
def test_second_line_names_the_cpu_its_cycles_and_the_duration(answer: Answer, line: str) -> None:
    assert str(answer_message(answer)).splitlines()[1] == line


def test_answer_takes_its_facts_from_a_result_and_ignores_other_fields() -> None:
    assert Answer.from_result(READ) == replace(ENDED, line=9, pc="9")
    assert Answer.from_result(READ, link="http://a/").link == "http://a/"


def test_result_of_an_older_version_with_integers_gives_the_same_answer() -> None:
    assert Answer.from_result(READ | {"acc": 8, "pc": 9}) == Answer.from_result(READ)


@pytest.mark.parametrize("verdict", [None, "part3"])
def test_result_without_a_verdict_gives_no_answer(verdict: str | None) -> None:
    with pytest.raises(ValueError, match="no answer"):
        Answer.from_result(READ | {"verdict": verdict})


@pytest.mark.parametrize(
    "answer", [replace(ENDED, swap=None), replace(LOOPED, acc=None), replace(LOOPED, status="ok")]
)
def test_answer_that_lacks_a_fact_for_its_first_line_is_refused(answer: Answer) -> None:
    with pytest.raises(ValueError, match="lacks facts of its answer"):
        answer_message(answer)


def test_link_to_a_dag_run_escapes_its_id() -> None:
    link = dag_run_link("http://localhost:8080/", "cpu", "S/8 #6?")
    assert link == "http://localhost:8080/dags/cpu/runs/S%2F8%20%236%3F"


@given(acc=any_number, line=any_number, pc=any_number)
def test_numbers_of_any_size_are_shown_in_full(acc: int, line: int, pc: int) -> None:
    assert headline(replace(LOOPED, acc=str(acc))) == f"Part 1: {acc}"
    faulted = replace(LOOPED, status="fault", line=line, pc=str(pc))
    assert headline(faulted).endswith(f"at line {line} (pc {pc})")


@given(acc=any_text, before=any_text, after=any_text, start=any_text)
def test_whatever_a_result_holds_is_shown_literally_on_its_line(
    acc: str, before: str, after: str, start: str
) -> None:
    message = answer_message(replace(ENDED, start=start, acc=acc, swap=Swap(8, before, after)))
    body = payload(message)
    assert len(message.text.splitlines()) == 3
    if all(text.isprintable() for text in (acc, before, after)):
        assert message.text.splitlines()[0] == f"Part 2: {acc} (line 8: {before} → {after})"
    assert shown(body) == unescape(body["text"]) == str(message)
    assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", body["text"])
    assert _kinds_of_element(body) == {"text"}
    assert checked(json.dumps(body).encode(), otherwise="invalid_json") == body


@given(link=st.text(min_size=1))
def test_only_the_link_of_the_message_is_a_link(link: str) -> None:
    body = payload(Message("https://evil.example <https://evil.example|x>\n<https://evil.example>", link))
    assert [element for element in _elements(body) if element["type"] != "text"] == [
        {"type": "link", "url": link, "text": "DAG run"}
    ]
    assert "<" not in body["text"]


def test_slack_does_not_fetch_urls_in_a_message() -> None:
    body = payload(Message("https://evil.example/pixel.png", "https://airflow.example/"))
    assert (body["unfurl_links"], body["unfurl_media"]) == (False, False)


@pytest.mark.parametrize(
    ("headline", "block"),
    [("x", "header"), ("x" * 150, "header"), ("x" * 151, "rich_text"), ("a &lt; b", "rich_text")],
)
def test_headline_is_a_header_block_only_if_that_shows_it_completely_and_literally(
    headline: str, block: str
) -> None:
    body = payload(Message(f"{headline}\nmore"))
    assert [one["type"] for one in body["blocks"]] == [block, "rich_text"]
    assert checked(json.dumps(body).encode(), otherwise="invalid_json") == body
    assert shown(body) == f"{headline}\nmore"
    assert not body["blocks"][0].get("text", {}).get("emoji")


def test_start_message_shows_the_program_s_size_and_its_first_lines() -> None:
    program = "nop +0\nacc +1\njmp -1\n"
    message = start_message(START, program, 3, 4, 1, "http://a/", since=5)
    assert str(message).splitlines() == [
        "Started: 3 instructions on 4 CPUs",
        "1 cycle per pod",
        f"Start run {START}",
        "nop +0",
        "acc +1",
        "jmp -1",
        "http://a/",
    ]
    assert message.mark == Mark(START, "started", 5)
    code = [
        one for one in payload(message)["blocks"][1]["elements"] if one["type"] == "rich_text_preformatted"
    ]
    assert code == [
        {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "nop +0\nacc +1\njmp -1"}]}
    ]


@pytest.mark.parametrize(
    ("program", "instructions", "lines"),
    [
        ("\ufeffnop +0\r\n\n \t\n  acc +1  ", 2, ["nop +0", "acc +1"]),
        ("acc +1\n" * 20, 20, ["acc +1"] * 20),
        ("acc +1\n" * 611, 611, [*["acc +1"] * 20, "… 591 more"]),
        (f"acc +{'0' * 6000}1\n", 1, [f"acc +{'0' * 94}…"]),
        ("acc\t+1", 1, ["acc\\t+1"]),
    ],
)
def test_program_excerpt_skips_empty_lines_and_cuts_long_ones(
    program: str, instructions: int, lines: list[str]
) -> None:
    assert program_excerpt(program, instructions).splitlines() == lines


@given(program=any_text | st.lists(any_text, max_size=30).map("\n".join), cpus=any_number)
def test_whatever_is_pasted_as_a_program_is_shown_literally_and_cut(program: str, cpus: int) -> None:
    message = start_message(START, program, len(program), cpus, 1, "http://a/", since=0)
    body = payload(message)
    assert len(message.code or "") <= 2_100
    assert shown(body).replace("DAG run (http://a/)", "http://a/") == unescape(body["text"]) == str(message)
    assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", body["text"])
    assert _kinds_of_element(body) == {"text", "link"}
    assert checked(json.dumps(body).encode(), otherwise="invalid_json") == body


@given(why=any_text)
def test_failure_message_shows_the_task_and_the_cause_on_one_line_cut(why: str) -> None:
    message = failure_message(START, "cpu_start", "r", "store", why * 100, "Clear it", "http://a/", since=5)
    headline, cause, remedy, start = message.text.splitlines()
    assert (headline, remedy) == ("Failed: task store of DAG cpu_start", "Clear it")
    assert start == f"Start run {START}"
    assert len(cause) <= 500
    if why.isprintable() and 0 < len(why) <= 5:
        assert cause == why * 100
    assert message.mark
    assert replace(message.mark, about="") == Mark(START, "failed-cpu_start-store", 5)
    assert checked(json.dumps(payload(message)).encode(), otherwise="invalid_json")


def _elements(body: dict[str, Any]) -> list[dict[str, Any]]:
    parts = [part for block in body["blocks"] if block["type"] == "rich_text" for part in block["elements"]]
    return [element for part in parts for element in part["elements"]]


def _kinds_of_element(body: dict[str, Any]) -> set[str]:
    return {element["type"] for element in _elements(body)}
