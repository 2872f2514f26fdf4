from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # linear_flow.py beside the tests is imported by name


@pytest.fixture
def latents():
    """Three pictures of as many classes, encoded."""
    import numpy as np
    from linear_flow import LinearFlow, pictures

    from glow_deploy.latents import encode_images

    return encode_images(
        LinearFlow("encoder", classes=True), pictures(3), names=["a.png", "b.png", "ü.png"], labels=np.arange(3)
    )
