from __future__ import annotations

import pytest
from glow_cli.common.numbers import parse_amounts, parse_attributes, parse_temperatures

from glow_deploy.errors import UsageError


def test_attributes_and_amounts():
    assert parse_attributes(["a=1.5", "b", "c=d=-2"]) == {"a": 1.5, "b": 1.0, "c=d": -2.0}
    with pytest.raises(UsageError, match="given twice"):
        parse_attributes(["a=1", "a"])
    assert parse_amounts(None) == (1.0,)
    assert parse_amounts("-1, 0,.5") == (-1.0, 0.0, 0.5)
    for bad in ("", "1;2", "inf"):
        with pytest.raises(UsageError, match="no number"):
            parse_amounts(bad)


def test_temperatures():
    assert parse_temperatures("0.5,0.7, 1", "--sweep") == (0.5, 0.7, 1.0)
    for bad in ("", "hot", "-1", "nan", "101", "0.7;1"):
        with pytest.raises(UsageError, match=r"--sweep is .* give numbers from 0 to 100"):
            parse_temperatures(bad, "--sweep")
