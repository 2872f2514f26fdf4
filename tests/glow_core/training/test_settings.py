from __future__ import annotations

import subprocess
import sys

import pytest
from training_toys import toy_settings

from glow_core.errors import ConfigError
from glow_core.training import TrainSettings


@pytest.mark.parametrize(
    "changes",
    [
        {"max_steps": None},
        {"max_steps": 0},
        {"batch_size": 0},
        {"batch_size": 1.5},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"clip_norm": float("inf")},
        {"clip_value": -1.0},
        {"ema_decay": 1.0},
        {"decay": 1.1},
        {"inverse_penalty": -0.1},
        {"inverse_penalty": float("nan")},
        {"inverse_penalty_at": "pixels"},
        {"inverse_penalty_every": 0},
        {"inverse_penalty_images": 1.5},
        {"conditioning_penalty": float("inf")},
        {"betas": (0.9,)},
        {"betas": (0.9, 1.0)},
        {"optimizer": "sgd"},
        {"memory": "little"},
        {"device": "tpu"},
        {"device": "cpu:1"},
        {"device": "cuda:\u00b2"},
        {"device": "cuda:" + "9" * 5000},
        {"seed": -1},
        {"threads": 0},
        {"max_seconds": 0.0},
        {"checkpoint_every": True},
    ],
)
def test_settings_refuse(changes: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes)) if changes != {"max_steps": None} else "no end"):
        toy_settings(**changes)


def test_settings_survive_a_dictionary() -> None:
    settings = TrainSettings(max_epochs=1.5, betas=(0.8, 0.99), device="cuda:1")
    assert TrainSettings.from_dict(settings.to_dict()) == settings
    with pytest.raises(ConfigError, match="bogus"):
        TrainSettings.from_dict({**settings.to_dict(), "bogus": 1})


def test_settings_need_no_torch() -> None:
    code = (
        "import sys; from glow_core.training import TrainSettings, ArrayImages; print('torch' in sys.modules);"
        "from glow_core.training import train; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
