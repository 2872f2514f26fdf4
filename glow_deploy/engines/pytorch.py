"""The trained model itself, in float64 (the reference) or float32 (the yardstick). Needs torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from glow_core.config import Weights
from glow_deploy.errors import BundleError, CheckpointError, EngineError, MissingDependencyError, UsageError
from glow_deploy.protocol import EngineDetails, Role, TensorSpec

from .base import EngineBase
from .device import parse_device
from .trained import Trained

if TYPE_CHECKING:
    from glow_core import Glow
    from glow_deploy.folding import FoldedGlow

__all__ = [
    "Precision",
    "PyTorchEngine",
    "folded_arrays",
    "folded_model",
    "full_precision",
    "load_model",
    "open_pytorch",
    "read_model",
    "run_convolutions",
]

Precision = Literal["fp64", "fp32"]


class PyTorchEngine(EngineBase):
    """One direction of a `glow_core.Glow`.

    The model is used as it is, not copied: an encoder and a decoder of the same model share its memory. Latents,
    pictures and log_prob have the dtype of the model's weights.

    Args:
        model: in evaluation mode, on the device and of the dtype it is to run in.
        role: which direction to compute.
    """

    def __init__(self, model: Glow, *, role: Role) -> None:
        import torch

        config = model.config
        weight = next(model.parameters())
        if weight.dtype not in (torch.float32, torch.float64):
            raise EngineError(f"the PyTorch engine runs in float32 or float64, the model is {weight.dtype}")
        dtype = str(weight.dtype).removeprefix("torch.")
        self._model = model
        self._device = weight.device
        picture = [TensorSpec(name="x", dtype=dtype, shape=(config.channels, *config.image_size))]
        latents = [
            TensorSpec(name=f"z{level}", dtype=dtype, shape=tuple(shape))
            for level, shape in enumerate(config.latent_shapes, start=1)
        ]
        label = [] if config.num_classes is None else [TensorSpec(name="y", dtype="int64", shape=())]
        log_prob = TensorSpec(name="log_prob", dtype=dtype, shape=())
        encoding = role == "encoder"
        precision = "fp64" if dtype == "float64" else "fp32"
        name = f"{self._device.type}:{self._device.index or 0}" if self._device.type == "cuda" else "cpu"
        if self._device.type == "cuda":
            name = f"{name} ({torch.cuda.get_device_name(self._device)})"
        super().__init__(
            role=role,
            n_bits=config.n_bits,
            inputs=[*picture, *label] if encoding else [*latents, *label],
            outputs=[*latents, log_prob] if encoding else picture,
            details=EngineDetails(
                backend=f"pytorch-{precision}",
                provider=f"torch {self._device.type}",
                device=name,
                precision=precision,
                tf32=False,
                versions={"torch": str(torch.__version__)},
            ),
            num_classes=config.num_classes,
        )

    def _run(self, arrays: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        import torch

        tensors = {name: torch.tensor(array, device=self._device) for name, array in arrays.items()}
        label = tensors.get("y")
        try:
            with torch.inference_mode(), full_precision(self._device.type):
                if self.role == "encoder":
                    latents, log_prob = self._model.encode(tensors["x"], label)
                    values = [*latents, log_prob]
                else:
                    names = [spec.name for spec in self.inputs if spec.name != "y"]
                    values = [self._model.decode([tensors[name] for name in names], label)]
                # Inside the guard: a CUDA error may surface only when the result is fetched.
                results = [value.cpu().numpy() for value in values]
        except RuntimeError as error:
            reason = str(error).splitlines()[0][:300]
            raise EngineError(f"PyTorch failed on a batch of {batch}: {reason}") from None
        return {spec.name: value for spec, value in zip(self.outputs, results, strict=True)}

    def _close(self) -> None:
        del self._model


def open_pytorch(
    source: str | Path | Trained | Glow,
    *,
    precision: Precision = "fp64",
    device: str = "cpu",
    weights: Weights = "ema",
    options: Mapping[str, Any] | None = None,
) -> tuple[PyTorchEngine, PyTorchEngine]:
    """Open the encoder and the decoder of a trained model; both share one copy of its weights.

    Args:
        source: a checkpoint file, alone or with what a bundle tells about it, or a model, which is copied and so stays
            as it is.
        precision: `fp64`, the reference every backend is measured against, or `fp32`, the yardstick.
        device: `cpu`, `cuda`, `cuda:N` or `auto`. Convolutions and matrix products are of full precision, whatever the
            caller's settings: no TF32, no bfloat16.
        weights: for a checkpoint file alone, averaged weights where there are any (`ema`), or those trained (`raw`).
        options: for another project's checkpoint file alone, what it does not say, by the names of `ImportOptions`.

    Returns:
        (encoder, decoder).

    Raises:
        MissingDependencyError: torch, or the CUDA device asked for, is not there.
        glow_core.errors.CheckpointError: the checkpoint cannot be read.
        UsageError: no such device name. Further errors, with a `Trained`: see `read_model`.
    """
    model = load_model(source, precision=precision, device=device, weights=weights, options=options)
    return PyTorchEngine(model, role="encoder"), PyTorchEngine(model, role="decoder")


def load_model(
    source: str | Path | Trained | Glow,
    *,
    precision: Precision = "fp64",
    device: str = "cpu",
    weights: Weights = "ema",
    options: Mapping[str, Any] | None = None,
) -> Glow:
    """Load a trained model to be used here: on its device, in evaluation mode, its weights without gradients.

    Arguments and errors are those of `open_pytorch`.
    """
    wanted = parse_device(device)
    _require_torch()
    import copy

    import torch

    from glow_core import Glow

    usable = torch.cuda.is_available()
    if wanted.kind == "cuda" and (not usable or wanted.index >= torch.cuda.device_count()):
        build = "" if torch.version.cuda else " (the installed torch is a CPU build)"
        raise MissingDependencyError(f"PyTorch cannot run on {wanted}: it finds no such GPU{build}")
    name = str(wanted) if wanted.kind != "auto" else ("cuda:0" if usable else "cpu")
    model = copy.deepcopy(source) if isinstance(source, Glow) else read_model(source, weights=weights, options=options)
    dtype = torch.float64 if precision == "fp64" else torch.float32
    return model.to(device=torch.device(name), dtype=dtype).eval().requires_grad_(requires_grad=False)


def read_model(
    source: str | Path | Trained,
    *,
    weights: Weights = "ema",
    options: Mapping[str, Any] | None = None,
) -> Glow:
    """Read the model of a checkpoint as it is stored: float32, on the CPU.

    Args:
        source: a checkpoint file, or one with what a bundle tells about it, which is then held against the file.
        weights: for a file alone, as in `open_pytorch`.
        options: likewise.

    Raises:
        MissingDependencyError: torch is not there.
        glow_core.errors.CheckpointError: a file alone cannot be read.
        CheckpointError: a file that a bundle tells about cannot be read.
        UsageError: it is not the model that the bundle was exported from.
        BundleError: the manifest tells what no file can be read with.
    """
    _require_torch()
    from glow_core import ImportOptions, load_checkpoint

    if isinstance(source, Trained):
        return _read_trained(source)
    return load_checkpoint(source, weights=weights, options=ImportOptions.from_dict(options or {}))


def _read_trained(trained: Trained) -> Glow:
    from glow_core import ImportOptions, read_checkpoint
    from glow_core.errors import ConfigError, GlowCoreError, MissingFactError

    try:
        options = ImportOptions.from_dict(trained.options)
    except (ConfigError, TypeError, ValueError) as error:
        raise BundleError(
            f"{trained.bundle}: its manifest tells how a checkpoint is read in a malformed way; export the model again"
        ) from error
    try:
        found = read_checkpoint(trained.path, options=options)
    except MissingFactError as error:
        raise UsageError(
            f"{trained.path}: the file does not say {error.what}, and {trained.bundle} does not know it either: give "
            "the checkpoint that it was exported from"
        ) from error
    except GlowCoreError as error:
        # The file is damaged, or contradicts what the bundle knows: then it may tell itself what model it holds.
        try:
            found = read_checkpoint(trained.path)
        except MissingFactError:
            raise CheckpointError(f"{error}; is {trained.bundle} exported from it?") from error
        except GlowCoreError:
            raise CheckpointError(str(error)) from error
    trained.check(found.config.to_dict())
    return found.glow(weights=trained.weights)


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            "the PyTorch backends need torch, which is not installed: pip install 'glow-deploy[train]'"
        ) from None


def folded_arrays(
    source: str | Path | Trained,
    *,
    weights: Weights = "ema",
    options: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Fold the model of a checkpoint once more, to compare graphs with it.

    Arguments and errors are those of `read_model`.

    Returns:
        Path of the initializer -> array, as `FoldedGlow.named_arrays` gives them.

    Raises:
        CheckpointError: the model cannot be folded.
    """
    return dict(folded_model(source, weights=weights, options=options).named_arrays())


