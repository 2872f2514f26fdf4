"""What the paper claims of its parts, tried on data that fits a laptop: equal budgets, several seeds.

    permutations   figure 3: reverse, shuffle and 1x1 convolution, plain and by its LU factors; additive and affine
    actnorm        section 3.1: without its start from the data, and without any actnorm in the trunk
    realnvp        table 2: a RealNVP (masks of Dinh et al. 2016, see _realnvp.py) beside the Glow

All variants of a data set share image order, noise, optimizer, steps and test images. Runs are kept in
OUT/claims-NAME.json as they end, and never made twice: stop and start again as you like. The table and the picture
OUT/CLAIM-NAME.png are made of those of the seeds that are asked for. Usage:
    OMP_NUM_THREADS=1 python benchmarks/claims.py CLAIM [--data faces|FOLDER] [--out docs/results] [--seeds 0 1 2]
        [--only-table] [--quick]
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _claims import Budget, Results, Variant, train_run
from _realnvp import RealNvp
from rich.console import Console
from rich.table import Table

from glow_core import Glow, GlowConfig
from glow_core.flows import ActNorm
from glow_core.training import TrainSettings
from glow_deploy.data import load_images


def without_actnorm(config: GlowConfig, *, trunk: bool) -> Glow:
    """A Glow whose actnorms start at the identity; those of the trunk stay there, unless `trunk`."""
    model = Glow(config)
    for module in model.modules():
        if isinstance(module, ActNorm):
            module.initialized.fill_(1)
    for level in model.flow_levels():
        for step in level.flow_steps():
            step.actnorm.requires_grad_(trunk)
    return model


KINDS = {"reverse": "reverse", "shuffle": "shuffle", "1x1 plain": "plain", "1x1 LU": "lu"}
PERMUTATIONS = tuple(
    Variant(name=f"{coupling}, {label}", changes={"coupling": coupling, "permutation": kind})
    for coupling in ("additive", "affine")
    for label, kind in KINDS.items()
)
GLOW = PERMUTATIONS[-1]
CLAIMS: dict[str, tuple[Variant, ...]] = {
    "permutations": PERMUTATIONS,
    "actnorm": (
        GLOW,
        Variant(name="actnorms start at the identity", changes={}, build=partial(without_actnorm, trunk=True)),
        Variant(name="no actnorm in the trunk", changes={}, build=partial(without_actnorm, trunk=False)),
    ),
    "realnvp": (GLOW, Variant(name="RealNVP", changes={}, build=RealNvp)),
}


def budget_of(data: str, *, seed: int, quick: bool) -> Budget:
    """What each variant of a data set is given."""
    faces = data == "faces"
    sizes = {"steps": 2, "width": 4} if quick else {"steps": 8, "width": 32}
    return Budget(
        config=GlowConfig(
            image_size=(16, 16) if faces else (28, 28),
            channels=3 if faces else 1,
            levels=2,
            bounded_scale=False,
            n_bits=5 if faces else 8,
            **sizes,
        ),
        settings=TrainSettings(
            max_steps=4 if quick else 1000,
            batch_size=32,
            learning_rate=5e-3,
            warmup_steps=50,
            decay=0.3,
            clip_norm=20.0,
            ema_decay=0.99,
            init_images=256,
            seed=seed,
            threads=1,
        ),
    )


Runs = dict[str, list[dict[str, Any]]]


def table_of(found: Runs, *, title: str) -> Table:
    """Test bits/dim of each variant: the mean over its seeds, and each."""
    table = Table(title=title, title_justify="left")
    for column in ("variant", "bits/dim", "each seed", "above the best", "parameters", "CPU s/step"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    means = {name: float(np.mean([run["bits_per_dim"] for run in runs])) for name, runs in found.items()}
    for name, mean in means.items():
        runs = found[name]
        table.add_row(
            name,
            f"{mean:.3f}",
            " ".join(f"{run['bits_per_dim']:.3f}" for run in runs),
            f"{mean - min(means.values()):+.3f}",
            f"{runs[0]['parameters']:,}",
            f"{np.mean([run['seconds'] for run in runs]):.3f}",
        )
    return table


def draw(found: Runs, path: Path, *, title: str) -> None:
    """Draw the curves: the mean over seeds, and a band from the lowest to the highest."""
    from matplotlib.figure import Figure

    additive = [name for name in found if name.startswith("additive")]
    shown = [group for group in (additive, [name for name in found if name not in additive]) if group]
    figure = Figure(figsize=(5 * len(shown), 3.6), layout="constrained")
    axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    curves = {name: np.array([run["curve"] for run in runs]) for name, runs in found.items()}
    for axis, group in zip(axes, shown, strict=True):
        for name in group:
            steps, values = curves[name][0, :, 0], curves[name][:, :, 1]
            (line,) = axis.plot(steps, values.mean(axis=0), label=name)
            axis.fill_between(steps, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.2, lw=0)
        late = np.concatenate([curve[:, 3:, 1].ravel() for curve in curves.values()])
        axis.set_ylim(late.min() - 0.05, np.quantile(late, 0.97) + 0.01)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    axes[0].set_ylabel("bits/dim of training batches")
    figure.suptitle(title if len(shown) > 1 else title.replace(": ", "\n"), fontsize=10)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claim", choices=CLAIMS)
    parser.add_argument("--data", default="faces", help="`faces`, or the folder of Fashion-MNIST or MNIST")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only-table", action="store_true", help="train nothing")
    parser.add_argument("--quick", action="store_true", help="a tiny model and 4 steps, to see that it runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    name, variants = Path(options.data).name + ("-quick" if options.quick else ""), CLAIMS[options.claim]
    results = Results(options.out / f"claims-{name}.json")
    budgets = [budget_of(options.data, seed=seed, quick=options.quick) for seed in options.seeds]
    missing = [(v, b) for b in budgets for v in variants if not results.of(v, [b]) and not options.only_table]
    if missing:
        size = budgets[0].config.image_size
        limit = 64 if options.quick else None
        images, test_images = (
            load_images(options.data, split=split, size=size, limit=limit) for split in ("train", "test")
        )
        results.check_images(images, test_images)
        for number, (variant, budget) in enumerate(missing, start=1):
            run = train_run(variant, budget, images=images, test_images=test_images)
            results.add(run)
            told = f"{run.bits_per_dim:.4f} bits/dim, {run.seconds:.3f} CPU s a step"
            print(f"{number} of {len(missing)}: {variant.name}, seed {run.seed}: {told}", flush=True)
    found = {variant.name: runs for variant in variants if (runs := results.of(variant, budgets))}
    if not found:
        sys.exit(f"{results.path} holds no such run; leave --only-table away")
    config, settings = budgets[0].config, budgets[0].settings
    height, width = config.image_size
    title = (
        f"{options.claim}, {name}: {height}x{width}x{config.channels}, {config.n_bits} bits, L={config.levels}, "
        f"K={config.steps}, width {config.width}, {settings.max_steps} steps of {settings.batch_size}"
    )
    Console(width=120).print(table_of(found, title=title))
    draw(found, options.out / f"{options.claim}-{name}.png", title=title)


if __name__ == "__main__":
    main()
