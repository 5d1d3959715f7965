"""The picture of a start run: it shows the snapshot, and can be read at any number of CPUs."""

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
from tests.support.colour_vision import KINDS_OF_VISION, difference
from tests.support.snapshots import start_run

SVG = "{http://www.w3.org/2000/svg}"
LONG = -(2**63)
SNAPSHOTS = {
    "one": start_run(1, parts="1"),
    "one, in progress": start_run(1, seconds=3),
    "few": start_run(5, winner=1),
    "ten": start_run(10, winner=8),
    "labelled": start_run(40, winner=38, spread=60),
    "not labelled": start_run(41, winner=1),
    "nothing loaded": start_run(12, seconds=0.4),
    "in progress": start_run(300, winner=137, seconds=130),
    "long": start_run(12, winner=5, argument=LONG),
    "long, many": start_run(2000, winner=3, argument=LONG, spread=300),
    "part 2 only": start_run(12, winner=12, parts="2"),
    "cancelled": start_run(50, cancelled=True),
    "hundreds": start_run(300, winner=299),
    "most": start_run(10_000, winner=9_999),
}
each_snapshot = pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=SNAPSHOTS)


def elements_by_id(svg: bytes) -> dict[str, ElementTree.Element]:
    return {one.attrib["id"]: one for one in ElementTree.fromstring(svg).iter() if "id" in one.attrib}  # noqa: S314


def texts(svg: bytes) -> list[str]:
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314


def colour_at(image: Image.Image, x: int, y: int) -> str:
    return f"#{image.crop((x, y, x + 1, y + 1)).tobytes().hex()}"


def rows_height(snapshot: Snapshot) -> float:
    """Return the height of all rows in inches."""
    return min(max(len(snapshot.cpus) * ROW, MIN_ROWS), MAX_ROWS)


@each_snapshot
def test_number_of_bars_of_a_colour_is_the_number_of_cpus_that_were_in_that_state(snapshot: Snapshot) -> None:
    loaded = [cpu for cpu in snapshot.cpus if cpu.loaded is not None]
    expected = {"waiting": len(snapshot.cpus), "running": len(loaded)}
    for state in STOPPED_STATES:
        # Below a bar there is one of each colour that is painted earlier.
        on_top = STOPPED_STATES[STOPPED_STATES.index(state) :]
        expected[state] = sum(cpu.state in on_top for cpu in snapshot.cpus)
    elements = elements_by_id(render(snapshot, "svg"))
    for state, colour in COLOURS.items():
        path = elements[state].find(f".//{SVG}path") if state in elements else None
        assert (0 if path is None else path.attrib["d"].count("M")) == expected[state]
        assert path is None or f"fill: {colour}" in path.attrib["style"]
    assert ("winner" in elements) == (snapshot.part2() is not None and snapshot.facts.answer is not None)


@pytest.mark.parametrize("name", ["few", "ten", "long", "labelled", "part 2 only"])
def test_a_row_changes_its_colour_when_its_cpu_was_loaded_and_when_it_stopped(name: str) -> None:
    snapshot = SNAPSHOTS[name]
    image = Image.open(BytesIO(render(snapshot, "png"))).convert("RGB")
    height = rows_height(snapshot)
    assert image.size == (int(WIDTH * DOTS_PER_INCH), int((TOP + height + BOTTOM) * DOTS_PER_INCH))
    assert snapshot.ended is not None
    scale = (WIDTH - LEFT - RIGHT) / ((snapshot.ended - snapshot.stored) * 1.05)

    def colour(row: int, when: float, pixels: int) -> str:
        """Return the colour that many pixels to the right of a moment."""
        x = (LEFT + (when - snapshot.stored) * scale) * DOTS_PER_INCH + pixels
        y = (TOP + (row + 0.5) * height / len(snapshot.cpus)) * DOTS_PER_INCH
        return colour_at(image, int(x), int(y))

    for row, cpu in enumerate(snapshot.cpus):
        assert cpu.loaded is not None
        assert cpu.stopped is not None
        assert colour(row, cpu.loaded, -3) == COLOURS["waiting"]
        assert colour(row, cpu.stopped, 3) == COLOURS[cpu.state]
        assert colour(row, snapshot.ended, 3) == COLOURS[cpu.state]
        if (cpu.stopped - cpu.loaded) * scale * DOTS_PER_INCH > 6:
            assert colour(row, cpu.loaded, 3) == COLOURS["running"]
            assert colour(row, cpu.stopped, -3) == COLOURS["running"]


