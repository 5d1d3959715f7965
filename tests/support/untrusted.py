"""Hypothesis strategies for untrusted input: texts that look like programs, arguments and names."""

from __future__ import annotations

from hypothesis import strategies as st

MARKUP = [
    *(
        "{{ 7 * 7 }}",
        "{% raw %}",
        "{# #}",
        "${HOME}",
        "$(REDIS_URL)",
        "$$(REDIS_URL)",
        "$$$$",
        "`id`",
        "%(asctime)s",
    ),
    *(
        "'; rm -rf / #",
        '"',
        "\\",
        "| cat",
        "&& id",
        "> /tmp/x",
        "--help",
        "--file=/etc/passwd",
        "../../etc/passwd",
    ),
    *("<!channel>", "<@U1>", "*bold*", "&lt;", "<script>alert(1)</script>", "<https://evil.example|x>"),
    *(
        "\x00",
        "\x07",
        "\x1b[31m",
        "\x1b]0;title\x07",
        "\x7f",
        "\x85",
        "\x9b31m",
        "\u2028",
        "\u202e",
        "\ufeff",
    ),
    *("\ud800", "\udcff", "\ufffd", "\u00a0", "é", "𝒳"),
]
"""Each has a meaning for a terminal, a shell, a template, Kubernetes, Slack or a browser."""
text: st.SearchStrategy[str] = st.text(st.characters(codec=None)) | st.sampled_from(MARKUP)

digits = (
    st.integers(0, 2**65).map(str)
    | st.sampled_from(["9223372036854775807", "9223372036854775808", "0", "-0", "1_000", "1.0", "1e3", "0x1"])
    | st.sampled_from(["٣", "１", "²", "𝟗"])  # digits for str.isdigit() or int()
    | st.builds(lambda digit, times: digit * times, st.sampled_from("019"), st.integers(1, 6000))
)
number = st.builds(str.__add__, st.sampled_from(["+", "-", "", "−", "＋", "+-", "+ "]), digits)
operation = st.sampled_from(["acc", "jmp", "nop", "ACC", "hlt", "ａcc", "acc\u200b", ""])
blanks = st.sampled_from([" ", "\t", "  \t ", "", "\u00a0", "\u3000", "\x0b"])
good_line = st.builds(
    "{}{}{:+d}".format,
    st.sampled_from(["acc", "jmp", "nop"]),
    st.sampled_from([" ", "\t "]),
    st.integers(-9, 9),
)
line = good_line | good_line | st.tuples(blanks, operation, blanks, number, blanks).map("".join) | text
line_end = st.sampled_from(["\n", "\n", "\r\n", "\n\n", "\r", "\n\r", "\x85", "\u2028", "\x0c", ""])
program: st.SearchStrategy[str] = st.builds(
    lambda mark, lines: mark + "".join(one + end for one, end in lines),
    st.sampled_from(["", "", "", "\ufeff", "\ufeff\ufeff"]),
    st.lists(st.tuples(line, line_end), max_size=8),
)

label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
name = (
    label
    | text
    | st.builds(str.__add__, label, st.sampled_from(["\n", "-", ".", " ", "\x00", "A", "a" * 32]))
)
