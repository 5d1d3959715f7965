"""Make text from outside safe for logs, XComs and databases."""

from __future__ import annotations


def printable(text: str, most: int = 2000) -> str:
    """Return the text with unprintable characters escaped, at most ``most`` characters of it.

    A longer text loses its middle. Line breaks and tabs are kept. A NUL, which PostgreSQL refuses, becomes
    ``\\x00``; half a surrogate pair, which no encoder accepts, becomes ``\\ud800``.
    """
    if not text.isprintable():
        text = "".join(one if one.isprintable() or one in "\n\t" else repr(one)[1:-1] for one in text)
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-(most // 2) :]}"


def quoted(text: str, most: int = 80) -> str:
    """Return the text in quotes, on one line."""
    return printable(repr(text), most)


def one_line(text: str, most: int = 2000) -> str:
    """Return the text as `printable` does, with blanks for its line breaks and tabs."""
    return printable(text, most).replace("\n", " ").replace("\t", " ")


def describe(error: BaseException) -> str:
    """Return an error's type and text, on one line."""
    return one_line(f"{type(error).__name__}: {error}")
