from __future__ import annotations

from glow_core.model import Glow
from glow_core.training import demo_config, demo_settings


def test_the_demo_fits_its_time_and_size() -> None:
    count = sum(parameter.numel() for parameter in Glow(demo_config()).parameters())
    assert count == 332_144
    assert demo_config().bounded_scale
    # The whole demo has five minutes; export, compilation and verification need their share.
    assert demo_settings().max_seconds <= 180
    assert demo_settings(quick=True).max_steps <= 50