def folded_model(
    source: str | Path | Trained,
    *,
    weights: Weights = "ema",
    options: Mapping[str, Any] | None = None,
) -> FoldedGlow:
    """Fold the model of a checkpoint once more, to build its graphs again; else as `folded_arrays`."""
    from glow_deploy.folding.fold import fold

    return fold(read_model(source, weights=weights, options=options))


def run_convolutions(x: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    """Convolve images with each of several kernels as the float32 model would, for finding out what that computes in.

    Args:
        x: [N,C,H,W] float32.
        weights: [out,C,k,k] float32 each, zero padded to keep the size.

    Returns:
        All results, one after the other along the channels, float32.
    """
    import torch

    images = torch.from_numpy(np.ascontiguousarray(x))
    with full_precision("cpu"):
        parts = [torch.nn.functional.conv2d(images, torch.tensor(weight), padding="same") for weight in weights]
    result: np.ndarray = torch.cat(parts, dim=1).numpy()
    return result


@contextlib.contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Compute float32 in float32 for one run, then put the caller's settings back. They are those of the whole process.

    cuDNN's convolutions use TF32 unless told otherwise, and the setting for all backends at once does not reach them
    (pytorch issue 179445), so each is set by itself. On a CPU with instructions for it, operands are rounded to
    bfloat16 where the caller allows that, as `torch.set_float32_matmul_precision("medium")` does.
    """
    import torch

    backends: Any = torch.backends
    if device_type == "cuda":
        chosen = [backends.cudnn.conv, backends.cuda.matmul]
    else:
        # Releases of torch before those of the extra `train` lack them.
        parts = (getattr(backends.mkldnn, name, None) for name in ("conv", "matmul"))
        chosen = [part for part in parts if hasattr(part, "fp32_precision")]
    before = [backend.fp32_precision for backend in chosen]
    try:
        for backend in chosen:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, value in zip(chosen, before, strict=True):
            backend.fp32_precision = value
