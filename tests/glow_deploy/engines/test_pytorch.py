from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.errors import EngineError, MissingDependencyError

torch = pytest.importorskip("torch", reason="the PyTorch backends need torch")
glow_core = pytest.importorskip("glow_core")
pytorch = pytest.importorskip("glow_deploy.engines.pytorch")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = glow_core.GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5, num_classes=3)
    glow = glow_core.Glow(config)
    with torch.no_grad():
        for parameter in glow.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    glow.initialize(torch.rand(16, 3, 8, 8), torch.arange(16) % 3)
    return glow.eval()


@pytest.mark.parametrize(("precision", "dtype", "tolerance"), [("fp64", "float64", 1e-12), ("fp32", "float32", 1e-4)])
def test_encoder_and_decoder_are_inverse_in_their_own_precision(model, precision, dtype, tolerance):
    encoder, decoder = pytorch.open_pytorch(model, precision=precision)
    x = np.random.default_rng(0).random((5, 3, 8, 8)).astype(dtype)
    y = np.array([0, 1, 2, 1, 0])
    with encoder, decoder:
        latents = encoder.run({"x": x, "y": y})
        assert latents.pop("log_prob").shape == (5,)
        assert {array.dtype for array in latents.values()} == {np.dtype(dtype)}
        error = np.abs(decoder.run({**latents, "y": y})["x"] - x).max()
        assert error < tolerance
        # The wrong classes must not decode to the same pictures.
        assert np.abs(decoder.run({**latents, "y": (y + 1) % 3})["x"] - x).max() > 1e-3
        assert encoder.details.backend == f"pytorch-{precision}"
        assert encoder.details.tf32 is False


def test_the_callers_model_is_left_alone(model):
    encoder, decoder = pytorch.open_pytorch(model, precision="fp64")
    assert next(model.parameters()).dtype == torch.float32
    assert next(model.parameters()).requires_grad
    assert encoder._model is decoder._model
    encoder.close()
    decoder.close()


def test_a_checkpoint_opens_as_the_model_it_holds(model, tmp_path):
    glow_core.save_checkpoint(model, tmp_path / "ckpt.pt")
    x, y = np.random.default_rng(1).random((2, 3, 8, 8)), np.array([0, 2])
    from_file, _ = pytorch.open_pytorch(tmp_path / "ckpt.pt")
    from_model, _ = pytorch.open_pytorch(model)
    np.testing.assert_array_equal(from_file.run({"x": x, "y": y})["z2"], from_model.run({"x": x, "y": y})["z2"])


def test_labels_and_dtypes_are_checked(model):
    encoder, _ = pytorch.open_pytorch(model, precision="fp32")
    x = np.zeros((2, 3, 8, 8), np.float32)
    with pytest.raises(EngineError, match=r"0\.\.2"):
        encoder.run({"x": x, "y": np.array([0, 3])})
    with pytest.raises(EngineError, match="float32"):
        encoder.run({"x": x.astype(np.float64), "y": np.array([0, 1])})


def test_cuda_asked_for_and_absent_is_an_error(model):
    with pytest.raises(MissingDependencyError, match="cuda:7"):
        pytorch.open_pytorch(model, device="cuda:7")


def test_tf32_is_off_during_a_run_on_cuda_and_put_back_after_it():
    read = lambda: (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)  # noqa: E731
    before = read()
    with pytorch.full_precision("cuda"):
        assert read() == ("ieee", "ieee")
    assert read() == before
    assert before != ("ieee", "ieee"), "the default no longer allows TF32: this test shows nothing"


def read_on_cpu():
    return [getattr(torch.backends.mkldnn, name).fp32_precision for name in ("conv", "matmul")]


@pytest.fixture
def loose():
    """Let torch round float32 to bfloat16 on the CPU; one without instructions for it still does not."""
    parts = [torch.backends.mkldnn.conv, torch.backends.mkldnn.matmul]
    before = [part.fp32_precision for part in parts]
    for part in parts:
        part.fp32_precision = "bf16"
    yield
    for part, value in zip(parts, before, strict=True):
        part.fp32_precision = value


def test_bfloat16_is_off_during_a_run_on_the_cpu_and_put_back_after_it(loose, model):
    _, decoder = pytorch.open_pytorch(model, precision="fp32")
    seen = []
    decoder._model.decode = lambda z, y: seen.append(read_on_cpu()) or torch.zeros(1, 3, 8, 8)
    decoder.run({spec.name: np.zeros((1, *spec.shape), spec.dtype) for spec in decoder.inputs})
    assert seen == [["ieee", "ieee"]]
    assert read_on_cpu() == ["bf16", "bf16"]


def test_convolutions_are_those_of_float32_whatever_the_caller_allows(loose):
    x = np.random.default_rng(0).integers(0, 2000, (2, 64, 32, 32)).astype(np.float32)
    weight = np.eye(64, dtype=np.float32)[:, :, None, None]  # each result is a number of eleven bits
    np.testing.assert_array_equal(pytorch.run_convolutions(x, [weight]), x)
