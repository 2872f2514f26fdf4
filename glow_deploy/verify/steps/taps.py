"""Where the steps of a flow lie in the two graphs: the tensor after each, and the one it starts from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.errors import BundleError
from glow_deploy.numerics.float64 import Float64Graph

if TYPE_CHECKING:
    import onnx

__all__ = ["Layout", "Stage", "StageMap", "decode_targets", "read_layout", "run_stage"]

_STEP = re.compile(r"level(\d+)/step(\d+)/invconv/weight")

StageMap = dict[str, np.ndarray]
"""Tensors [N, ...] by the step after which (decoding: after whose inverse) they stand."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of flow, split or prior in one of the graphs.

    Attributes:
        step: `level1/step01`, `level1/split` or `prior`.
        output: the tensor after it.
        source: the tensor it starts from: the output of an earlier stage, or a graph input.
        source_step: the stage that gives `source`; empty for a graph input.
        inputs: graph inputs it reads besides: `z1` where a split is undone, `y` for a class-conditional prior, the last
            one's or that of a split.
    """

    step: str
    output: str
    source: str
    source_step: str
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The stages of both graphs, each in the order in which they are computed.

    Attributes:
        levels: steps of each level, in encoding order.
        encode: from `x`; a split's output is its `z`, the prior's the last `z`.
        decode: from the last `z`.
        labelled: whether the graphs take `y`.
        independent: whether a split's half has a prior of its own, and no convolution predicts it.
    """

    levels: tuple[tuple[str, ...], ...]
    encode: tuple[Stage, ...]
    decode: tuple[Stage, ...]
    labelled: bool
    independent: bool

    @property
    def latents(self) -> tuple[str, ...]:
        """`z1` ... `zL`."""
        return tuple(f"z{index}" for index in range(1, len(self.levels) + 1))

    @property
    def steps(self) -> tuple[str, ...]:
        """All steps of flow in encoding order, without splits and prior."""
        return tuple(step for level in self.levels for step in level)


def read_layout(encoder: onnx.ModelProto, decoder: onnx.ModelProto, *, source: str) -> Layout:
    """Find the steps in the two graphs of a model.

    Raises:
        BundleError: the graphs hold different steps, or tensors have names that no graph of this release has.
    """
    found = [_steps(model) for model in (encoder, decoder)]
    if not found[0] or found[0] != found[1]:
        raise BundleError(f"{source}: the encoder and the decoder do not hold the same steps; export the model again")
    levels = found[0]
    labelled = any(value.name == "y" for value in encoder.graph.input)
    independent = any(tensor.name == "level1/split/mean" for tensor in encoder.graph.initializer)
    labels = ("y",) if labelled else ()
    split_labels = labels if independent else ()
    layout = Layout(
        levels=levels,
        encode=tuple(_encode_stages(levels, labels, split_labels)),
        decode=tuple(_decode_stages(levels, labels, split_labels)),
        labelled=labelled,
        independent=independent,
    )
    for model, stages, role in ((encoder, layout.encode, "encoder"), (decoder, layout.decode, "decoder")):
        present = {name for node in model.graph.node for name in node.output}
        for stage in stages:
            if stage.output not in present:
                raise BundleError(
                    f"{source}: the {role} has no tensor {stage.output!r}, so its steps cannot be told apart; export "
                    "the model again with this release"
                )
    return layout


def _steps(model: onnx.ModelProto) -> tuple[tuple[str, ...], ...]:
    levels: dict[int, list[int]] = {}
    for tensor in model.graph.initializer:
        match = _STEP.fullmatch(tensor.name)
        if match:
            levels.setdefault(int(match[1]), []).append(int(match[2]))
    if sorted(levels) != list(range(1, len(levels) + 1)):
        return ()
    return tuple(
        tuple(f"level{level}/step{step:02d}" for step in sorted(levels[level])) for level in range(1, len(levels) + 1)
    )


def _encode_stages(
    levels: Sequence[Sequence[str]], labels: tuple[str, ...], split_labels: tuple[str, ...]
) -> list[Stage]:
    stages = []
    source, source_step = "x", ""
    for index, steps in enumerate(levels, start=1):
        for step in steps:
            stages.append(Stage(step=step, output=f"{step}/out", source=source, source_step=source_step))
            source, source_step = f"{step}/out", step
        if index < len(levels):
            stages.append(
                Stage(
                    step=f"level{index}/split",
                    output=f"z{index}",
                    source=source,
                    source_step=source_step,
                    inputs=split_labels,
                )
            )
    stages.append(Stage(step="prior", output=f"z{len(levels)}", source=source, source_step=source_step, inputs=labels))
    return stages


def _decode_stages(
    levels: Sequence[Sequence[str]], labels: tuple[str, ...], split_labels: tuple[str, ...]
) -> list[Stage]:
    stages = [
        Stage(step="prior", output="prior/shift:0", source=f"z{len(levels)}", source_step="", inputs=labels),
    ]
    for index in range(len(levels), 0, -1):
        if index < len(levels):
            last = stages[-1]
            path = f"level{index}/split"
            stages.append(
                Stage(
                    step=path,
                    output=f"{path}/concat:0",
                    source=last.output,
                    source_step=last.step,
                    inputs=(f"z{index}", *split_labels),
                )
            )
        for step in reversed(levels[index - 1]):
            last = stages[-1]
            stages.append(Stage(step=step, output=f"{step}/invconv:0", source=last.output, source_step=last.step))
    return stages


def run_stage(
    graph: Float64Graph,
    stage: Stage,
    source: np.ndarray,
    feeds: Mapping[str, np.ndarray],
    *,
    outputs: Sequence[str] = (),
    overrides: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Compute one stage alone, in float64.

    Args:
        graph: that holds the stage.
        stage: which.
        source: what it starts from [N, ...].
        feeds: graph inputs by name; those that the stage does not read are left out.
        outputs: tensors wanted besides the stage's output.
        overrides: tensors inside the stage to replace.
    """
    given = {name: feeds[name] for name in stage.inputs}
    replaced = dict(overrides or {})
    if stage.source in graph.input_names:
        given[stage.source] = source
    else:
        replaced[stage.source] = source
    return graph.run(given, outputs=list(dict.fromkeys((stage.output, *outputs))), overrides=replaced)


def decode_targets(layout: Layout, encoded: StageMap, x: np.ndarray) -> StageMap:
    """Turn what the encoder computed into what the decoder should: the inverse of a step gives what the step was given.

    Args:
        layout: of the model.
        encoded: after every step of flow, in encoding direction.
        x: images [N,C,H,W].
    """
    targets: StageMap = {}
    entering = x
    for index, steps in enumerate(layout.levels, start=1):
        before = _squeeze(entering)
        for step in steps:
            targets[step] = before
            before = encoded[step]
        targets["prior" if index == len(layout.levels) else f"level{index}/split"] = before
        entering = before[:, : before.shape[1] // 2]
    return targets


def _squeeze(x: np.ndarray) -> np.ndarray:
    """pixel_unshuffle(2): offset (i,j) of channel c becomes channel 4c+2i+j."""
    n, channels, height, width = x.shape
    parts = x.reshape(n, channels, height // 2, 2, width // 2, 2).transpose(0, 1, 3, 5, 2, 4)
    return parts.reshape(n, 4 * channels, height // 2, width // 2)
