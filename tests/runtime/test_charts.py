"""The graph and the Gantt chart of a run, as Mermaid text and as pictures."""

from __future__ import annotations

import itertools
import re
import time
import xml.etree.ElementTree as ET

import pytest

from dsml.evidence import trace
from dsml.evidence.charts import gantt_svg, graph_svg
from dsml.evidence.mermaid import gantt_mermaid, graph_mermaid

from .traces import RUN_ID, Written, assembled

SVG = "{http://www.w3.org/2000/svg}"
STEPS = {
    "load.data": [],
    "train.fit": ["load.data"],
    "train.check": ["load.data"],
    "report.all": ["train.check", "train.fit"],
}


@pytest.fixture
def found(new_memory):
    """Two instances at the same time, a step that failed at first, one that failed, one not begun.

    The run takes 20 s.
    """
    written = Written(new_memory(), steps=STEPS)
    written.run("load.data", 1, 3)
    written.run("train.fit", 4, 10, instance="a")
    written.run("train.fit", 5, 9, instance="b")
    told = {"exception": "E", "error": "here\n  it broke\n  mend it"}
    written.stop(written.begin("train.check", 4), 6, "failed", **told)
    written.stop(written.begin("train.check", 7, 2), 12, "failed", cpu_seconds=1.5, **told)
    written.end("failed", 20)
    return assembled(written.store)


def shapes(picture):
    """Of each shape with a tooltip: its class, its box and its tooltip."""
    found = {}
    for group in ET.fromstring(picture).iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        box = tuple(float(rect.get(name)) for name in ("x", "y", "width", "height"))
        found[group.findtext(f"{SVG}title")] = (rect.get("class"), box)
    return found


def overlap(one, other):
    (x1, y1, w1, h1), (x2, y2, w2, h2) = one, other
    return x1 < x2 + w2 and x2 < x1 + w1 and y1 < y2 + h2 and y2 < y1 + h1


# --- Mermaid --------------------------------------------------------------------------------------


def test_the_graph_as_mermaid_has_every_step_what_came_of_it_and_what_it_waits_for(found):
    assert graph_mermaid(found).splitlines()[:9] == [
        "flowchart LR",
        '  s0["load.data<br/>passed, 2.0 s"]:::passed',
        '  s1["train.fit<br/>2 instances, failed, 6.0 s"]:::failed',
        '  s2["train.check<br/>failed, 8.0 s"]:::failed',
        '  s3["report.all<br/>not begun"]:::not_begun',
        "  s0 --> s1",
        "  s0 --> s2",
        "  s2 --> s3",
        "  s1 --> s3",
    ]


def test_every_class_of_the_graph_has_a_style(found):
    lines = graph_mermaid(found)
    used = set(re.findall(r":::(\w+)", lines))
    assert used == set(re.findall(r"classDef (\w+) ", lines)) == {"passed", "failed", "not_begun"}


def test_the_gantt_chart_as_mermaid_has_every_attempt_in_the_section_of_its_step(found):
    start = found.run.start // 1_000_000
    assert gantt_mermaid(found).splitlines() == [
        "gantt",
        "  title training, run 3f2b8a54",
        "  dateFormat x",
        "  axisFormat %H:%M:%S",
        "  section load.data",
        f"    attempt 1 :done, {start + 1000}, {start + 3000}",
        "  section train.fit",
        f"    [a] attempt 1 :done, {start + 4000}, {start + 10000}",
        f"    [b] attempt 1 :done, {start + 5000}, {start + 9000}",
        "  section train.check",
        f"    attempt 1 :crit, {start + 4000}, {start + 6000}",
        f"    attempt 2 :crit, {start + 7000}, {start + 12000}",
    ]


# --- the graph as a picture -----------------------------------------------------------------------


def test_the_graph_has_a_box_for_each_step_in_the_colour_of_what_came_of_it(found):
    assert {title: kind for title, (kind, _) in shapes(graph_svg(found)).items()} == {
        "load.data: passed, 2.0 s": "passed",
        "train.fit: 2 instances, failed, 6.0 s": "failed",
        "train.check: failed, 8.0 s": "failed",
        "report.all: not begun": "not-begun",
    }


def test_what_failed_is_red_on_a_light_and_on_a_dark_ground(found):
    style = ET.fromstring(graph_svg(found)).findtext(f"{SVG}style")
    light, dark = style.split("prefers-color-scheme: dark")
    for part in (light, dark):
        red, green, blue = (
            int(part_of, 16)
            for part_of in re.search(r"\.failed { fill: #(..)(..)(..);", part).groups()
        )
        assert red > 1.3 * green
        assert red > 1.3 * blue


def test_a_step_stands_to_the_right_of_all_that_it_waits_for(found):
    boxes = {title.split(":")[0]: box for title, (_, box) in shapes(graph_svg(found)).items()}
    for step, above in STEPS.items():
        for other in above:
            x, _, width, _ = boxes[other]
            assert x + width < boxes[step][0]


