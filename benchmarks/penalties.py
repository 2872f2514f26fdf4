"""What each training option does to a Glow's invertibility and bits/dim: one small model, trained in several ways.

Every row is the same model on the embedded faces (16x16 RGB, 5 bits, L=2) after the same number of steps from the same
seed. Gamma is the error budget in units of x: the round-trip error of a precision is proportional to it. Averaged
weights throughout. Usage: OMP_NUM_THREADS=1 python benchmarks/penalties.py [--quick] [--steps N] [--seed N]
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from glow_core import Glow, GlowConfig, load_checkpoint
from glow_core.training import TrainSettings, train
from glow_core.training.penalties import log_singular_values
from glow_deploy.data import load_images


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to train."""

    label: str
    model: dict[str, object] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)


UNBOUNDED = {"bounded_scale": False, "permutation": "plain"}
BOUNDED = {"bounded_scale": True, "permutation": "plain"}
LIGHT, FIRM = {"inverse_penalty": 0.02}, {"inverse_penalty": 0.1}
CONDITIONING = {"conditioning_penalty": 0.03}
VARIANTS = (
    Variant(label="unbounded scale", model=UNBOUNDED),
    Variant(label="  --inverse-penalty 0.02", model=UNBOUNDED, settings=LIGHT),
    Variant(label="  --inverse-penalty 0.1", model=UNBOUNDED, settings=FIRM),
    Variant(label="  --conditioning-penalty 0.03", model=UNBOUNDED, settings=CONDITIONING),
    Variant(label="bounded scale", model=BOUNDED),
    Variant(label="  --inverse-penalty 0.02", model=BOUNDED, settings=LIGHT),
    Variant(label="  both, 0.02 and 0.03", model=BOUNDED, settings={**LIGHT, **CONDITIONING}),
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a trained model is worth."""

    bits_per_dim: float
    gamma: float
    round_trip: float
    kappa: float
    non_finite: tuple[int, int]
    seconds_per_step: float


def gamma(model: Glow, x: Tensor) -> float:
    """Root of the sum over steps of (gain of decoding from there * rms there)^2, by central differences in float64."""
    model, x = model.double(), x.double()
    generator = torch.Generator().manual_seed(0)
    outputs: list[Tensor] = []
    h = x - 0.5
    latents: list[Tensor] = []
    for level in model.flow_levels():
        h, _ = level.squeeze.encode(h)
        for step in level.flow_steps():
            h, _ = step.encode(h)
            outputs.append(h)
        if level.split is not None:
            h, z, _ = level.split.encode(h)
            latents.append(z)

    def decode(h: Tensor, *, level: int, step: int) -> Tensor:
        for index in range(level, -1, -1):
            stage = model.flow_levels()[index]
            if index < level and stage.split is not None:
                h, step = stage.split.decode(h, latents[index]), len(stage.steps) - 1
            for inverse in reversed(stage.flow_steps()[: step + 1]):
                h = inverse.decode(h)
            h = stage.squeeze.decode(h)
        return h

    total = 0.0
    places = [(level, step) for level in range(len(model.levels)) for step in range(model.config.steps)]
    for (level, step), output in zip(places, outputs, strict=True):
        rms = float(output.square().mean().sqrt())
        v = torch.randint(0, 2, output.shape, generator=generator).double().mul_(2).sub_(1)
        delta = 1e-7 * rms
        moved = decode(output + delta * v, level=level, step=step) - decode(output - delta * v, level=level, step=step)
        total += float((moved / 2e-7).square().mean())
    return math.sqrt(total)


@torch.no_grad()
def measure(variant: Variant, *, config: GlowConfig, settings: TrainSettings, samples: int) -> Figures:
    """Train one variant in a folder that is thrown away, and measure it."""
    train_images, validation_images = (load_images("faces", split=split) for split in ("train", "validation"))
    with tempfile.TemporaryDirectory() as name, torch.enable_grad():
        start = time.process_time()
        result = train(
            config, train_images=train_images, validation_images=validation_images, out=Path(name), settings=settings
        )
        seconds = time.process_time() - start
        model = load_checkpoint(result.checkpoint)
    assert result.validation_bits_per_dim is not None
    logs = [log_singular_values(level.flow_steps()) for level in model.flow_levels()]
    generator = torch.Generator().manual_seed(0)
    non_finite = []
    for temperature in (0.7, 1.0):
        drawn = model.sample(samples, temperature=temperature, generator=generator)
        non_finite.append(samples - int(torch.isfinite(drawn).all(dim=(1, 2, 3)).sum()))
    pixels = validation_images.batch(np.arange(64)) >> (8 - config.n_bits)
    x = (torch.from_numpy(pixels).float() + 0.5) / 2**config.n_bits
    error = model.decode(model.encode(x)[0]).double() - x
    return Figures(
        bits_per_dim=result.validation_bits_per_dim,
        round_trip=float(error.square().mean().sqrt()),
        kappa=math.exp(max(float((log.amax(1) - log.amin(1)).max()) for log in logs)),
        non_finite=(non_finite[0], non_finite[1]),
        seconds_per_step=seconds / result.step,
        gamma=gamma(model, x),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a model of 1 step and width 4, to see that it runs")
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps of every row")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    size = {"steps": 1, "width": 4} if options.quick else {"steps": 8, "width": 32}
    samples = 16 if options.quick else 2000
    count = 4 if options.quick else options.steps
    table = Table(
        title=f"16x16 faces, 5 bits, L=2, K={size['steps']}, width {size['width']}; {count} steps of 64 images"
    )
    columns = ("trained with", "bits/dim", "Gamma", "round trip, rms", "kappa", "lost at T=0.7", "at T=1", "CPU s/step")
    for column in columns:
        table.add_column(column, justify="left" if column == "trained with" else "right")
    for variant in VARIANTS:
        config = GlowConfig(image_size=(16, 16), channels=3, levels=2, n_bits=5, **size, **variant.model)
        settings = TrainSettings(
            max_steps=count,
            learning_rate=1e-2,
            warmup_steps=50,
            decay=0.5,
            clip_norm=20.0,
            ema_decay=0.99,
            seed=options.seed,
            validate_every=None,
            validation_images=None,
            checkpoint_every=None,
            checkpoint_seconds=None,
            sample_count=0,
            device="cpu",
            threads=1,
            tensorboard=False,
            **variant.settings,
        )
        found = measure(variant, config=config, settings=settings, samples=samples)
        cells = (
            f"{found.bits_per_dim:.3f}",
            f"{found.gamma:.2f}",
            f"{found.round_trip:.1e}",
            f"{found.kappa:.1f}",
            *(f"{100 * lost / samples:.2f} %" for lost in found.non_finite),
            f"{found.seconds_per_step:.3f}",
        )
        table.add_row(variant.label, *cells)
        print(variant.label, *cells, flush=True)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
