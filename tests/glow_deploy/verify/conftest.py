"""Small Glows with perturbed weights, their bundles, and ways to spoil both."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

sys.path.insert(0, str(Path(__file__).parent))  # narrow_records.py is imported by name


def smooth_pixels(n, config, *, seed):
    """Images with some structure: a coarse random field, enlarged, plus a little noise; uint8 [n, C, H, W]."""
    rng = np.random.default_rng(seed)
    height, width = config.image_size
    coarse = rng.random((n, config.channels, height // 4, width // 4))
    fine = np.kron(coarse, np.ones((1, 1, 4, 4))) * 0.8 + rng.random((n, config.channels, height, width)) * 0.2
    return np.minimum(fine * 2**config.n_bits, 2**config.n_bits - 1).astype(np.uint8)


def perturbed_glow(config, *, seed, strength=0.1):
    """A Glow as training might leave it: actnorms set from images, no coupling or prior at zero."""
    import torch

    from glow_core import Glow

    torch.manual_seed(seed)
    model = Glow(config)
    pixels = smooth_pixels(64, config, seed=seed + 1000)
    x = torch.from_numpy((pixels.astype(np.float32) + 0.5) / 2**config.n_bits)
    y = torch.arange(64) % config.num_classes if config.num_classes else None
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith(("bias", "log_scale")) or "prior" in name:
                parameter += strength * parameter.std().nan_to_num(0).clamp(min=0.3) * torch.randn_like(parameter)
    model.initialize(x, y)
    return model.eval()


@dataclass(frozen=True)
class Exported:
    """A model, its checkpoint and its bundle."""

    config: object
    ckpt: Path
    bundle: Path

    def pixels(self, n, *, seed):
        return smooth_pixels(n, self.config, seed=seed)


def export_model(folder, *, seed=0, golden=32, carry=True, precision="fp32", **options):
    """Make, save and export a model; returns `Exported`."""
    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.export import ExportSettings, export

    config = GlowConfig(**{"image_size": (8, 8), "levels": 2, "steps": 3, "width": 12, **options})
    model = perturbed_glow(config, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.arange(64) % config.num_classes if config.num_classes else None
    extra = {"images": smooth_pixels(64, config, seed=seed + 1), "labels": labels} if carry else {}
    save_checkpoint(model, folder / "ckpt.pt", **extra)
    export(folder / "ckpt.pt", out=folder / "bundle", settings=ExportSettings(golden=golden, precision=precision))
    return Exported(config, folder / "ckpt.pt", folder / "bundle")


def spoil_bundle(source, target, change, *, roles=("encoder", "decoder")):
    """Copy a bundle, pass every initializer through `change(name, array, role)`, and sign the result again.

    `change` gives a new array or None; at least one weight must really change.
    """
    shutil.copytree(source, target)
    manifest = json.loads((target / "manifest.json").read_text())
    changed = 0
    for role in roles:
        path = target / f"{role}.onnx"
        model = onnx.load(path)
        for initializer in model.graph.initializer:
            before = numpy_helper.to_array(initializer)
            after = change(initializer.name, before.copy(), role)
            if after is not None and not np.array_equal(before, after):
                array = np.ascontiguousarray(after.astype(before.dtype))
                initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
                changed += 1
        path.write_bytes(model.SerializeToString())
        manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    assert changed, "the fault was not planted"
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


class TamperedEngine:
    """An engine whose inputs and outputs pass through functions; everything else is the engine's own."""

    def __init__(self, engine, *, before=None, after=None):
        self._engine = engine
        self._before = before or (lambda feeds: feeds)
        self._after = after or (lambda outputs, feeds: outputs)

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def run(self, feeds):
        return self._after(dict(self._engine.run(self._before(dict(feeds)))), feeds)

    def __enter__(self):
        self._engine.__enter__()
        return self

    def __exit__(self, *error):
        self._engine.__exit__(*error)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Export models of any kind, each combination of options once a session."""
    made = {}

    def get(**options):
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = export_model(tmp_path_factory.mktemp("model"), **options)
        return made[key]

    return get


@pytest.fixture(scope="session")
def sound(exported):
    """The model most tests use: two levels, affine, LU, RGB 8x8."""
    return exported()


@pytest.fixture
def spoil(sound, tmp_path):
    """Spoil a copy of the `sound` bundle."""

    def make(change, *, roles=("encoder", "decoder"), source=None):
        return spoil_bundle(source or sound.bundle, tmp_path / "spoilt", change, roles=roles)

    return make


@pytest.fixture
def tamper(monkeypatch):
    """Put functions before and after the engines of one role, as `verify` opens them."""
    from glow_deploy.engines import open as opening

    real = opening.open_engine

    def install(role, *, before=None, after=None):
        def tampered(path, **options):
            engine = real(path, **options)
            return TamperedEngine(engine, before=before, after=after) if engine.role == role else engine

        monkeypatch.setattr(opening, "open_engine", tampered)

    return install


@pytest.fixture
def quick():
    """Verify in ONNX Runtime on the CPU from the bundle alone, without the random latents."""
    from glow_deploy.verify import VerifySettings, verify

    def run(bundle, **options):
        settings = VerifySettings(**{"backends": ("onnxruntime-cpu",), "random_draws": 0, **options})
        return verify(bundle, settings=settings)

    return run


@pytest.fixture
def npz(tmp_path):
    """Write 8-bit images of a model's kind to an .npz file that `--data` takes, and return its name."""

    def write(model, n, *, seed=99):
        pixels = model.pixels(n, seed=seed)
        values = (pixels << (8 - model.config.n_bits)).astype(np.uint8).transpose(0, 2, 3, 1)
        arrays = {"images": values[..., 0] if model.config.channels == 1 else values}
        if model.config.num_classes:
            arrays["labels"] = np.arange(n) % model.config.num_classes
        np.savez(tmp_path / "images.npz", **arrays)
        return str(tmp_path / "images.npz")

    return write


@pytest.fixture(scope="module")
def narrow(exported, tmp_path_factory):
    """`auto` and `mixed` bundles of one model, by name; their images are its own samples, of which there are enough."""
    from glow_deploy.export import ExportSettings, export

    folder, model = tmp_path_factory.mktemp("narrow"), exported(carry=False)
    return {
        name: export(model.ckpt, out=folder / name, settings=ExportSettings(precision=name, golden=32)).path
        for name in ("mixed", "auto")
    }


@pytest.fixture
def tampered(narrow, tmp_path):
    """Copy a narrow bundle and change its manifest."""

    def change(name, edit):
        shutil.copytree(narrow[name], tmp_path / "b")
        manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
        edit(manifest)
        (tmp_path / "b" / "manifest.json").write_text(json.dumps(manifest))
        return tmp_path / "b"

    return change
