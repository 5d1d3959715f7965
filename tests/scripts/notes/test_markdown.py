"""The note of a DAG run is Markdown to Airflow's page, which must show its text unchanged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from scripts.notes.markdown import LONGEST, LONGEST_TEXT, literal
from scripts.text import visible
from tests.support import untrusted

MARKDOWN = [
    *("![x](http://127.0.0.1/pixel)", "[a](http://127.0.0.1/)", "<img src=http://127.0.0.1/>", "**bold**"),
    *("`", "``", "```", " `", "` ", " ", "  ", "\\", "\\`", "&amp;", "www.example.org", "a@example.org"),
    *("\n", "\n\n", "\r\n\r\n", "\r", "\x0b", "\u2028", "# ", "- ", "> ", "    ", "| a |\n|---|", "[^1]: a"),
]
texts = st.lists(st.sampled_from(MARKDOWN) | untrusted.text, max_size=12).map("".join)


def shown(note: str) -> list[str]:
    """Return what a page shows as code, provided that it shows nothing else."""
    blocks = [token.type for token in MarkdownIt("commonmark").parse(note)]
    assert blocks == ["paragraph_open", "inline", "paragraph_close"], blocks
    (inline,) = [token for token in MarkdownIt("commonmark").parse(note) if token.type == "inline"]
    return [
        token.content if token.type == "code_inline" else f"<{token.type}>" for token in inline.children or ()
    ]


@given(texts)
def test_any_text_is_shown_unchanged(text: str) -> None:
    expected = visible(" ".join(text.splitlines()))
    assert shown(literal(text)) == [expected] if expected.strip() else literal(text) == ""


@pytest.mark.parametrize(
    "text", ["a" * 5000, "`" * 5000, " ".join("`" * count for count in range(1, 60)), "a`" * 2500]
)
def test_a_long_text_is_cut_to_the_length_of_a_note(text: str) -> None:
    note = literal(text)
    assert len(note) <= LONGEST
    assert shown(note) == [text[: LONGEST_TEXT - 1] + "…"]


def test_a_sentence_is_still_readable_as_markdown_source() -> None:
    assert literal("jmp +4 → acc 1, pc 6") == "`jmp +4 → acc 1, pc 6`"
