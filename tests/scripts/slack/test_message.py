"""What is told: the answer first, in the words of the `run` command, and nothing of it taken for markup."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.slack.blocks import payload
from scripts.slack.messages import (
    Mark,
    Message,
    News,
    Swap,
    beginning,
    dag_run_link,
    failed,
    headline,
    message,
    started,
)
from scripts.text import duration
from tests.support.slack.rules import checked, shown, unescape

START = "20261122-084725-a1b2c3"
LOOPED = News("part1", START, status="loop", acc="5", cpu=0, cycle=7, seconds=3.21, cpus=4)
SWAP = Swap(8, "jmp -4", "nop -4")
ENDED = News("part2", START, status="end", acc="8", cpu=8, cycle=6, seconds=12.34, cpus=4, ended=1, swap=SWAP)
NONE = News("none", START, status="loop", acc="3", cpu=4, cycle=9, seconds=7, cpus=4, ended=0)

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
    ("news", "line"),
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
def test_the_first_line_is_the_answer(news: News, line: str) -> None:
    assert str(message(news)).splitlines()[0] == line


def test_the_lines_below_say_how_it_came_about() -> None:
    news = replace(ENDED, link="http://localhost:8080/dags/cpu/runs/r")
    assert str(message(news)).splitlines()[1:] == [
        "CPU 8 (one of 4 swaps) · 6 cycles · 12.3 s",
        f"Start run {START}",
        "http://localhost:8080/dags/cpu/runs/r",
    ]


@pytest.mark.parametrize(
    ("news", "line"),
    [
        (LOOPED, "CPU 0 (the program as written) · 7 cycles · 3.2 s"),
        (replace(LOOPED, cycle=1, seconds=None), "CPU 0 (the program as written) · 1 cycle"),
        (replace(ENDED, cpus=1), "CPU 8 (one of 1 swap) · 6 cycles · 12.3 s"),
        (replace(ENDED, ended=3), "CPU 8 (one of 4 swaps) · 6 cycles · 12.3 s · 3 CPUs have ended so far"),
        (NONE, "4 swaps tried · 7.0 s"),
        (News("none", START, cpus=0), "nothing to swap: no jmp, no nop"),
    ],
)
def test_the_second_line_says_which_cpu_how_many_cycles_and_how_long(news: News, line: str) -> None:
    assert str(message(news)).splitlines()[1] == line


def test_a_result_becomes_news_and_what_is_not_news_in_it_is_left_out() -> None:
    assert News.of(READ) == replace(ENDED, line=9, pc="9")
    assert News.of(READ, link="http://a/").link == "http://a/"


def test_a_result_of_an_older_version_with_integers_becomes_the_same_news() -> None:
    assert News.of(READ | {"acc": 8, "pc": 9}) == News.of(READ)


@pytest.mark.parametrize("verdict", [None, "part3"])
def test_a_result_without_a_verdict_is_no_news(verdict: str | None) -> None:
    with pytest.raises(ValueError, match="no news"):
        News.of(READ | {"verdict": verdict})


@pytest.mark.parametrize(
    "news", [replace(ENDED, swap=None), replace(LOOPED, acc=None), replace(LOOPED, status="ok")]
)
def test_news_without_its_answer_is_refused_rather_than_told_wrongly(news: News) -> None:
    with pytest.raises(ValueError, match="holds no answer"):
        message(news)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"), (125.4, "2 min 5 s"), (10805, "3 h 0 min 5 s")],
)
def test_a_duration_is_told_in_the_units_it_fills(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_link_leads_to_the_run_whatever_its_id_holds() -> None:
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
    told = message(replace(ENDED, start=start, acc=acc, swap=Swap(8, before, after)))
    body = payload(told)
    assert len(told.text.splitlines()) == 3
    if all(text.isprintable() for text in (acc, before, after)):
        assert told.text.splitlines()[0] == f"Part 2: {acc} (line 8: {before} → {after})"
    assert shown(body) == unescape(body["text"]) == str(told)
    assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", body["text"])
    assert _kinds_of_element(body) == {"text"}
    assert checked(json.dumps(body).encode(), otherwise="invalid_json") == body


@given(link=st.text(min_size=1))
def test_only_the_link_is_a_link(link: str) -> None:
    body = payload(Message("https://evil.example <https://evil.example|x>\n<https://evil.example>", link))
    assert [element for element in _elements(body) if element["type"] != "text"] == [
        {"type": "link", "url": link, "text": "DAG run"}
    ]
    assert "<" not in body["text"]


def test_slack_fetches_nothing_that_a_message_names() -> None:
    body = payload(Message("https://evil.example/pixel.png", "https://airflow.example/"))
    assert (body["unfurl_links"], body["unfurl_media"]) == (False, False)


@pytest.mark.parametrize(
    ("headline", "block"),
    [("x", "header"), ("x" * 150, "header"), ("x" * 151, "rich_text"), ("a &lt; b", "rich_text")],
)
def test_the_headline_is_a_header_where_a_header_shows_it_whole_and_literally(
    headline: str, block: str
) -> None:
    body = payload(Message(f"{headline}\nmore"))
    assert [one["type"] for one in body["blocks"]] == [block, "rich_text"]
    assert checked(json.dumps(body).encode(), otherwise="invalid_json") == body
    assert shown(body) == f"{headline}\nmore"
    assert not body["blocks"][0].get("text", {}).get("emoji")


def test_a_start_is_told_with_the_program_s_size_and_first_lines() -> None:
    program = "nop +0\nacc +1\njmp -1\n"
    told = started(START, program, 3, 4, 1, "http://a/", since=5)
    assert str(told).splitlines() == [
        "Started: 3 instructions on 4 CPUs",
        "1 cycle per pod",
        f"Start run {START}",
        "nop +0",
        "acc +1",
        "jmp -1",
        "http://a/",
    ]
    assert told.mark == Mark(START, "started", 5)
    code = [one for one in payload(told)["blocks"][1]["elements"] if one["type"] == "rich_text_preformatted"]
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
def test_the_first_lines_of_a_program_are_those_with_instructions_and_not_too_long(
    program: str, instructions: int, lines: list[str]
) -> None:
    assert beginning(program, instructions).splitlines() == lines


@given(program=any_text | st.lists(any_text, max_size=30).map("\n".join), cpus=any_number)
def test_whatever_is_pasted_as_a_program_is_shown_literally_and_not_at_length(
    program: str, cpus: int
) -> None:
    told = started(START, program, len(program), cpus, 1, "http://a/", since=0)
    body = payload(told)
    assert len(told.code or "") <= 2_100
    assert shown(body).replace("DAG run (http://a/)", "http://a/") == unescape(body["text"]) == str(told)
    assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", body["text"])
    assert _kinds_of_element(body) == {"text", "link"}
    assert checked(json.dumps(body).encode(), otherwise="invalid_json") == body


@given(why=any_text)
def test_a_failure_is_told_with_its_task_and_its_cause_on_one_line_and_cut(why: str) -> None:
    told = failed(START, "cpu_start", "r", "store", why * 100, "http://a/", since=5)
    headline, cause, start = told.text.splitlines()
    assert (headline, start) == ("Failed: task store of DAG cpu_start", f"Start run {START}")
    assert len(cause) <= 500
    if why.isprintable() and 0 < len(why) <= 5:
        assert cause == why * 100
    assert told.mark
    assert replace(told.mark, about="") == Mark(START, "failed-cpu_start-store", 5)
    assert checked(json.dumps(payload(told)).encode(), otherwise="invalid_json")


def _elements(body: dict[str, Any]) -> list[dict[str, Any]]:
    """What the rich text of a message is made of."""
    parts = [part for block in body["blocks"] if block["type"] == "rich_text" for part in block["elements"]]
    return [element for part in parts for element in part["elements"]]


def _kinds_of_element(body: dict[str, Any]) -> set[str]:
    return {element["type"] for element in _elements(body)}
