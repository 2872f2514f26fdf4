"""Graphs of small Glows, float64 vectors of theirs, and ways to plant faults into either graph."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parent))  # blame.py is imported by name

SEED = 5


@dataclass(frozen=True)
class Case:
    """Both graphs of a model, images, and golden vectors of the sound graphs in float64."""

    encoder: onnx.ModelProto
    decoder: onnx.ModelProto
    x: np.ndarray
    y: np.ndarray | None
    golden: object
    folded: object
    precision: str = "fp32"

    def change(self, role, change):
        """Pass every initializer of one graph through `change(name, array)`; at least one must really change."""
        model = onnx.ModelProto()
        model.CopyFrom(getattr(self, role))
        changed = 0
        for initializer in model.graph.initializer:
            before = numpy_helper.to_array(initializer)
            after = change(initializer.name, before.copy())
            if after is not None and not np.array_equal(before, after):
                array = np.ascontiguousarray(after.astype(before.dtype))
                initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
                changed += 1
        assert changed, "the fault was not planted"
        return replace(self, **{role: model})

    def rounded(self, role, tensors, kind=onnx.TensorProto.FLOAT16):
        """Send tensors of one graph through a narrower type and back before anything reads them."""
        model = onnx.ModelProto()
        model.CopyFrom(getattr(self, role))
        for tensor in tensors:
            for node in model.graph.node:
                for index, given in enumerate(node.input):
                    if given == tensor:
                        node.input[index] = f"{tensor}/back"
            at = next(i for i, node in enumerate(model.graph.node) if tensor in node.output)
            narrow = helper.make_node("Cast", [tensor], [f"{tensor}/narrow"], name=f"{tensor}/narrow", to=kind)
            wide = helper.make_node(
                "Cast", [f"{tensor}/narrow"], [f"{tensor}/back"], name=f"{tensor}/back", to=onnx.TensorProto.FLOAT
            )
            model.graph.node.insert(at + 1, narrow)
            model.graph.node.insert(at + 2, wide)
        return replace(self, **{role: model})

    def measure(self, **options):
        """Measure on ONNX Runtime's CPU provider."""
        from glow_deploy.verify.steps import StepsSettings
        from glow_deploy.verify.steps.run import measure_graphs

        settings = StepsSettings(**{"images": 4, "backends": ("onnxruntime-cpu",), **options.pop("settings", {})})
        options = {"golden": self.golden, "precision": self.precision, **options}
        return measure_graphs(self.encoder, self.decoder, x=self.x, y=self.y, settings=settings, **options)


@pytest.fixture(scope="session")
def case(perturbed_glow):
    """Build a case for a model's options; `edit(glow)` may change the model before it is folded."""
    made = {}

    def build(*, edit=None, plan=None, **options):
        key = repr(sorted(options.items())) + str(plan)
        if edit is None and key in made:
            return made[key]
        result = _build(perturbed_glow, edit, plan, options)
        if edit is None:
            made[key] = result
        return result

    return build


def _build(perturbed_glow, edit, plan, options):
    from glow_core import GlowConfig
    from glow_deploy.artifact.golden import Golden
    from glow_deploy.folding.fold import fold
    from glow_deploy.graphs.decoder import build_decoder
    from glow_deploy.graphs.describe import describe
    from glow_deploy.graphs.encoder import build_encoder
    from glow_deploy.graphs.precision_plan import PrecisionPlan
    from glow_deploy.numerics.float64 import Float64Graph

    config = GlowConfig(**{"image_size": (8, 8), "levels": 2, "steps": 3, "width": 12, **options})
    glow = perturbed_glow(config, seed=SEED).double()
    if edit is not None:
        edit(glow)
    folded = fold(glow)
    precision = plan or "fp32"

    def graphs(name):
        chosen = None if name == "fp32" else PrecisionPlan.uniform(name, folded)
        return [
            build(
                folded,
                metadata=describe(folded, role=role, precision=name, model_id=folded.model_id()),
                plan=chosen,
            ).to_model()
            for role, build in (("encoder", build_encoder), ("decoder", build_decoder))
        ]

    encoder, decoder = graphs(precision)
    rng = np.random.default_rng(1)
    coarse = rng.random((4, config.channels, config.image_size[0] // 4, config.image_size[1] // 4))
    values = np.kron(coarse, np.ones((1, 1, 4, 4))) * 0.8 + rng.random((4, config.channels, *config.image_size)) * 0.2
    pixels = np.minimum(np.floor(values * 2**config.n_bits), 2**config.n_bits - 1)
    x = ((pixels + 0.5) / 2**config.n_bits).astype(np.float32)
    y = None if config.num_classes is None else np.arange(4) % config.num_classes
    labels = {} if y is None else {"y": y}
    sound, back = (Float64Graph(model) for model in graphs("fp32"))
    latents = [f"z{level}" for level in range(1, config.levels + 1)]
    found = sound.run({"x": x, **labels}, outputs=[*latents, "log_prob"])
    z = tuple(found[name] for name in latents)
    x_hat = back.run({**dict(zip(latents, z, strict=True)), **labels}, outputs=["x"])["x"]
    golden = Golden(x=x, z=z, log_prob=found["log_prob"], x_hat=x_hat, y=y)
    return Case(encoder=encoder, decoder=decoder, x=x, y=y, golden=golden, folded=folded, precision=precision)


@pytest.fixture
def probe_of():
    """Open the graphs of a case as a probe, to be run in place of the deployed ones."""
    from glow_deploy.verify.steps.probes import open_probe
    from glow_deploy.verify.steps.taps import read_layout

    with ExitStack() as stack:

        def build(spoilt, *, like=None):
            like = like or spoilt
            layout = read_layout(like.encoder, like.decoder, source="test")
            return open_probe("onnxruntime-cpu", spoilt.encoder, spoilt.decoder, layout, stack=stack)

        yield build