@pytest.mark.parametrize("name", ["hundreds", "most"])
def test_the_winner_is_visible_where_rows_are_thinner_than_a_pixel(name: str) -> None:
    image = Image.open(BytesIO(render(SNAPSHOTS[name], "png"))).convert("RGB")
    x = int((WIDTH - RIGHT) * DOTS_PER_INCH) - 3
    column = [colour_at(image, x, y) for y in range(image.height)]
    # The outline takes a part of its height.
    assert column.count(COLOURS["end"]) >= MIN_WINNER * DOTS_PER_INCH / 2


@each_snapshot
def test_no_text_overlaps_another_text_or_is_cut_off(snapshot: Snapshot) -> None:
    figure = build_figure(snapshot)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    left, bottom, right, top = figure.bbox.extents
    boxes = []
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_visible() and text.get_text():
            box = Text.get_window_extent(text, canvas.get_renderer())
            assert left <= box.x0 < box.x1 <= right, text.get_text()
            assert bottom <= box.y0 < box.y1 <= top, text.get_text()
            boxes.append((text.get_text(), box))
    assert len(boxes) > 5
    for (one, here), (other, there) in combinations(boxes, 2):
        assert not here.overlaps(there), f"{one} / {other}"


def test_texts_name_the_start_run_the_answers_the_swap_and_the_counts() -> None:
    snapshot = SNAPSHOTS["ten"]
    shown = texts(render(snapshot, "svg"))
    assert shown.count("Part 1: -4") == 1
    assert shown.count("Part 2: -4 (line 8: jmp -4 → nop -4)") == 1
    counts = rf"Start run {snapshot.start} · 10 CPUs · [0-9,]+ cycles · [0-9.]+ s"
    assert any(re.fullmatch(counts, one) for one in shown)
    assert {"CPU 0: as written", "CPU 8, line 8:", "jmp -4 → nop -4", *map(str, range(10))} <= set(shown)
    states = [cpu.state for cpu in snapshot.cpus]
    assert {f"{state}: {states.count(state)}" for state in set(states)} <= set(shown)


def test_beyond_forty_cpus_only_cpu_0_and_the_winner_are_labelled() -> None:
    shown = texts(render(SNAPSHOTS["not labelled"], "svg"))
    assert {"41 CPUs", "CPU 0: as written", "CPU 1, line 1:"} <= set(shown)
    assert "23" not in shown


@pytest.mark.parametrize(
    ("snapshot", "lines"),
    [
        (SNAPSHOTS["nothing loaded"], ["Part 1: not known yet", "Part 2: not known yet"]),
        (start_run(50, seconds=1, cancelled=True), ["Part 1: cancelled", "Part 2: cancelled"]),
        (start_run(3, parts="1"), ["Part 1: -4"]),
    ],
)
def test_each_part_that_is_asked_for_has_its_answer_or_the_reason_why_there_is_none(
    snapshot: Snapshot, lines: list[str]
) -> None:
    assert [one for one in texts(render(snapshot, "svg")) if one.startswith("Part ")] == lines


def test_a_start_run_in_progress_is_drawn_up_to_the_moment_of_the_snapshot() -> None:
    assert any(one.endswith("2 min 10 s so far") for one in texts(render(SNAPSHOTS["in progress"], "svg")))


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_snapshot_gives_the_same_bytes(kind: str) -> None:
    first, again = (render(start_run(40, winner=3), "svg" if kind == "svg" else "png") for _ in range(2))
    assert first == again


def test_no_text_is_taken_for_markup_a_script_or_a_formula() -> None:
    snapshot = start_run(5, winner=2)
    hostile = "$x_1$ --><script>&]]>"
    cpus = [replace(cpu, swap=hostile, acc=hostile) for cpu in snapshot.cpus]
    svg = render(replace(snapshot, cpus=cpus), "svg")
    assert hostile in texts(svg)
    assert not [one for one in ElementTree.fromstring(svg).iter() if one.tag.endswith("script")]  # noqa: S314


@pytest.mark.parametrize("vision", KINDS_OF_VISION)
def test_any_two_colours_differ_visibly_for_every_kind_of_colour_vision(vision: str) -> None:
    for one, other in combinations(COLOURS, 2):
        assert difference(COLOURS[one], COLOURS[other], vision) > 20, (one, other)


def test_without_matplotlib_rendering_raises_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="matplotlib"):
        render(SNAPSHOTS["few"], "svg")
