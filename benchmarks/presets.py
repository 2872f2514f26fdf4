"""One step of each of the paper's runs at full size on random images, with few images at a time.

Usage:
    python benchmarks/presets.py [--preset NAME ...] [--images N] [--memory WAY]
"""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from glow_core import GlowConfig
from glow_core.training import PAPER_RUNS, TrainSettings, plan_training

OF_THE_MODEL = ("levels", "steps", "width", "coupling", "permutation", "bounded_scale", "n_bits", "edge_bias")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", nargs="+", choices=list(PAPER_RUNS), default=list(PAPER_RUNS))
    parser.add_argument("--images", type=int, default=1, help="of a step")
    parser.add_argument("--memory", choices=["plain", "checkpoint", "reversible"], default="checkpoint")
    options = parser.parse_args()
    table = Table(title=f"one step of {options.images} images, --memory {options.memory}")
    for column in ("preset", "parameters", "memory, GB", "of it activations, GB", "seconds"):
        table.add_column(column, justify="left" if column == "preset" else "right")
    for name in options.preset:
        run = PAPER_RUNS[name]
        told = {option: value for option, value in run.options().items() if option in OF_THE_MODEL}
        config = GlowConfig(image_size=(run.side, run.side), channels=3, **told)
        settings = TrainSettings(max_steps=1, batch_size=options.images, memory=options.memory, init_images=1)
        plan = plan_training(config, settings)
        figures = (plan.memory_bytes / 1e9, plan.activation_bytes / 1e9, plan.step_seconds)
        table.add_row(name, f"{plan.parameters:,}", *(f"{figure:.2f}" for figure in figures))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
