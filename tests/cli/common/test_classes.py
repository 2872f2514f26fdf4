from __future__ import annotations

import pytest
from glow_cli.common.classes import parse_classes

from glow_deploy.errors import UsageError


def test_classes():
    assert parse_classes(None) is None
    assert parse_classes("0, 2") == (0, 2)
    with pytest.raises(UsageError, match="whole numbers"):
        parse_classes("-1")
    assert parse_classes("9" * 9) == (999_999_999,)
    for huge in ("9" * 10, "9" * 5000, f"0,{'9' * 30}"):
        with pytest.raises(UsageError, match="whole numbers"):
            parse_classes(huge)
