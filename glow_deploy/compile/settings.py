"""What to compile for: one frozen description shared by the command line and the Python API."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, get_args

from glow_deploy.arguments import as_choice, as_flag, as_path, as_several, as_text, as_whole, settle
from glow_deploy.artifact.flavors import Flavor
from glow_deploy.engines.device import as_device
from glow_deploy.errors import UsageError

__all__ = ["RTX_GPUS", "CompileOptions", "CompileSettings"]

RTX_GPUS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
"""Compute capabilities TensorRT for RTX can target. Hopper and data-centre Blackwell are not among them."""

_DEFAULT_RTX_GPUS = RTX_GPUS[1:]  # Turing has to be asked for: some models fail to compile for it


@dataclass(frozen=True, kw_only=True)
class CompileSettings:
    """How to compile a bundle.

    Attributes:
        flavor: `rtx` (TensorRT for RTX; compiles without a GPU, for the GPUs named) or `tensorrt` (standard; compiles
            on and for the GPU in this machine).
        min_batch: the smallest batch the plan takes at once, >= 1. The engine pads smaller ones.
        opt_batch: the batch it is tuned for; None means 8, or the nearest to it between `min_batch` and `max_batch`.
        max_batch: the largest batch it takes at once, <= 65536. The engine splits larger ones.
        gpus: `rtx` only: compute capabilities such as `sm86`; empty means every one from Ampere on (`RTX_GPUS` without
            `sm75`).
        tf32: allow TF32 in convolutions. It costs about three decimal digits, which a flow does not forgive.
        opt_level: `tensorrt` only: builder optimization level 0 to 5; None leaves TensorRT's own (3).
        timing_cache: `tensorrt` only: file of kernel timings, read if it is there and written afterwards, which makes
            the next build faster and its choice of kernels repeatable.
        version_compatible: `tensorrt` only: newer releases of the same major may run the plan, through the lean
            runtime installed there. No host code is put into the plan.
        hardware_compatible: `tensorrt` only: every GPU from Ampere on may run the plan, somewhat slower.
        device: `tensorrt` only: the GPU to compile on and for, `cuda` or `cuda:N`.

    Raises:
        UsageError: a value out of range, or one that the flavour has no use for.
    """

    flavor: Flavor = "rtx"
    min_batch: int = 1
    opt_batch: int | None = None
    max_batch: int = 32
    gpus: tuple[str, ...] = ()
    tf32: bool = False
    opt_level: int | None = None
    timing_cache: Path | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    device: str = "cuda"

    def __post_init__(self) -> None:
        settle(self, as_choice, "flavor", choices=get_args(Flavor))
        settle(self, as_whole, "min_batch", "max_batch")
        settle(self, as_whole, "opt_batch", optional=True)
        settle(self, as_several, "gpus", check=as_text)
        settle(self, as_whole, "opt_level", optional=True, least=0, most=5)
        settle(self, as_path, "timing_cache", optional=True)
        settle(self, as_flag, "tf32", "version_compatible", "hardware_compatible")
        settle(self, as_device, "device")
        smallest, preferred, largest = self.profile
        if not 1 <= smallest <= preferred <= largest <= 65536:
            raise UsageError(
                f"batch sizes must satisfy 1 <= min <= opt <= max <= 65536; got {smallest}, {preferred}, {largest}"
            )
        if self.flavor == "rtx":
            self._check_rtx()
        elif self.gpus:
            raise UsageError('standard TensorRT compiles for the GPU in this machine; gpus= belongs to flavor="rtx"')

    @property
    def profile(self) -> tuple[int, int, int]:
        """Smallest, preferred and largest batch."""
        preferred = min(max(8, self.min_batch), self.max_batch) if self.opt_batch is None else self.opt_batch
        return self.min_batch, preferred, self.max_batch

    @property
    def targets(self) -> tuple[str, ...]:
        """The compute capabilities to compile for with `rtx`, ascending; empty for `tensorrt`."""
        if self.flavor != "rtx":
            return ()
        return tuple(gpu for gpu in RTX_GPUS if gpu in (self.gpus or _DEFAULT_RTX_GPUS))

    def _check_rtx(self) -> None:
        for gpu in self.gpus:
            if gpu in ("sm90", "sm100", "sm103"):
                raise UsageError(
                    f"TensorRT for RTX has no target {gpu} (Hopper and data-centre Blackwell); compile with "
                    'flavor="tensorrt" on such a GPU'
                )
            if gpu not in RTX_GPUS:
                raise UsageError(f"unknown GPU target {gpu!r}; TensorRT for RTX compiles for {', '.join(RTX_GPUS)}")
        # Each of these either fails on a machine without a GPU or is silently ignored (identical bytes).
        useless = {
            "opt_level=": self.opt_level is not None,
            "timing_cache=": self.timing_cache is not None,
            "version_compatible=": self.version_compatible,
            "hardware_compatible=": self.hardware_compatible,
        }
        named = [option for option, given in useless.items() if given]
        if named:
            raise UsageError(f'TensorRT for RTX has no {", ".join(named)}; leave it out or use flavor="tensorrt"')


class CompileOptions(TypedDict, total=False):
    """The fields of `CompileSettings` as keyword arguments."""

    flavor: Flavor
    min_batch: int
    opt_batch: int | None
    max_batch: int
    gpus: tuple[str, ...]
    tf32: bool
    opt_level: int | None
    timing_cache: Path | None
    version_compatible: bool
    hardware_compatible: bool
    device: str
