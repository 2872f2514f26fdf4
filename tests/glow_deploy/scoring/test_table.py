from __future__ import annotations

import csv
import doctest
import io
import math

import numpy as np
import pytest
from made_scores import DIMS, REFERENCE, scores

from glow_deploy.errors import DataError, UsageError
from glow_deploy.scoring import table as scoring_table
from glow_deploy.scoring.table import score_table


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


def test_the_table_is_text_that_any_reader_takes(tmp_path):
    with score_table(tmp_path / "a.csv", reference=REFERENCE) as table:
        table.add(scores([3.0]), name="a")
    lines = (tmp_path / "a.csv").read_bytes().split(b"\n")
    assert len(lines) == 3
    assert b"\r" not in lines[0]
    assert io.BytesIO(lines[0]).read().startswith(b"set,name,log_prob")


def test_doctests():
    found = doctest.testmod(scoring_table)
    assert (found.failed, found.attempted >= 3) == (0, True)
