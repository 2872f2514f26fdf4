"""What only a GPU can get wrong: reduced precision, large batches, many images. Beside `test_matrix.py`.

Every check has a negative control that must fail on the same backend.
"""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest

from glow_deploy.verify import VerifySettings, verify

pytestmark = pytest.mark.gpu

IMAGES = 2000


def judge(bundle, backend, **options):
    return verify(bundle, settings=VerifySettings(**{"backends": (backend,), "random_draws": 0, **options}))


@pytest.fixture(scope="session")
def unseen(bundle, tmp_path_factory):
    """Images that are no golden ones, as an .npz of 8-bit values."""
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.images import pixels_to_values, x_to_pixels

    opened = Bundle.open(bundle)
    n_bits = opened.manifest.n_bits
    x = opened.golden().x
    rng = np.random.default_rng(0)
    # Mixtures of two golden images look like them and are none of them.
    weight = rng.random((IMAGES, 1, 1, 1))
    mixed = weight * x[rng.integers(len(x), size=IMAGES)] + (1 - weight) * x[rng.integers(len(x), size=IMAGES)]
    values = pixels_to_values(x_to_pixels(mixed, n_bits), n_bits).transpose(0, 2, 3, 1)
    path = tmp_path_factory.mktemp("unseen") / "images.npz"
    np.savez(path, images=values[..., 0] if values.shape[3] == 1 else values)
    return str(path)


def rounded_to_10_bits(name, weight, role):
    if weight.dtype != np.float32:
        return None
    bits = weight.reshape(-1).view(np.uint32)
    return ((bits + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32).reshape(weight.shape)


def test_unseen_images_come_back(bundle, backend, unseen):
    report = judge(bundle, backend, data=unseen)
    assert report.sound, [str(failure) for failure in report.failures]
    assert report.image_sets[-1].n == IMAGES


def test_float32_is_really_float32(bundle, backend, checkpoint, unseen):
    """TF32 has 10 bits of mantissa: an engine that used it would miss the float64 latents by hundreds of yardsticks."""
    report = judge(bundle, backend, ckpt=checkpoint, data=unseen, limit=64)
    assert report.sound, [str(failure) for failure in report.failures]
    used = next(entry for entry in report.backends if entry.name == backend)
    assert used.encoder["tf32"] is False
    assert used.decoder["tf32"] is False


def test_weights_of_10_bits_fail(spoilt, backend):
    """The negative control of the test above: what TF32 does to the operands, done to the weights alone."""
    report = judge(spoilt(rounded_to_10_bits), backend)
    assert not report.sound
    assert report.verdicts.round_trip == "unsound"


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_fault_is_placed_in_its_level(spoilt, backend, level):
    def change(name, weight, role):
        return weight * np.float32(1.02) if name == f"level{level}/step02/coupling/conv1/weight" else None

    report = judge(spoilt(change), backend)
    assert report.failures[0].level == level, [str(failure) for failure in report.failures]


def test_an_encoder_with_the_decoder_of_another_model_fails(bundle, backend, tmp_path, compile_for, perturbed_glow):
    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.export import export

    config = GlowConfig.from_dict(dict(Bundle.open(bundle).manifest.model))
    save_checkpoint(perturbed_glow(config, seed=1), tmp_path / "other.pt")
    other = export(tmp_path / "other.pt", out=tmp_path / "other").path
    shutil.copy(bundle / "encoder.onnx", other)
    shutil.copy(bundle / "golden.npz", other)
    manifest = json.loads((other / "manifest.json").read_text())
    for name in ("encoder.onnx", "golden.npz"):
        manifest["files"][name] = hashlib.sha256((other / name).read_bytes()).hexdigest()
    (other / "manifest.json").write_text(json.dumps(manifest))
    compile_for(other, backend)
    assert not judge(other, backend).sound


@pytest.mark.parametrize("batch", [1, 3, 8, 9, 20])
def test_the_batch_does_not_change_the_verdict(bundle, backend, batch):
    report = judge(bundle, backend, batch=batch)
    assert report.sound, [str(failure) for failure in report.failures]
    assert all(row.passed for row in report.batches)
