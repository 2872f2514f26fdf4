"""Stand-in backends whose faults are known, and small real ones."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.protocol import EngineDetails, TensorSpec
from glow_deploy.verify.backends.backend import Backend, open_backends
from glow_deploy.verify.stress import Origin, StressSettings, measure_stress

SHAPE = (1, 4, 4)


@dataclass
class StandInEngine:
    """An engine that is a function of arrays, one latent of the picture's own shape."""

    role: str
    function: object
    shape: tuple[int, ...] = SHAPE
    n_bits: int = 8
    num_classes: int | None = None

    @property
    def inputs(self):
        return (TensorSpec(name="x" if self.role == "encoder" else "z1", dtype="float32", shape=self.shape),)

    @property
    def outputs(self):
        if self.role == "decoder":
            return (TensorSpec(name="x", dtype="float32", shape=self.shape),)
        latents = TensorSpec(name="z1", dtype="float32", shape=self.shape)
        return (latents, TensorSpec(name="log_prob", dtype="float32", shape=()))

    @property
    def details(self):
        return EngineDetails(
            backend="stand-in", provider="numpy", device="cpu", precision="fp32", tf32=False, versions={}
        )

    def run(self, feeds):
        if self.role == "decoder":
            return {"x": np.asarray(self.function(feeds["z1"]), np.float32)}
        z = np.asarray(self.function(feeds["x"]), np.float32)
        return {"z1": z, "log_prob": z.reshape(len(z), -1).sum(axis=1)}


def same(array):
    return array


@pytest.fixture
def stand_in():
    """Build a backend of two functions; without any it is the identity, which is perfectly invertible."""

    def build(encode=same, decode=same, *, name="stand-in"):
        return Backend(name=name, encoder=StandInEngine("encoder", encode), decoder=StandInEngine("decoder", decode))

    return build


@pytest.fixture
def images():
    """Eight 4x4 images at 8-bit bin centres."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, *SHAPE))
    return ((pixels + 0.5) / 256).astype(np.float32)


@pytest.fixture
def torch_backend():
    """The PyTorch backend of a model."""
    from glow_deploy.engines.pytorch import open_pytorch

    def build(model, *, precision="fp32"):
        encoder, decoder = open_pytorch(model, precision=precision)
        return Backend(name=f"pytorch-{precision}", encoder=encoder, decoder=decoder)

    return build


@pytest.fixture
def small_config():
    """Two levels of two steps on 8x8 RGB."""
    from glow_core import GlowConfig

    def build(**options):
        return GlowConfig(**{"image_size": (8, 8), "channels": 3, "levels": 2, "steps": 2, "width": 8, **options})

    return build


@dataclass(frozen=True)
class Exported:
    """A checkpoint and its bundle."""

    ckpt: Path
    bundle: Path


@pytest.fixture(scope="session")
def exported(tmp_path_factory, perturbed_glow):
    """Export a small model, each combination of options once a session."""
    made = {}

    def get(**options):
        from glow_core import GlowConfig, save_checkpoint
        from glow_deploy.export import ExportSettings, export

        key = repr(sorted(options.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("stress")
            defaults = {"image_size": (8, 8), "channels": 3, "levels": 2, "steps": 2, "width": 8}
            save_checkpoint(perturbed_glow(GlowConfig(**{**defaults, **options})), folder / "ckpt.pt")
            export(folder / "ckpt.pt", out=folder / "bundle", settings=ExportSettings(golden=6))
            made[key] = Exported(folder / "ckpt.pt", folder / "bundle")
        return made[key]

    return get


QUICK = StressSettings(images=3, draws=4, pass_images=3, attack_images=4, attack_steps=3, runs=3, processes=0)


@pytest.fixture(scope="module")
def report(exported):
    """A whole stress test of two backends, with everything that was called for progress."""
    made = exported(num_classes=3)
    bundle = Bundle.open(made.bundle)
    golden = bundle.golden()
    with ExitStack() as stack:
        backends = open_backends(bundle, stack=stack, wanted=["pytorch-fp32", "onnxruntime-cpu"], ckpt=made.ckpt).matrix
        stages = []
        found = measure_stress(
            backends,
            x=golden.x,
            y=golden.y,
            n_bits=bundle.manifest.n_bits,
            bounded=True,
            settings=QUICK,
            origin=Origin(bundle=made.bundle, ckpt=made.ckpt),
            progress=lambda *stage: stages.append(stage),
        )
    return found, stages
