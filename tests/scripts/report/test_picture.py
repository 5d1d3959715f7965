"""The picture of a start run shows what Redis holds of it, and can be read at any size."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from io import BytesIO
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from scripts.report.figure import (
    BOTTOM,
    COLOURS,
    LEFT,
    MAX_ROWS,
    MIN_ROWS,
    MIN_WINNER,
    RIGHT,
    ROW,
    STOPPED_STATES,
    TOP,
    WIDTH,
    build_figure,
)
from scripts.report.picture import DOTS_PER_INCH, render
from scripts.snapshot import Snapshot
from tests.scripts.report.runs import run
from tests.scripts.report.sight import SIGHTS, apart

SVG = "{http://www.w3.org/2000/svg}"
LONG = -(2**63)
RUNS = {
    "one": run(1, parts="1"),
    "one, in progress": run(1, until=3),
    "few": run(5, winner=1),
    "ten": run(10, winner=8),
    "labelled": run(40, winner=38, spread=60),
    "not labelled": run(41, winner=1),
    "nothing loaded": run(12, until=0.4),
    "in progress": run(300, winner=137, until=130),
    "long": run(12, winner=5, argument=LONG),
    "long, many": run(2000, winner=3, argument=LONG, spread=300),
    "part 2 only": run(12, winner=12, parts="2"),
    "cancelled": run(50, cancelled="1"),
    "hundreds": run(300, winner=299),
    "most": run(10_000, winner=9_999),
}
every = pytest.mark.parametrize("seen", RUNS.values(), ids=RUNS)


def groups(svg: bytes) -> dict[str, ElementTree.Element]:
    """What has a name in the file."""
    return {one.attrib["id"]: one for one in ElementTree.fromstring(svg).iter() if "id" in one.attrib}  # noqa: S314


def texts(svg: bytes) -> list[str]:
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314


def colour_at(image: Image.Image, x: int, y: int) -> str:
    return f"#{image.crop((x, y, x + 1, y + 1)).tobytes().hex()}"


def height(seen: Snapshot) -> float:
    """Of the rows, in inches."""
    return min(max(len(seen.cpus) * ROW, MIN_ROWS), MAX_ROWS)


@every
def test_there_are_as_many_bars_of_a_colour_as_cpus_have_come_to_it(seen: Snapshot) -> None:
    expected = {"waiting": len(seen.cpus), "running": sum(tile.loaded is not None for tile in seen.cpus)}
    for state in STOPPED_STATES:
        # Below a bar is one of each colour that is painted earlier.
        expected[state] = sum(
            tile.state in STOPPED_STATES[STOPPED_STATES.index(state) :] for tile in seen.cpus
        )
    named = groups(render(seen, "svg"))
    for state, colour in COLOURS.items():
        path = named[state].find(f".//{SVG}path") if state in named else None
        assert (0 if path is None else path.attrib["d"].count("M")) == expected[state]
        assert path is None or f"fill: {colour}" in path.attrib["style"]
    assert ("winner" in named) == (seen.part2() is not None and seen.facts.get("answer") is not None)


@pytest.mark.parametrize("name", ["few", "ten", "long", "labelled", "part 2 only"])
def test_each_row_changes_its_colour_when_its_cpu_was_loaded_and_when_it_stopped(name: str) -> None:
    seen = RUNS[name]
    image = Image.open(BytesIO(render(seen, "png"))).convert("RGB")
    high = height(seen)
    assert image.size == (int(WIDTH * DOTS_PER_INCH), int((TOP + high + BOTTOM) * DOTS_PER_INCH))
    assert seen.ended is not None
    scale = (WIDTH - LEFT - RIGHT) / ((seen.ended - seen.stored) * 1.05)

    def colour(row: int, when: float, pixels: int) -> str:
        """So many pixels beside that moment."""
        x = (LEFT + (when - seen.stored) * scale) * DOTS_PER_INCH + pixels
        y = (TOP + (row + 0.5) * high / len(seen.cpus)) * DOTS_PER_INCH
        return colour_at(image, int(x), int(y))

    for row, tile in enumerate(seen.cpus):
        assert tile.loaded is not None
        assert tile.stopped is not None
        assert colour(row, tile.loaded, -3) == COLOURS["waiting"]
        assert colour(row, tile.stopped, 3) == COLOURS[tile.state]
        assert colour(row, seen.ended, 3) == COLOURS[tile.state]
        if (tile.stopped - tile.loaded) * scale * DOTS_PER_INCH > 6:
            assert colour(row, tile.loaded, 3) == COLOURS["running"]
            assert colour(row, tile.stopped, -3) == COLOURS["running"]


@pytest.mark.parametrize("name", ["hundreds", "most"])
def test_the_cpu_with_the_answer_is_seen_where_rows_are_thin(name: str) -> None:
    image = Image.open(BytesIO(render(RUNS[name], "png"))).convert("RGB")
    x = int((WIDTH - RIGHT) * DOTS_PER_INCH) - 3
    column = [colour_at(image, x, y) for y in range(image.height)]
    # Of its height its outline takes some.
    assert column.count(COLOURS["end"]) >= MIN_WINNER * DOTS_PER_INCH / 2


@every
def test_no_text_overlaps_another_or_is_cut_off(seen: Snapshot) -> None:
    drawn = build_figure(seen)
    canvas: Any = FigureCanvasAgg(drawn)
    canvas.draw()
    left, bottom, right, top = drawn.bbox.extents
    boxes = []
    for text in drawn.findobj(Text):
        if isinstance(text, Text) and text.get_visible() and text.get_text():
            box = Text.get_window_extent(text, canvas.get_renderer())
            assert left <= box.x0 < box.x1 <= right, text.get_text()
            assert bottom <= box.y0 < box.y1 <= top, text.get_text()
            boxes.append((text.get_text(), box))
    assert len(boxes) > 5
    for (one, here), (other, there) in combinations(boxes, 2):
        assert not here.overlaps(there), f"{one} / {other}"


def test_it_tells_answers_swap_counts_and_what_it_is_of() -> None:
    seen = RUNS["ten"]
    told = texts(render(seen, "svg"))
    assert told.count("Part 1: -4") == 1
    assert told.count("Part 2: -4 (line 8: jmp -4 → nop -4)") == 1
    assert any(
        re.fullmatch(rf"Start run {seen.start} · 10 CPUs · [0-9,]+ cycles · [0-9.]+ s", one) for one in told
    )
    assert {"CPU 0: as written", "CPU 8, line 8:", "jmp -4 → nop -4", *map(str, range(10))} <= set(told)
    states = [tile.state for tile in seen.cpus]
    assert {f"{state}: {states.count(state)}" for state in set(states)} <= set(told)


def test_beyond_forty_cpus_only_the_two_that_matter_are_named() -> None:
    told = texts(render(RUNS["not labelled"], "svg"))
    assert {"41 CPUs", "CPU 0: as written", "CPU 1, line 1:"} <= set(told)
    assert "23" not in told


@pytest.mark.parametrize(
    ("seen", "lines"),
    [
        (RUNS["nothing loaded"], ["Part 1: not known yet", "Part 2: not known yet"]),
        (run(50, until=1, cancelled="1"), ["Part 1: cancelled", "Part 2: cancelled"]),
        (run(3, parts="1"), ["Part 1: -4"]),
    ],
)
def test_what_is_not_known_is_said(seen: Snapshot, lines: list[str]) -> None:
    assert [one for one in texts(render(seen, "svg")) if one.startswith("Part ")] == lines


def test_a_run_in_progress_is_drawn_up_to_now() -> None:
    assert any(one.endswith("2 min 10 s so far") for one in texts(render(RUNS["in progress"], "svg")))


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_run_gives_the_same_bytes(kind: str) -> None:
    first, again = (render(run(40, winner=3), "svg" if kind == "svg" else "png") for _ in range(2))
    assert first == again


def test_nothing_in_it_is_taken_for_markup_a_script_or_a_formula() -> None:
    seen = run(5, winner=2)
    hostile = "$x_1$ --><script>&]]>"
    tiles = [replace(tile, swap=hostile, acc=hostile) for tile in seen.cpus]
    svg = render(replace(seen, cpus=tiles), "svg")
    assert hostile in texts(svg)
    assert not [one for one in ElementTree.fromstring(svg).iter() if one.tag.endswith("script")]  # noqa: S314


@pytest.mark.parametrize("sight", SIGHTS)
def test_all_colours_can_be_told_apart(sight: str) -> None:
    for one, other in combinations(COLOURS, 2):
        assert apart(COLOURS[one], COLOURS[other], sight) > 20, (one, other)


def test_without_matplotlib_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="matplotlib"):
        render(RUNS["few"], "svg")
