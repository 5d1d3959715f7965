"""Text for people, written the same way in Slack, in notes of DAG runs and in pictures."""

from __future__ import annotations


def visible(text: str) -> str:
    r"""Return `text` on one line: characters that would move, hide or reverse the text are escaped (`\n`)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def duration(seconds: float) -> str:
    """Return a duration such as `12.3 s`, `2 min 5 s` or `3 h 0 min 5 s`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min {rest} s" if hours else f"{minutes} min {rest} s"


def shorten(text: str, longest: int) -> str:
    """Return at most `longest` characters of the text, the last one `…` if it is cut."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