def test_the_boxes_of_a_large_graph_lie_apart_and_inside_of_the_picture(new_memory):
    steps = {f"stage_{n % 7}.notebook_{n}": [] for n in range(60)}
    names = list(steps)
    for n, name in enumerate(names):
        steps[name] = [names[n // 3]] if n // 3 != n else []
    picture = graph_svg(assembled(Written(new_memory(), steps=steps).store))
    boxes = [box for _, box in shapes(picture).values()]
    assert len(boxes) == 60
    assert not any(overlap(*pair) for pair in itertools.combinations(boxes, 2))
    width, height = (float(ET.fromstring(picture).get(name)) for name in ("width", "height"))
    assert all(x + w <= width and y + h <= height for x, y, w, h in boxes)
    assert len(list(ET.fromstring(picture).iter(f"{SVG}path"))) == 59


def test_a_line_over_several_columns_crosses_no_box(new_memory):
    steps = {"a.a": [], "b.b": ["a.a"], "c.c": ["b.b"], "d.d": ["a.a", "c.c"]}
    picture = graph_svg(assembled(Written(new_memory(), steps=steps).store))
    boxes = [box for _, box in shapes(picture).values()]
    paths = [path.get("d") for path in ET.fromstring(picture).iter(f"{SVG}path")]
    through = [
        tuple(map(float, found.groups()))
        for path in paths
        if (found := re.fullmatch(r"M([\d.]+) ([\d.]+) H([\d.]+)", path))
    ]
    assert len(through) == 2  # through the columns of b.b and c.c
    lines = [(x, y, x2 - x, 0.1) for x, y, x2 in through]
    assert not any(overlap(line, box) for line in lines for box in boxes)


def test_a_picture_says_what_it_shows(found):
    picture = ET.fromstring(graph_svg(found))
    assert picture.get("role") == "img"
    assert "Graph of run 3f2b8a54: load.data passed, 2.0 s; " in picture.findtext(f"{SVG}title")


def test_markup_in_a_name_is_shown_as_it_is(new_memory):
    written = Written(new_memory(), steps={'<b>&".x': []})
    assert '<b>&".x: not begun' in shapes(graph_svg(assembled(written.store)))


# --- the Gantt chart as a picture -----------------------------------------------------------------


def test_the_gantt_chart_has_a_bar_for_each_attempt_at_its_time(found):
    bars = shapes(gantt_svg(found))
    assert {title: kind for title, (kind, _) in bars.items()} == {
        "load.data attempt 1: passed, 2.0 s": "passed",
        "train.fit[a] attempt 1: passed, 6.0 s": "passed",
        "train.fit[b] attempt 1: passed, 4.0 s": "passed",
        "train.check attempt 1: failed, 2.0 s": "failed",
        "train.check attempt 2: failed, 5.0 s, 1.5 s of CPU": "failed",
    }
    begin, _, second, _ = bars["load.data attempt 1: passed, 2.0 s"][1]
    scale = second / 2
    x, _, width, _ = bars["train.fit[a] attempt 1: passed, 6.0 s"][1]
    assert x - begin == pytest.approx(3 * scale, abs=0.2)
    assert width == pytest.approx(6 * scale, abs=0.2)


def test_instances_that_ran_at_the_same_time_lie_below_each_other(found):
    boxes = [box for _, box in shapes(gantt_svg(found)).values()]
    assert not any(overlap(*pair) for pair in itertools.combinations(boxes, 2))


def test_what_went_wrong_is_told_by_a_word_as_well(found):
    words = [text.text for text in ET.fromstring(gantt_svg(found)).iter(f"{SVG}text")]
    assert words.count("failed") == 2
    assert "passed" not in words


@pytest.mark.parametrize("seconds", [0.01, 3, 59, 4000, 300_000])
def test_the_axis_has_a_few_ticks_for_any_run(new_memory, seconds):
    written = Written(new_memory())
    written.run("a.b", 0, seconds)
    written.end(seconds=seconds)
    picture = ET.fromstring(gantt_svg(assembled(written.store)))
    ticks = [text.text for text in picture.iter(f"{SVG}text") if text.get("class") == "small"]
    assert 1 <= len(ticks) <= 9
    assert ticks[0] == "0.0 s"


def test_a_run_that_began_nothing_has_its_pictures(new_memory):
    written = Written(new_memory())
    written.end("failed", 0)
    found = assembled(written.store)
    for draw in (graph_svg, gantt_svg):
        assert shapes(draw(found)) == {}
    assert graph_mermaid(found) == "flowchart LR\n"


def test_many_instances_are_put_together_and_drawn_quickly(new_local):
    written = Written(new_local(), steps={"a.b": []})
    for n in range(300):
        begun = written.begin("a.b", n / 10, instance=str(n))
        written.stop(begun, n / 10 + 0.5)
    written.end(seconds=110)
    begun = time.perf_counter()
    found = trace.assemble(written.store, RUN_ID)
    heights = {box[1] for _, box in shapes(gantt_svg(found)).values()}
    assert time.perf_counter() - begun < 3
    assert len(found.attempts) == 300
    assert len(heights) == 5  # no more lie below each other than ran at the same time
