"""Training of a Glow: `train` with its settings, and what it reports.

Only `train` and what reads checkpoints import torch, and only when first touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .data import ArrayImages, ImageSource
from .paper import PAPER_RUNS, PaperRun
from .presets import demo_config, demo_settings
from .progress import Forecast, Progress, TrainResult
from .settings import TrainSettings

if TYPE_CHECKING:
    from .cost import ModelCost, model_cost
    from .devices import device_kind
    from .evaluation import dataset_bits_per_dim
    from .loop import train
    from .plan import TrainPlan, plan_training
    from .state import RunState, read_run

__all__ = [
    "PAPER_RUNS",
    "ArrayImages",
    "Forecast",
    "ImageSource",
    "ModelCost",
    "PaperRun",
    "Progress",
    "RunState",
    "TrainPlan",
    "TrainResult",
    "TrainSettings",
    "dataset_bits_per_dim",
    "demo_config",
    "demo_settings",
    "device_kind",
    "model_cost",
    "plan_training",
    "read_run",
    "train",
]


def __getattr__(name: str) -> object:
    if name == "train":
        from .loop import train

        return train
    if name in ("RunState", "read_run"):
        from . import state

        return getattr(state, name)
    if name in ("ModelCost", "model_cost"):
        from . import cost

        return getattr(cost, name)
    if name in ("TrainPlan", "plan_training"):
        from . import plan

        return getattr(plan, name)
    if name == "device_kind":
        from .devices import device_kind

        return device_kind
    if name == "dataset_bits_per_dim":
        from .evaluation import dataset_bits_per_dim

        return dataset_bits_per_dim
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
