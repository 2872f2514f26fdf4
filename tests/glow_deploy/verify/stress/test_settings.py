from __future__ import annotations

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.verify.stress import StressSettings


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": 0},
        {"runs": 1},
        {"attack_step": 0.0},
        {"attack_steps": 0},
        {"temperatures": ()},
        {"temperatures": (1.0, 0.5)},
        {"temperatures": (1.0, float("nan"))},
        {"passes": (0, 1)},
        {"passes": ()},
        {"seed": -1},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        StressSettings(**wrong)
