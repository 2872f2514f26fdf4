"""A step in parts is the step of the whole batch, but for rounding."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from training_toys import curve, toy_training

from glow_core import load_checkpoint
from glow_core.errors import ConfigError
from glow_core.training import Forecast, TrainSettings


def figures(out: Path) -> torch.Tensor:
    with (out / "log.csv").open() as handle:
        rows = [(float(row["bits_per_dim"]), float(row["grad_norm"])) for row in csv.DictReader(handle)]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("memory", ["plain", "reversible"])
@pytest.mark.parametrize("classes", [None, 2])
def test_a_run_in_parts_is_that_of_whole_batches(tmp_path: Path, memory: str, classes: int | None) -> None:
    options = {"classes": classes, "memory": memory, "max_steps": 6, "inverse_penalty": 0.01}
    whole, parts = [], []
    toy_training(tmp_path / "whole", on_forecast=whole.append, **options)
    # 16 images in parts of 6, 5 and 5.
    toy_training(tmp_path / "parts", accumulate=3, on_forecast=parts.append, **options)
    assert torch.allclose(figures(tmp_path / "whole"), figures(tmp_path / "parts"), rtol=1e-4)
    ours, theirs = (load_checkpoint(tmp_path / name / "ckpt.pt") for name in ("whole", "parts"))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    assert isinstance(whole[0], Forecast)
    assert parts[0].memory_bytes <= whole[0].memory_bytes


def test_a_resumed_run_goes_on_in_its_parts_or_in_others(tmp_path: Path) -> None:
    toy_training(tmp_path / "whole", accumulate=2, max_steps=16)
    toy_training(tmp_path / "halves", accumulate=2, max_steps=8)
    toy_training(tmp_path / "halves", accumulate=2, max_steps=16, resume=True)
    assert curve(tmp_path / "halves") == curve(tmp_path / "whole")
    toy_training(tmp_path / "halves", accumulate=4, max_steps=18, resume=True)
    assert len(curve(tmp_path / "halves")) == 18


def test_more_parts_than_images_are_refused() -> None:
    with pytest.raises(ConfigError, match="accumulate is 9: a batch of 8 does not have so many parts"):
        TrainSettings(max_steps=1, batch_size=8, accumulate=9)
