"""Text that people read."""

import pytest

from scripts.text import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"), (125.4, "2 min 5 s"), (10805, "3 h 0 min 5 s")],
)
def test_duration_has_only_the_units_that_it_fills(seconds: float, text: str) -> None:
    assert duration(seconds) == text
