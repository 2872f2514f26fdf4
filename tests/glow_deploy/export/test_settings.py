from __future__ import annotations

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.export import ExportSettings


@pytest.mark.parametrize(
    "values", [{"precision": "int8"}, {"weights": "best"}, {"golden": 0}, {"golden": None, "data": "faces"}]
)
def test_settings_are_checked(values):
    with pytest.raises(UsageError):
        ExportSettings(**values)


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan"), float("inf")])
def test_a_tolerance_is_a_positive_number(tolerance):
    with pytest.raises(UsageError, match="tolerance must be a number above 0"):
        ExportSettings(precision="auto", tolerance=tolerance)


def test_a_tolerance_belongs_to_auto():
    with pytest.raises(UsageError, match='precision="auto"'):
        ExportSettings(precision="mixed", tolerance=0.5)


def test_an_unknown_precision_names_the_known_ones():
    with pytest.raises(UsageError, match="bf16-mixed"):
        ExportSettings(precision="int8")


@pytest.mark.parametrize("wrong", [{"images": 255}, {"images": 0}, {"confidence": 1.0}, {"confidence": 0.1}])
def test_a_bound_that_cannot_be_is_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ExportSettings(precision="auto", **wrong)


@pytest.mark.parametrize("wrong", [{"images": 300}, {"confidence": 0.9}])
def test_the_bound_belongs_to_auto(wrong):
    with pytest.raises(UsageError, match='precision="auto"'):
        ExportSettings(precision="mixed", **wrong)
