from __future__ import annotations

import csv
import doctest
import io
import math

import numpy as np
import pytest

from glow_deploy.errors import DataError, UsageError
from glow_deploy.scoring import sets as score_sets
from glow_deploy.scoring import sources as score_sources
from glow_deploy.scoring import table as score_table_module
from glow_deploy.scoring.score import HeldOut, Scores
from glow_deploy.scoring.sets import ScoredSet, SetTally, separate
from glow_deploy.scoring.table import score_table

DIMS = 12
REFERENCE = HeldOut(source="r", bits_per_dim=np.linspace(2.0, 4.0, 21))


def scores(bits, *, names=None, labels=None) -> Scores:
    bits = np.asarray(bits, dtype=np.float64)
    return Scores(
        names=tuple(names) if names is not None else tuple(f"p{index}" for index in range(len(bits))),
        log_prob=(5 - bits) * DIMS * math.log(2),
        bits_per_dim=bits,
        bits_per_dim_centre=bits - 0.125,
        level_squares=np.stack([bits / 2, bits / 4], axis=1),
        labels=None if labels is None else np.asarray(labels),
    )


def scored(name, bits) -> ScoredSet:
    tally = SetTally(name, source=f"where {name} is")
    tally.add(scores(bits))
    return tally.result()


# --- sets


def test_a_tally_of_batches_is_the_whole():
    bits = np.random.default_rng(0).normal(3, 0.5, 50)
    tally = SetTally("s", source="here")
    for first in range(0, 50, 7):
        tally.add(scores(bits[first : first + 7]))
    found = tally.result()
    np.testing.assert_array_equal(found.bits_per_dim, bits)
    np.testing.assert_allclose(found.level_squares, [bits.mean() / 2, bits.mean() / 4])
    figures = found.figures(REFERENCE)
    assert figures["mean"] == pytest.approx(bits.mean())
    assert figures["deviation"] == pytest.approx(bits.std(ddof=1))
    assert figures["median"] == pytest.approx(np.median(bits))
    assert (figures["lowest"], figures["highest"]) == (bits.min(), bits.max())
    assert figures["typicality"] == pytest.approx(np.abs(bits - 3.0).mean())


def test_what_is_not_finite_is_counted_and_kept_out_of_means():
    found = scored("s", [2.0, np.nan, 4.0, np.inf])
    assert (found.nonfinite, len(found)) == (2, 4)
    assert found.figures()["mean"] == 3.0
    np.testing.assert_allclose(found.level_squares, [1.5, 0.75])
    nothing = scored("s", [np.nan, np.nan])
    assert nothing.nonfinite == 2
    assert math.isnan(nothing.figures(REFERENCE)["mean"])
    with pytest.raises(DataError, match="no pictures to score in s"):
        SetTally("s", source="").result()


def test_areas_by_counting_pairs():
    rng = np.random.default_rng(2)
    own, foreign = rng.normal(3, 0.4, 30).round(1), rng.normal(2.6, 0.4, 40).round(1)
    found = separate(scored("own", own), scored("foreign", foreign), REFERENCE)

    def pairs(negatives, positives):
        return np.mean([(p > n) + 0.5 * (p == n) for p in positives for n in negatives])

    assert found.likelihood.value == pytest.approx(pairs(own, foreign))
    assert found.likelihood.value < 0.5
    far_own, far_foreign = (np.abs(bits - 3.0) for bits in (own, foreign))
    assert found.typicality.value == pytest.approx(pairs(far_own, far_foreign))
    assert found.typicality.value > 0.5
    for area in (found.likelihood, found.typicality):
        assert area.low < area.value < area.high


def test_no_likelihood_at_all_is_the_worst():
    found = separate(scored("own", [1.0, 2.0, 900.0]), scored("foreign", [np.nan, np.inf, -np.inf]), REFERENCE)
    assert (found.likelihood.value, found.typicality.value) == (1.0, 1.0)
    found = separate(scored("own", [np.nan, np.inf]), scored("foreign", [3.0, 3.1]))
    assert found.likelihood.value == 0.0
    assert found.typicality is None


# --- the table


