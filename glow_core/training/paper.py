"""The runs of the paper's code (Kingma & Dhariwal 2018; github.com/openai/glow, README.md and train.py). No torch here.

The code anchors batches at 32x32: a process takes 64 * (32 / side)^2 images, and ten epochs of warm-up are 500,000
anchored images, 64 of each process a step. It keeps plain 1x1 weights, pads 3x3 convolutions with a border channel,
scales by a sigmoid without a bound, and trains with Adamax at 0.001.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["PAPER_RUNS", "PaperRun", "PresetName"]

PresetName = Literal["cifar10", "imagenet32", "imagenet64", "lsun-bedroom", "celeba-hq-256"]


@dataclass(frozen=True, kw_only=True)
class PaperRun:
    """One run.

    Attributes:
        side: of the images, which have three channels.
        levels: L.
        steps: K.
        coupling: of the run.
        n_bits: of a pixel value.
        processes: GPUs that the code shared the batch among.
        data: a set of the Hugging Face hub with such images.
        images: for training in that set; None where it was not counted.
    """

    side: int
    levels: int
    steps: int
    coupling: Literal["affine", "additive"]
    n_bits: int
    processes: int
    data: str
    images: int | None

    @property
    def batch_size(self) -> int:
        """Images of a step, over all processes."""
        return self.processes * (64 * 32**2 // self.side**2)

    @property
    def warmup_steps(self) -> int:
        """Ten epochs of 50,000 anchored images."""
        return -(-10 * 50_000 // (64 * self.processes))

    def options(self) -> dict[str, Any]:
        """Return the options of `glow-deploy train` that the run stands for."""
        return {
            "data": self.data,
            "resize": True,
            "image_size": f"{self.side}x{self.side}",
            "channels": 3,
            "levels": self.levels,
            "steps": self.steps,
            "width": 512,
            "coupling": self.coupling,
            "permutation": "plain",
            "bounded_scale": False,
            "n_bits": self.n_bits,
            "edge_bias": True,
            "batch_size": self.batch_size,
            "optimizer": "adamax",
            "learning_rate": 1e-3,
            "warmup_steps": self.warmup_steps,
        }


_IMAGENET = "hf:benjamin-paine/imagenet-1k-128x128"

PAPER_RUNS: dict[PresetName, PaperRun] = {
    "cifar10": PaperRun(
        side=32, levels=3, steps=32, coupling="affine", n_bits=8, processes=8, data="hf:uoft-cs/cifar10", images=50_000
    ),
    "imagenet32": PaperRun(
        side=32, levels=3, steps=48, coupling="affine", n_bits=8, processes=8, data=_IMAGENET, images=1_281_167
    ),
    "imagenet64": PaperRun(
        side=64, levels=4, steps=48, coupling="affine", n_bits=8, processes=8, data=_IMAGENET, images=1_281_167
    ),
    "lsun-bedroom": PaperRun(
        side=64,
        levels=3,
        steps=48,
        coupling="affine",
        n_bits=8,
        processes=8,
        data="hf:pcuenq/lsun-bedrooms",
        images=None,
    ),
    "celeba-hq-256": PaperRun(
        side=256,
        levels=6,
        steps=32,
        coupling="additive",
        n_bits=5,
        processes=40,
        data="hf:korexyz/celeba-hq-256x256",
        images=28_000,
    ),
}
"""By the name that `--preset` takes."""
