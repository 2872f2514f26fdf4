import numpy as np
import pytest

from glow_core import GlowConfig, save_checkpoint
from glow_deploy.engines.pytorch_gradient import open_model_gradient
from glow_deploy.errors import EngineError

CONFIG = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5)
CLASSES = GlowConfig(image_size=(4, 4), channels=1, levels=1, steps=2, width=8, n_bits=5, num_classes=3)


def latents(config, n=2, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, *shape)) for shape in config.latent_shapes]


def square(x):
    """The gradient of |x - 0.3|^2 / 2."""
    return x - 0.3


@pytest.mark.parametrize(("config", "y"), [(CONFIG, None), (CLASSES, np.array([2, 0]))])
def test_the_gradient_of_a_decode_is_that_of_finite_differences(perturbed_glow, config, y):
    model = open_model_gradient(perturbed_glow(config), precision="fp64")
    z = latents(config)

    def loss(levels):
        x, _ = model.decode_gradient(levels, y, square)
        return ((x - 0.3) ** 2).reshape(len(x), -1).sum(axis=1) / 2

    _, gradients = model.decode_gradient(z, y, square)
    rng = np.random.default_rng(1)
    for level, gradient in enumerate(gradients):
        direction = rng.normal(size=gradient.shape)
        ends = []
        for sign in (1, -1):
            moved = list(z)
            moved[level] = z[level] + sign * 1e-5 * direction
            ends.append(loss(moved))
        expected = (ends[0] - ends[1]) / 2e-5
        found = (gradient * direction).reshape(len(direction), -1).sum(axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)
        assert np.abs(found).min() > 1e-6, "a gradient of zeros would pass"


def test_the_gradient_of_log_prob_is_that_of_finite_differences(perturbed_glow):
    model = open_model_gradient(perturbed_glow(CLASSES), precision="fp64")
    rng = np.random.default_rng(0)
    x, direction, y = rng.random((2, 1, 4, 4)), rng.normal(size=(2, 1, 4, 4)), np.array([1, 2])
    value, gradient = model.log_prob_gradient(x, y)
    ends = [model.log_prob_gradient(x + sign * 1e-5 * direction, y)[0] for sign in (1, -1)]
    found = (gradient * direction).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / 2e-5, rtol=1e-5)
    np.testing.assert_allclose(value, model.encoder.run({"x": x, "y": y})["log_prob"], rtol=1e-12)


def test_the_image_that_comes_with_the_gradient_is_the_decoders(perturbed_glow):
    model = open_model_gradient(perturbed_glow(CONFIG))
    z = [level.astype(np.float32) for level in latents(CONFIG)]
    x, gradients = model.decode_gradient(z, None, square)
    np.testing.assert_allclose(x, model.decoder.run({"z1": z[0], "z2": z[1]})["x"], atol=1e-6)
    assert (x.dtype, {gradient.dtype for gradient in gradients}) == (np.float32, {np.dtype(np.float32)})


def test_a_row_that_is_not_finite_leaves_the_others_alone(perturbed_glow):
    model = open_model_gradient(perturbed_glow(CONFIG), precision="fp64")
    z = latents(CONFIG)
    _, alone = model.decode_gradient([level[:1] for level in z], None, square)
    z[0][1] = np.nan
    x, gradients = model.decode_gradient(z, None, square)
    assert not np.isfinite(x[1]).all()
    for gradient, expected in zip(gradients, alone, strict=True):
        np.testing.assert_allclose(gradient[0], expected[0], rtol=1e-9, atol=1e-12)


def test_the_model_given_is_copied_and_its_weights_keep_their_gradients(perturbed_glow):
    glow = perturbed_glow(CONFIG)
    open_model_gradient(glow, precision="fp64").decode_gradient(latents(CONFIG), None, square)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in glow.parameters())


def test_what_torch_refuses_is_an_engine_error(perturbed_glow):
    model = open_model_gradient(perturbed_glow(CLASSES))
    with pytest.raises(EngineError, match="PyTorch failed on a batch of 2"):
        model.log_prob_gradient(np.zeros((2, 1, 4, 4)), np.array([0, 1, 2]))


def test_the_model_id_is_that_of_its_bundles(perturbed_glow, tmp_path):
    from glow_deploy.export import ExportSettings, export

    save_checkpoint(perturbed_glow(CONFIG), tmp_path / "ckpt.pt")
    bundle = export(tmp_path / "ckpt.pt", out=tmp_path / "bundle", settings=ExportSettings(golden=4))
    assert open_model_gradient(tmp_path / "ckpt.pt").model_id() == bundle.manifest.model_id
    other = perturbed_glow(CONFIG, seed=1)
    assert open_model_gradient(other).model_id() != bundle.manifest.model_id
