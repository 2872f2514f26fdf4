"""Trains variants of one flow on equal budgets, and keeps what came of it in a file that grows run by run."""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glow_core import Glow, GlowConfig
from glow_core.temporaries import temporary_name
from glow_core.training import TrainSettings
from glow_core.training.data import ImageSource, fingerprint, read_batch
from glow_core.training.ema import AveragedWeights
from glow_core.training.evaluation import dataset_bits_per_dim
from glow_core.training.optimization import learning_rate, make_optimizer, set_hyperparameters
from glow_core.training.sampler import ShuffledSampler, dequantize, derive_seed, draw_noise, generator_for

__all__ = ["Budget", "Results", "Run", "Variant", "train_run"]

_POINTS = 40  # of a curve


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One flow to compare.

    Attributes:
        name: in tables and files.
        changes: of the config that all variants share.
        build: makes the untrained model of a config.
    """

    name: str
    changes: Mapping[str, Any]
    build: Callable[[GlowConfig], Glow] = Glow


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What all variants are given alike."""

    config: GlowConfig
    settings: TrainSettings


@dataclass(frozen=True, kw_only=True)
class Run:
    """One trained variant.

    Attributes:
        variant, seed: which one.
        config, settings: all of both.
        images, test_images: fingerprints, SHA-256.
        parameters: of the model.
        curve: step, and bits/dim of the training batches since the point before.
        bits_per_dim: of all test images, by averaged weights.
        seconds: of CPU time a step.
        made: versions of Python and torch, the commit and the date.
    """

    variant: str
    seed: int
    config: Mapping[str, Any]
    settings: Mapping[str, Any]
    images: str
    test_images: str
    parameters: int
    curve: tuple[tuple[int, float], ...]
    bits_per_dim: float
    seconds: float
    made: Mapping[str, str]


class Results:
    """The runs in a JSON file.

    Args:
        path: read if it is there; written whole after each run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        found = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []
        self.runs: list[dict[str, Any]] = found

    def of(self, variant: Variant, budgets: Sequence[Budget]) -> list[dict[str, Any]]:
        """Return this variant's runs of these very budgets, by seed."""
        wanted = [(_config(variant, budget).to_dict(), _settings(budget)) for budget in budgets]
        runs = [run for run in self.runs if run["variant"] == variant.name]
        return [run for run in runs if (run["config"], run["settings"]) in wanted]

    def check_images(self, images: ImageSource, test_images: ImageSource) -> None:
        """End the script where a run saw other images than these."""
        ours = [fingerprint(part).partition(":")[0] for part in (images, test_images)]
        for run in self.runs:
            if [run["images"], run["test_images"]] != ours:
                sys.exit(f"{self.path} holds runs on other images; give another --out")

    def add(self, run: Run) -> None:
        """Keep one more."""
        self.runs.append(json.loads(json.dumps(dataclasses.asdict(run))))
        self.runs.sort(key=lambda kept: (kept["variant"], kept["seed"]))
        lines = ",\n".join(json.dumps(kept) for kept in self.runs)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(temporary_name(self.path.name))
        temporary.write_text(f'{{"runs": [\n{lines}\n]}}\n', encoding="utf-8")
        temporary.replace(self.path)


def _config(variant: Variant, budget: Budget) -> GlowConfig:
    return dataclasses.replace(budget.config, **variant.changes)


def _settings(budget: Budget) -> dict[str, Any]:
    """What the curve hangs on."""
    names = ("max_steps", "batch_size", "optimizer", "learning_rate", "warmup_steps", "decay", "clip_norm", "ema_decay")
    return {name: getattr(budget.settings, name) for name in (*names, "init_images", "seed", "threads")}


def train_run(variant: Variant, budget: Budget, *, images: ImageSource, test_images: ImageSource) -> Run:
    """Train one variant as `glow-deploy train` does: the same images, noise, optimizer and averages."""
    config, settings = _config(variant, budget), budget.settings
    assert settings.max_steps is not None
    torch.manual_seed(derive_seed(settings.seed, "weights"))
    model = variant.build(config).train()
    sampler = ShuffledSampler(len(images), batch_size=settings.batch_size, seed=settings.seed)

    def batch(indices: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        pixels = read_batch(images, indices, config)
        return dequantize(pixels, draw_noise(pixels.shape, generator), n_bits=config.n_bits)

    count = min(settings.init_images, len(images))
    first = ShuffledSampler(len(images), batch_size=count, seed=settings.seed).batch(1)
    model.initialize(batch(first, generator_for(settings.seed, "initialization")))
    averaged = AveragedWeights(model, decay=settings.ema_decay)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(trained, settings)
    every = max(1, settings.max_steps // _POINTS)
    curve: list[tuple[int, float]] = []
    since: list[float] = []
    start = time.process_time()
    for step in range(1, settings.max_steps + 1):
        rate = learning_rate(step, settings, progress=(step - 1) / settings.max_steps)
        set_hyperparameters(optimizer, settings, rate=rate)
        log_prob = model(batch(sampler.batch(step), generator_for(settings.seed, "noise", step)))
        loss = -log_prob.mean() / (config.dims * np.log(2))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, settings.clip_norm or np.inf)
        optimizer.step()
        averaged.update(model, step=step)
        since.append(config.n_bits + float(loss.detach()))
        if step % every == 0:
            curve.append((step, round(float(np.mean(since)), 4)))
            since.clear()
    seconds = (time.process_time() - start) / settings.max_steps
    return Run(
        variant=variant.name,
        seed=settings.seed,
        config=config.to_dict(),
        settings=_settings(budget),
        images=fingerprint(images).partition(":")[0],
        test_images=fingerprint(test_images).partition(":")[0],
        parameters=sum(parameter.numel() for parameter in trained),
        curve=tuple(curve),
        bits_per_dim=round(dataset_bits_per_dim(averaged.model, test_images), 5),
        seconds=round(seconds, 4),
        made=_made(),
    )


def _made() -> dict[str, str]:
    here = str(Path(__file__).parent)
    asked = ["git", "-C", here, "describe", "--always", "--dirty", "--exclude", "*"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False)
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": told.stdout.strip() or "none",
        "date": time.strftime("%Y-%m-%d"),
    }
