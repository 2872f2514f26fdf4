"""`train` keeps its options, their defaults and their panels, and each one reaches the run."""

from __future__ import annotations

from dataclasses import fields

import pytest
from glow_cli.catalogue import load
from glow_cli.common.train_options import deployable, files, length, model, optimization, run

PANELS = {
    None: {
        "--data": None,
        "--out/-o": None,
        "--resume": None,
        "--init": None,
        "--weights": "ema",
        "--device": "auto",
        "--threads": None,
        "--memory": "auto",
        "--precision": "float32",
        "--preset": None,
        "--dry-run": False,
        "--resize": False,
        "--skip-unreadable": False,
        "--force": False,
        "--json": None,
        "--quiet/-q": False,
    },
    "What files of images do not say": {"--layout": None, "--float-range": None, "--depth": None},
    "How long": {"--max-steps": None, "--max-epochs": None, "--max-seconds": None},
    "Model": {
        "--image-size": None,
        "--channels": None,
        "--levels": 3,
        "--steps": 32,
        "--width": 512,
        "--coupling": "affine",
        "--permutation": "lu",
        "--bounded-scale/--unbounded-scale": True,
        "--n-bits": 8,
        "--edge-bias/--no-edge-bias": False,
        "--prior": "conditional",
        "--class-conditional": False,
    },
    "Optimization": {
        "--batch-size": 64,
        "--accumulate": 1,
        "--optimizer": "adamax",
        "--learning-rate/--lr": 0.001,
        "--warmup-steps": 100,
        "--decay": 0.0,
        "--weight-decay": 0.0,
        "--clip-norm": 100.0,
        "--ema-decay": 0.999,
        "--seed": 0,
    },
    "Made to be deployed": {
        "--inverse-penalty": 0.0,
        "--inverse-penalty-at": "steps",
        "--inverse-penalty-every": 1,
        "--inverse-penalty-images": 8,
        "--conditioning-penalty": 0.0,
        "--exact-aware": False,
    },
    "What is written": {
        "--validate-every": 1000,
        "--validation-images": 1024,
        "--checkpoint-every": 1000,
        "--sample-every": 1000,
        "--tensorboard/--no-tensorboard": True,
    },
}
GROUPS = {
    "How long": length.LengthOptions,
    "Model": model.ModelOptions,
    "Optimization": optimization.OptimizationOptions,
    "Made to be deployed": deployable.DeployableOptions,
    "What is written": files.FilesOptions,
}


@pytest.fixture(scope="module")
def options():
    return load("train").params


def test_options_defaults_and_panels(options):
    """In this order, which is that of the help."""
    found: dict[str | None, dict[str, object]] = {}
    for option in options:
        spelling = "/".join([*option.opts, *option.secondary_opts])
        found.setdefault(option.rich_help_panel, {})[spelling] = option.default
    assert found == PANELS
    assert list(found) == list(PANELS)
    assert all(list(found[panel]) == list(PANELS[panel]) for panel in PANELS)


def test_every_option_has_help(options):
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("panel", GROUPS)
def test_a_group_holds_the_options_of_its_panel(options, panel):
    named = [option.name for option in options if option.rich_help_panel == panel]
    assert [field.name for field in fields(GROUPS[panel])] == named


def test_the_run_holds_the_options_without_a_panel(options):
    panels = (None, "What files of images do not say")
    named = {option.name for option in options if option.rich_help_panel in panels} - {"json", "quiet"}
    assert {field.name for field in fields(run.RunOptions)} == named


def test_every_option_reaches_the_run(invoke, place):
    """Every option at a value that is not its default, in one of two runs."""
    import numpy as np

    from glow_core.training import TrainSettings, read_run

    values = np.random.default_rng(0).integers(0, 256, (24, 4, 8), dtype=np.uint8)
    np.savez(place / "images.npz", images=values, labels=np.arange(24) % 2)
    shape = {
        "levels": 1, "steps": 2, "width": 3, "coupling": "additive", "permutation": "plain", "n_bits": 4,
        "prior": "independent",
    }  # fmt: skip
    settings = {
        "max_steps": 2, "max_epochs": 99.0, "max_seconds": 999.0,
        "batch_size": 5, "optimizer": "adam", "learning_rate": 0.002, "warmup_steps": 7, "decay": 0.25,
        "weight_decay": 0.01, "ema_decay": 0.5, "seed": 3,
        "inverse_penalty": 0.01, "inverse_penalty_at": "latents", "inverse_penalty_every": 2,
        "inverse_penalty_images": 3, "conditioning_penalty": 0.02,
        "device": "cpu", "threads": 1, "memory": "checkpoint",
    }  # fmt: skip
    words = [
        word for name, value in {**shape, **settings}.items() for word in ("--" + name.replace("_", "-"), str(value))
    ]
    flags = (
        "--unbounded-scale",
        "--edge-bias",
        "--class-conditional",
        "--no-tensorboard",
        "--exact-aware",
        "--clip-norm",
        "0",
    )
    size = ("--image-size", "8x4", "--channels", "3", "--resize")
    never = ("--validate-every", "0", "--validation-images", "0", "--checkpoint-every", "0", "--sample-every", "0")
    result = invoke("train", "--data", "images.npz", "--out", "run", *words, *flags, *size, *never, "--quiet")
    assert result.exit_code == 0, result.output
    state = read_run(place / "run")
    config = state.config
    assert {name: getattr(config, name) for name in shape} == shape
    assert (config.image_size, config.channels, config.num_classes) == ((8, 4), 3, 2)
    assert (config.bounded_scale, config.edge_bias) == (False, True)
    none = ("clip_norm", "validate_every", "validation_images", "checkpoint_every", "sample_every")
    assert state.settings == TrainSettings(**settings, **dict.fromkeys(none), tensorboard=False, exact_aware=True)
    assert dict(state.notes) == {"data": "images.npz", "resize": "yes"}

    files = ("--validate-every", "3", "--validation-images", "4", "--checkpoint-every", "5", "--sample-every", "6")
    small = ("--levels", "1", "--steps", "1", "--width", "2", "--clip-norm", "2.5", "--max-steps", "1", "--quiet")
    small += ("--accumulate", "2")  # which does not go with --exact-aware
    assert invoke("train", "--data", "images.npz", "--out", "other", *files, *small).exit_code == 0
    found = read_run(place / "other").settings
    assert (found.validate_every, found.validation_images, found.checkpoint_every, found.sample_every) == (3, 4, 5, 6)
    assert (found.clip_norm, found.tensorboard, found.accumulate) == (2.5, True, 2)
