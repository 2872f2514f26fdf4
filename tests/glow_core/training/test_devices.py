from __future__ import annotations

import pytest
import torch

from glow_core.errors import TrainingError
from glow_core.training.devices import make_fabric


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_an_error() -> None:
    with pytest.raises(TrainingError, match="cuda is not there"):
        make_fabric("cuda")
    assert make_fabric("auto").device.type == "cpu"