def rows(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_table_holds_every_figure(tmp_path):
    out = tmp_path / "scores.csv"
    with score_table(out, reference=REFERENCE) as table:
        table.add(scores([3.0, 1.25]), name="a")
        table.add(scores([np.nan, np.inf]), name="b")
    found = rows(out)
    assert list(found[0]) == [
        "set", "name", "log_prob", "bits_per_dim", "bits_per_dim_centre", "z1_square", "z2_square", "typicality",
        "typicality_p",
    ]  # fmt: skip
    assert [(row["set"], row["name"]) for row in found] == [("a", "p0"), ("a", "p1"), ("b", "p0"), ("b", "p1")]
    assert [float(row["bits_per_dim"]) for row in found[:2]] == [3.0, 1.25]
    assert float(found[1]["log_prob"]) == pytest.approx(3.75 * DIMS * math.log(2), rel=1e-8)
    assert float(found[1]["typicality"]) == pytest.approx(1.75)
    assert float(found[1]["typicality_p"]) == pytest.approx(1 / 22)
    assert [row["bits_per_dim"] for row in found[2:]] == ["nan", "inf"]
    assert [row["typicality"] for row in found[2:]] == ["inf", "inf"]


def test_without_a_reference_there_is_no_typicality_and_classes_have_a_column(tmp_path):
    with score_table(tmp_path / "a.csv") as table:
        table.add(scores([3.0, 1.0], labels=[4, 7]), name="a")
    found = rows(tmp_path / "a.csv")
    assert "typicality" not in found[0]
    assert [row["class"] for row in found] == ["4", "7"]


@pytest.mark.parametrize("key", ["bits_per_dim", "typicality"])
def test_rows_are_sorted_over_all_batches(tmp_path, key):
    rng = np.random.default_rng(1)
    bits = rng.normal(3, 1, 40).round(1)
    bits[5], bits[31], bits[33] = np.nan, np.inf, -np.inf
    out = tmp_path / "scores.csv"
    with score_table(out, reference=REFERENCE, sort=key) as table:
        for first in range(0, 40, 6):
            part = bits[first : first + 6]
            table.add(scores(part, names=[f"picture {first + i}, ünïcode" for i in range(len(part))]), name="a")
    found = rows(out)
    numbers = bits if key == "bits_per_dim" else np.abs(bits - 3.0)
    order = np.argsort(-np.where(np.isfinite(numbers), numbers, np.inf), kind="stable")
    assert [row["name"] for row in found] == [f"picture {index}, ünïcode" for index in order]


def test_names_that_need_quotes(tmp_path):
    names = ['a "b".png', "c,d.png", "e\nf.png", "\udcff.png"]
    for sort in (None, "bits_per_dim"):
        with score_table(tmp_path / "a.csv", sort=sort) as table:
            table.add(scores([4, 3, 2, 1], names=names), name="a")
        assert [row["name"] for row in rows(tmp_path / "a.csv")] == [*names[:3], "\\udcff.png"]


@pytest.mark.parametrize("sort", [None, "bits_per_dim"])
def test_an_error_leaves_the_file_that_was_there(tmp_path, sort):
    out = tmp_path / "scores.csv"
    out.write_text("before")

    def fail():
        with score_table(out, sort=sort) as table:
            table.add(scores([1.0]), name="a")
            raise DataError("damaged")

    with pytest.raises(DataError, match="damaged"):
        fail()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("scores.csv", "before")]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot write"), score_table(tmp_path / "no" / "a.csv") as table:
        table.add(scores([1.0]), name="a")


# --- the picture


def test_a_histogram_of_two_sets(tmp_path):
    pytest.importorskip("matplotlib")
    from PIL import Image

    from glow_deploy.scoring.picture import histogram_bytes, write_histogram

    rng = np.random.default_rng(0)
    sets = [scored("clothes", rng.normal(3, 0.3, 500)), scored("digits", [*rng.normal(1.5, 0.2, 300), np.nan, 90.0])]
    write_histogram(tmp_path / "a.png", sets, reference=REFERENCE, title="what it shows")
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 200
        colours = {colour[:3] for _, colour in image.convert("RGB").getcolors(1 << 20)}
    assert len(colours) > 20
    svg = histogram_bytes(sets, reference=REFERENCE, kind="svg")
    assert svg == histogram_bytes(sets, reference=REFERENCE, kind="svg"), "the same scores give the same bytes"
    assert histogram_bytes(sets) == histogram_bytes(sets)
    assert histogram_bytes(sets) != histogram_bytes(sets[:1])


def test_the_areas_of_all_sets_are_1(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.axes import Axes

    from glow_deploy.scoring.picture import histogram_bytes

    assert matplotlib
    drawn = []
    whole = Axes.hist

    def watch(self, values, **options):
        result = whole(self, values, **options)
        drawn.append(float((result[0] * np.diff(result[1])).sum()))
        return result

    monkeypatch.setattr(Axes, "hist", watch)
    rng = np.random.default_rng(0)
    histogram_bytes([scored("a", rng.normal(3, 1, 1000)), scored("b", [*rng.normal(1, 1, 50), 500.0])])
    np.testing.assert_allclose(drawn, 1.0)


def test_what_cannot_be_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from glow_deploy.scoring.picture import histogram_bytes, write_histogram

    with pytest.raises(DataError, match="nothing to draw"):
        histogram_bytes([scored("a", [np.nan])])
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        write_histogram(tmp_path / "a.jpg", [scored("a", [1.0])])
    assert histogram_bytes([scored("a", [1.0, 1.0]), scored("b", [np.nan])])[:4] == b"\x89PNG"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", [score_sets, score_sources, score_table_module])
def test_doctests(module):
    found = doctest.testmod(module)
    assert (found.failed, found.attempted >= 3) == (0, True)


def test_the_table_is_text_that_any_reader_takes(tmp_path):
    with score_table(tmp_path / "a.csv", reference=REFERENCE) as table:
        table.add(scores([3.0]), name="a")
    lines = (tmp_path / "a.csv").read_bytes().split(b"\n")
    assert len(lines) == 3
    assert b"\r" not in lines[0]
    assert io.BytesIO(lines[0]).read().startswith(b"set,name,log_prob")
