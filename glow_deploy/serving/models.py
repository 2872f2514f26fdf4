"""The models that a bundle is served as, and their tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.engines.remote import bundle_specs
from glow_deploy.kserve.address import model_name
from glow_deploy.protocol import Role, TensorSpec

__all__ = [
    "SAMPLES_AT_ONCE",
    "ServedModel",
    "ServedTensor",
    "bundle_engine_model",
    "canary_model",
    "engine_model",
    "sample_model",
    "score_model",
]

SAMPLES_AT_ONCE = 1024
"""Samples, or pictures to score, of one request at most."""


@dataclass(frozen=True, kw_only=True)
class ServedTensor:
    """One input or output of a served model.

    Attributes:
        name: of the tensor.
        dtype: NumPy name.
        shape: whole, -1 where any size will do.
        optional: an input that may be left out.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model as clients see it.

    Attributes:
        name: `glow-encoder`, ...
        role: `encoder`, `decoder`, `score`, `sample`, `canary` or `integers`.
        inputs: what it takes.
        outputs: what it gives.
        batched: whether requests may be joined: the first size of every tensor is then that of the batch.
    """

    name: str
    role: str
    inputs: tuple[ServedTensor, ...]
    outputs: tuple[ServedTensor, ...]
    batched: bool


def engine_model(name: str, role: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> ServedModel:
    """An engine: [N, ...] in and out. One number a row is [N, 1], because Triton's batches need a second size."""
    return ServedModel(
        name=model_name(name, role),
        role=role,
        inputs=tuple(_batched(spec) for spec in inputs),
        outputs=tuple(_batched(spec) for spec in outputs),
        batched=True,
    )


def bundle_engine_model(bundle: Bundle, name: str, role: Role) -> ServedModel:
    """The encoder or decoder of a bundle; an exact one's latents are integers, with `in_range` beside them."""
    return engine_model(name, role, *bundle_specs(bundle, role))


def canary_model(name: str, *, integers: bool = False) -> ServedModel:
    """The canary, whose answer shows what number format the server computes in; see `glow_deploy.canary`.

    Args:
        name: of the models.
        integers: that of exact integers.
    """
    from glow_deploy.canary import integers as exact
    from glow_deploy.canary.graph import INPUT, OUTPUT
    from glow_deploy.canary.operands import CHANNELS, SIZE

    shape = (exact.CHANNELS, exact.SIZE, exact.SIZE) if integers else (CHANNELS, SIZE, SIZE)
    inputs = [TensorSpec(name=INPUT, dtype="float32", shape=shape)]
    return engine_model(
        name, "integers" if integers else "canary", inputs, [TensorSpec(name=OUTPUT, dtype="float32", shape=shape)]
    )


def score_model(bundle: Bundle, name: str) -> ServedModel:
    """Scores as `glow-deploy score` gives them for the same pictures in the same order.

    Takes `image`, uint8 [N, C, H, W] of 8-bit values, `y` [N] of a class-conditional model, and if wanted `draws` [1]
    (8) and `seed` [1] (0) of the dequantisation noise. Gives float64 `bits_per_dim`, `log_prob` in nats and
    `bits_per_dim_centre`, all [N], and `level_squares` [N, L].
    """
    shape, levels = bundle.manifest.image_shape, len(bundle.manifest.latent_shapes)
    one = [ServedTensor(name=key, dtype="float64", shape=(-1,)) for key in ("bits_per_dim", "log_prob")]
    return ServedModel(
        name=model_name(name, "score"),
        role="score",
        inputs=(
            ServedTensor(name="image", dtype="uint8", shape=(-1, *shape)),
            *_labels(bundle),
            ServedTensor(name="draws", dtype="int64", shape=(1,), optional=True),
            ServedTensor(name="seed", dtype="uint64", shape=(1,), optional=True),
        ),
        outputs=(
            *one,
            ServedTensor(name="bits_per_dim_centre", dtype="float64", shape=(-1,)),
            ServedTensor(name="level_squares", dtype="float64", shape=(-1, levels)),
        ),
        batched=False,
    )


def sample_model(bundle: Bundle, name: str) -> ServedModel:
    """Samples as `glow-deploy sample` draws them.

    Takes `count` [1], and if wanted `start` [1] (0), `seed` [1] (0) and `temperature` [1] or [L] (0.7); `y` are the
    classes of a class-conditional model, taken in turn. Gives `image`, uint8 [N, C, H, W] of 8-bit values, and
    `redraws` [N]: how often each was drawn again because it was not finite.
    """
    return ServedModel(
        name=model_name(name, "sample"),
        role="sample",
        inputs=(
            ServedTensor(name="count", dtype="int64", shape=(1,)),
            *_labels(bundle),
            ServedTensor(name="start", dtype="int64", shape=(1,), optional=True),
            ServedTensor(name="seed", dtype="uint64", shape=(1,), optional=True),
            ServedTensor(name="temperature", dtype="float32", shape=(-1,), optional=True),
        ),
        outputs=(
            ServedTensor(name="image", dtype="uint8", shape=(-1, *bundle.manifest.image_shape)),
            ServedTensor(name="redraws", dtype="int64", shape=(-1,)),
        ),
        batched=False,
    )


def _batched(spec: TensorSpec) -> ServedTensor:
    return ServedTensor(name=spec.name, dtype=spec.dtype, shape=(-1, *(spec.shape or (1,))))


def _labels(bundle: Bundle) -> tuple[ServedTensor, ...]:
    return () if bundle.manifest.num_classes is None else (ServedTensor(name="y", dtype="int64", shape=(-1,)),)
