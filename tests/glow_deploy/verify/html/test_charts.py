from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import pytest

from glow_deploy.verify.html.charts import bars_chart, histogram_chart, shares_chart, steps_chart, steps_legend
from glow_deploy.verify.html.svg import Identifiers


def parse(svg):
    """An SVG must be XML, so that an unescaped character is noticed."""
    return ElementTree.fromstring(svg)


def texts(tree):
    return [element.text for element in tree.iter("text")]


def with_class(tree, name):
    return [element for element in tree.iter() if name in element.get("class", "").split()]


def row(step="level1/step01", **figures):
    base = {"observed_rms": 1e-6, "observed_max": 1e-5, "predicted_rms": 2e-6, "non_finite": 0}
    return {"step": step, **base, **figures}


def rows(n, **figures):
    return [row(f"level{1 + i // 8}/step{1 + i % 8:02d}", **figures) for i in range(n)]


def draw(found, **options):
    values = [1e-6, 1e-5]
    return parse(steps_chart(found, **{"title": "t", "values": values, "jump": None, "ids": Identifiers(), **options}))


@pytest.mark.parametrize("n", [1, 2, 24, 200])
def test_steps_are_drawn_whatever_their_number(n):
    tree = draw(rows(n))
    assert len(with_class(tree, "observed")) == n + 1  # markers and one curve
    places = [float(circle.get("cx")) for circle in tree.iter("circle")]
    assert places == sorted(places)
    numbers = [text for text in tree.iter("text") if re.fullmatch(r"\d\d", text.text or "")]
    gaps = [float(b.get("x")) - float(a.get("x")) for a, b in itertools.pairwise(numbers)]
    assert all(gap >= 30 for gap in gaps)


def test_lost_steps_are_crosses_and_break_the_curve():
    found = rows(6)
    found[3] = row("level1/step04", observed_rms=None, observed_max=None, non_finite=12)
    tree = draw(found)
    (cross,) = with_class(tree, "lost")
    assert "12 non-finite" in cross.find("title").text
    assert len([e for e in with_class(tree, "observed") if "curve" in e.get("class")]) == 2
    assert not with_class(draw(rows(6)), "lost")


@pytest.mark.parametrize(("jump", "lines"), [("level1/step03", 1), ("level2", 1), ("level9/step01", 0), (None, 0)])
def test_the_step_to_blame_is_marked(jump, lines):
    assert len(with_class(draw(rows(16), jump=jump), "jump")) == lines


def test_step_1_is_not_taken_for_step_10():
    found = [row(f"level1/step{n}") for n in (10, 1)]
    (line,) = with_class(draw(found, jump="level1/step1"), "jump")
    assert float(line.get("x1")) > 290


def test_figures_of_steps_can_be_read_without_the_picture():
    tree = parse(steps_chart(rows(3), title="encode", values=[1e-6], jump="level1/step02", ids=Identifiers()))
    assert tree.find("title").text == "encode"
    assert "1.0e-6" in tree.find("desc").text
    assert "level1/step02" in tree.find("desc").text


def test_the_legend_names_losses_only_where_there_are_some():
    assert len(steps_legend(lost=True)) == len(steps_legend(lost=False)) + 1


def test_bars_say_overflow_and_stand_out_beyond_the_limit():
    values = {"fp32": 1e-4, "mixed": 2.0, "fp16": math.nan}
    svg = bars_chart(values, title="t", limit=0.5, limit_label="half a bin", marks={"fp32": 2e-4}, ids=Identifiers())
    tree = parse(svg)
    assert "overflow" in texts(tree)
    assert [e.get("class") for e in with_class(tree, "bar")] == ["bar", "bar over"]
    assert len(with_class(tree, "seen")) == 1
    widths = [float(e.get("width")) for e in with_class(tree, "bar")]
    assert widths[0] > 10.0
    assert widths[1] > widths[0]


def test_bars_of_equal_values_and_of_nothing_finite_are_drawn():
    for values in ({"fp32": 0.5}, {"fp32": math.nan}, {"fp32": 0.0}):
        parse(bars_chart(values, title="t", limit=0.5, limit_label="l", marks={}, ids=Identifiers()))


def test_shares_are_in_proportion():
    found = [{"step": "level1/step01", "share": 0.25}, {"step": "level1/step02", "share": 0.75}]
    heights = [
        float(e.get("height")) for e in with_class(parse(shares_chart(found, title="t", ids=Identifiers())), "bar")
    ]
    assert heights[1] == pytest.approx(3 * heights[0], rel=1e-3)


@pytest.mark.parametrize("share", [None, 0.0])
def test_shares_of_nothing_are_drawn(share):
    parse(shares_chart([{"step": "level1/step01", "share": share}], title="t", ids=Identifiers()))


def histogram(counts, **figures):
    return {
        "unit": "pixel steps",
        "n": sum(counts.values()),
        "non_finite": 0,
        "lowest": 1e-7,
        "highest": 1e3,
        "bins_per_decade": 8,
        "below": 0,
        "above": 0,
        "counts": [counts.get(index, 0) for index in range(80)],
        **figures,
    }


def test_a_histogram_shows_the_half_bin_and_its_bars_on_the_right_side_of_it():
    tree = parse(histogram_chart(histogram({0: 5, 79: 5}), title="t", decades=(-7, 3), floor=-2, ids=Identifiers()))
    assert "half a bin" in texts(tree)
    (limit,) = with_class(tree, "limit")
    (area,) = with_class(tree, "area")
    places = [float(x) for x in re.findall(r"([\d.]+) [\d.]+", area.get("d"))]
    assert min(places) < float(limit.get("x1")) < max(places)


@pytest.mark.parametrize("figures", [{}, {"n": 0}, {"n": 7, "non_finite": 7}])
def test_an_empty_histogram_is_drawn(figures):
    parse(histogram_chart(histogram({}, **figures), title="t", decades=(-1, 1), floor=-1, ids=Identifiers()))


def test_names_are_escaped_everywhere():
    evil = "<b>&\"'"
    tree = draw([row(f"{evil}/step01", non_finite=1)], title=evil, jump=f"{evil}/step01")
    assert evil in tree.find("title").text
    parse(bars_chart({evil: 1.0}, title=evil, limit=0.5, limit_label=evil, marks={}, ids=Identifiers()))
    parse(shares_chart([{"step": evil, "share": 0.5}], title=evil, ids=Identifiers()))
    parse(histogram_chart(histogram({3: 1}), title=evil, decades=(-7, 1), floor=-1, ids=Identifiers()))
