from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # direction_toys.py and spoiled_engines.py are imported by name


@pytest.fixture(scope="module")
def found():
    """Directions measured on the toys."""
    from direction_toys import MODEL, toys

    from glow_deploy.directions.directions import measure_directions
    from glow_deploy.engines.example import example_pair

    return measure_directions(*example_pair(), toys(), model_id=MODEL)
