"""Which class a picture is most likely of, by a class-conditional model's own likelihood."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import UsageError
from glow_deploy.protocol import Engine

from .specs import need_role

__all__ = ["class_log_prob", "class_posterior"]


def class_log_prob(encoder: Engine, draws: Iterable[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    """Measure log p(x|y) of the same pictures under every class.

    Args:
        encoder: of a class-conditional model.
        draws: the pictures `x` [n, C, H, W], once for each draw of dequantisation noise, or once at bin centres.

    Returns:
        float64 [n, K], nats, averaged over the draws; the encoder runs K times for each of them.

    Raises:
        UsageError: the engine is a decoder, its model has no classes, or there are no draws.
    """
    need_role(encoder, "encoder", "telling classes apart")
    if encoder.num_classes is None:
        raise UsageError('this model is not class-conditional: leave labels="best" out')
    dtype = next(spec.dtype for spec in encoder.inputs if spec.name == "x")
    sums: list[npt.NDArray[np.float64]] = []
    for x in draws:
        feed = x.astype(dtype, copy=False)
        columns = [
            encoder.run({"x": feed, "y": np.full(len(x), label, np.int64)})["log_prob"].astype(np.float64)
            for label in range(encoder.num_classes)
        ]
        sums.append(np.stack(columns, axis=1))
    if not sums:
        raise UsageError("there are no pictures to tell classes apart by")
    return np.asarray(np.mean(sums, axis=0))


def class_posterior(log_prob: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """p(y|x) by Bayes' rule from log p(x|y) [n, K], all classes being equally frequent; float64 [n, K], rows sum to 1.

    Equal entries, where a model tells nothing about the class, give 1/K each.
    """
    weights = np.exp(log_prob - log_prob.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
