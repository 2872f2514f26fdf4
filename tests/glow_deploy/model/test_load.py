"""Opening a bundle: what is refused, and how it is told."""

from __future__ import annotations

import numpy as np
import pytest

import glow_deploy
from glow_deploy.errors import BundleError, EngineError, MissingDependencyError, UsageError


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"backend": "onnxruntime"}, UsageError, "choose from auto, onnxruntime-cpu"),
        ({"backend": "onnxruntime-cpu", "device": "cuda"}, UsageError, "runs on the CPU"),
        ({"backend": "onnxruntime-cpu", "device": "gpu"}, UsageError, "unknown device 'gpu'"),
        ({"backend": "tensorrt", "device": "gpu"}, UsageError, "unknown device 'gpu'"),
        ({"backend": "tensorrt", "device": "cpu"}, UsageError, "needs a GPU"),
        ({"backend": "tensorrt-rtx"}, EngineError, "compile .* --flavor rtx"),
        ({"backend": None}, UsageError, "backend is None; choose from auto"),
        ({"device": "tpu"}, UsageError, "tpu"),
        ({"device": 0}, UsageError, "device must be a string such as 'cpu', not 0"),
        ({"device": None}, UsageError, "device must be a string such as 'cpu', not None"),
        ({"threads": 0}, UsageError, "threads must be a whole number from 1 to 4096, not 0"),
        ({"threads": "a"}, UsageError, "threads must be a whole number from 1 to 4096, not 'a'"),
        ({"threads": 1.5}, UsageError, "threads must be a whole number from 1 to 4096, not 1.5"),
        ({"threads": 10**12}, UsageError, "threads must be a whole number from 1 to 4096, not 10"),
        ({"trust_engine": "no"}, UsageError, "trust_engine must be True or False, not 'no'"),
    ],
)
def test_what_cannot_be_opened_is_told(bundles, options, kind, said):
    with pytest.raises(kind, match=said):
        glow_deploy.load(bundles["plain"], **options)


def test_a_bundle_that_is_open_already_will_do(bundles):
    with glow_deploy.load(glow_deploy.Bundle.open(bundles["plain"]), threads=np.int64(1)) as model:
        assert model.path == bundles["plain"]


def test_a_gpu_that_is_not_there_is_an_error_never_the_cpu(bundles):
    from glow_deploy.engines.device import count_gpus

    if count_gpus():
        pytest.skip("this machine has an NVIDIA GPU")
    with pytest.raises(MissingDependencyError):
        glow_deploy.load(bundles["plain"], backend="onnxruntime-cuda")


def test_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="export CKPT"):
        glow_deploy.load(tmp_path / "nothing")


def test_an_openvino_backend_says_itself_where_it_runs(bundles):
    with pytest.raises(UsageError, match="says itself where it runs"):
        glow_deploy.load(bundles["plain"], backend="openvino-cpu", device="cuda")


@pytest.mark.parametrize("name", ["plain", "classes", "grey"])
def test_openvino_gives_what_onnxruntime_gives(bundles, name):
    pytest.importorskip("openvino", reason="it runs the model in OpenVINO")
    with (
        glow_deploy.load(bundles[name], backend="openvino-cpu", threads=1) as theirs,
        glow_deploy.load(bundles[name], backend="onnxruntime-cpu") as ours,
    ):
        assert (theirs.backend, theirs.device, theirs.precision) == ("openvino-cpu", "cpu", "fp32")
        labels = None if ours.num_classes is None else 1
        pictures = ours.sample(3, labels=labels)
        assert np.array_equal(theirs.sample(3, labels=labels).pixels, pictures.pixels)
        latents = ours.encode(pictures.pixels, labels=labels)
        assert np.array_equal(theirs.decode(latents).pixels, pictures.pixels)
        scores = [model.score(pictures.pixels, labels=labels).bits_per_dim for model in (ours, theirs)]
        np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)
