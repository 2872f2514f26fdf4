from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from glow_cli.common.console import SCHEMA_VERSION, plain, write_document


@dataclass(frozen=True)
class Point:
    """A dataclass within a document."""

    x: float
    place: Path


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), "nan"),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (Path("a") / "b", str(Path("a") / "b")),
        ((1, 2.5), [1, 2.5]),
        ({1: Point(math.inf, Path("c"))}, {"1": {"x": "inf", "place": "c"}}),
        (np.array([[1.0, np.nan]]), [[1.0, "nan"]]),
        (None, None),
        ("text", "text"),
    ],
)
def test_every_value_becomes_strict_json(value, expected):
    found = plain(value)
    assert found == expected
    assert json.loads(json.dumps(found, allow_nan=False)) == expected


def test_a_document_says_what_it_is_on_stdout_or_in_a_file(tmp_path, capsys):
    write_document("-", {"n": 3}, schema="bench")
    target = tmp_path / "out.json"
    write_document(str(target), {"n": 3}, schema="bench")
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"schema": "glow_deploy.bench", "schema_version": SCHEMA_VERSION, "n": 3}
    assert target.read_text() == printed


def test_a_schema_of_its_own_stands(capsys):
    write_document("-", {"schema": "glow_deploy.verify", "schema_version": 7}, schema="bench")
    assert json.loads(capsys.readouterr().out) == {"schema": "glow_deploy.verify", "schema_version": 7}


def test_a_number_that_json_has_not_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_document(str(tmp_path / "out.json"), {"n": math.nan}, schema="bench")
    assert list(tmp_path.iterdir()) == []
