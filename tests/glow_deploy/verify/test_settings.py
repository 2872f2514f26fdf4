from __future__ import annotations

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.verify import VerifySettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0},
        {"limit": 3},
        {"data": "d", "limit": 0},
        {"random_draws": -1},
        {"seed": -1},
        {"temperatures": (-1.0,)},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError):
        VerifySettings(**wrong)
