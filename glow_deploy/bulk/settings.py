"""What a bulk run does with every row, and where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from glow_deploy.arguments import (
    as_choice,
    as_flag,
    as_instance,
    as_real,
    as_seed,
    as_several,
    as_text,
    as_whole,
    is_several,
    settle,
)
from glow_deploy.errors import UsageError

__all__ = ["ENGINES", "FORMATS", "Action", "BulkSettings", "EngineName", "Format", "Where"]

Action = Literal["encode", "score", "sample", "edit"]
EngineName = Literal["local", "ray"]
Format = Literal["parquet", "npz"]

ENGINES: tuple[EngineName, ...] = get_args(EngineName)
FORMATS: tuple[Format, ...] = get_args(Format)

_PICTURES: tuple[Action, ...] = ("encode", "score", "edit")
_ONLY_FOR: Mapping[str, tuple[Action, ...]] = {
    "draws": ("encode", "score"),
    "seed": ("encode", "score", "sample"),
    "temperature": ("sample",),
    "beyond": ("edit",),
    "resize": _PICTURES,
    "skip_unreadable": _PICTURES,
    "column": _PICTURES,
}
_HOTTEST = 100.0
_MOST_SHARD_ROWS = 1 << 24


@dataclass(frozen=True, kw_only=True)
class BulkSettings:
    """What is done with every row. All of it but `skip_unreadable` decides what the shards hold.

    Attributes:
        draws: encode and score: dequantisation draws that bits/dim is averaged over; 0 only for encode. Each costs one
            more run of the encoder.
        seed: of those draws, or of the samples, 0 .. 2^64-1.
        batch: rows run at once.
        labels: for class-conditional models: one class for all pictures; sample k is of class
            `labels[k % len(labels)]`.
        best_class: take each picture as the class that makes it likeliest.
        count: sample: how many.
        temperature: sample: of every latent, or one a level, z1 first.
        attributes: edit: amount by attribute.
        beyond: edit: amounts may leave the measured ranges.
        resize: fit pictures of another size or mode.
        skip_unreadable: leave out pictures that cannot be read, and list them, instead of ending the run.
        column: of pictures in Parquet files; None for the only one that can be.
        format: of the shards written.
        shard_rows: rows of each; None takes a size that keeps a shard below 256 MiB, 4096 rows at most.
    """

    draws: int = 8
    seed: int = 0
    batch: int = 64
    labels: tuple[int, ...] | None = None
    best_class: bool = False
    count: int | None = None
    temperature: float | tuple[float, ...] = 0.7
    attributes: Mapping[str, float] = field(default_factory=dict)
    beyond: bool = False
    resize: bool = False
    skip_unreadable: bool = False
    column: str | None = None
    format: Format = "parquet"
    shard_rows: int | None = None

    def __post_init__(self) -> None:
        settle(self, as_whole, "draws", least=0)
        settle(self, as_seed, "seed")
        settle(self, as_whole, "batch", least=1)
        settle(self, as_several, "labels", optional=True, check=as_whole, least=0)
        settle(self, as_whole, "count", optional=True, least=1, most=2**62)
        settle(self, as_flag, "best_class", "beyond", "resize", "skip_unreadable")
        settle(self, as_text, "column", optional=True)
        settle(self, as_choice, "format", choices=FORMATS)
        settle(self, as_whole, "shard_rows", optional=True, least=1, most=_MOST_SHARD_ROWS)
        if is_several(self.temperature):
            settle(self, as_several, "temperature", check=as_real, least=0, most=_HOTTEST)
        else:
            settle(self, as_real, "temperature", least=0, most=_HOTTEST)
        settle(self, as_instance, "attributes", kind=Mapping)
        amounts = {as_text("attributes", name): as_real(name, amount) for name, amount in self.attributes.items()}
        object.__setattr__(self, "attributes", amounts)

    def check_for(self, action: Action) -> None:
        """Refuse what an action cannot do.

        Raises:
            UsageError: an option is missing, or belongs to another action.
        """
        if action == "sample" and self.count is None:
            raise UsageError("say how many samples to draw: count=")
        if action != "sample" and self.count is not None:
            raise UsageError(f"count= is for sample; {action} takes every picture of its inputs")
        if action == "score" and self.draws < 1:
            raise UsageError("draws is 0; a score is averaged over at least one draw of noise")
        if action == "edit" and not self.attributes:
            raise UsageError("say what to add with attributes=")
        if action != "edit" and self.attributes:
            raise UsageError(f"attributes= are for edit, not for {action}")
        if action != "sample" and self.labels is not None and len(self.labels) != 1:
            raise UsageError(f"{len(self.labels)} classes were given; give one for all pictures")
        if action == "sample" and self.best_class:
            raise UsageError("samples have no likeliest class: give numbers, or all")
        for name, actions in _ONLY_FOR.items():
            if action not in actions and getattr(self, name) != getattr(type(self), name):
                raise UsageError(f"{name}= does nothing in {action}; it is for {' and '.join(actions)}")


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where the work is done. None of it changes a result.

    Attributes:
        engine: `local`, in this process, or `ray`, in workers of a Ray cluster.
        workers: ray: how many processes; None takes as many as the cluster has room for.
        address: ray: of a cluster that runs; None starts one on this machine, or takes what RAY_ADDRESS names.
        threads: CPU threads of each worker; None takes 1 on Ray, and all cores locally.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        flavor: which engines of the bundle.
        trust_engine: run plans without a matching sidecar.
    """

    engine: EngineName = "local"
    workers: int | None = None
    address: str | None = None
    threads: int | None = None
    device: str = "auto"
    flavor: str = "onnx"
    trust_engine: bool = False

    def __post_init__(self) -> None:
        settle(self, as_choice, "engine", choices=ENGINES)
        settle(self, as_whole, "workers", optional=True, least=1, most=1 << 20)
        settle(self, as_whole, "threads", optional=True, least=1, most=4096)
        settle(self, as_text, "address", optional=True)
        settle(self, as_flag, "trust_engine")
        if self.engine == "ray" and self.threads is None:
            object.__setattr__(self, "threads", 1)  # here, so that engines and the room they are given agree
        if self.engine == "local" and (self.workers is not None or self.address is not None):
            named = "workers=" if self.workers is not None else "address="
            raise UsageError(f'{named} is for engine="ray"; the local engine is this process')
