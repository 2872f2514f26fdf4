from __future__ import annotations

import math
import shutil
from contextlib import ExitStack

import numpy as np
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import EngineError
from glow_deploy.verify.backends.backend import Backend, open_backends
from glow_deploy.verify.stress import Origin
from glow_deploy.verify.stress.determinism import measure_determinism, run_afresh


class Wavering:
    """A decoder that is a little off, more at every run."""

    def __init__(self, step):
        self.step = np.float32(step)
        self.runs = 0

    def __call__(self, z):
        self.runs += 1
        return z + self.runs * self.step


def test_a_steady_engine_is_equal(stand_in, images):
    (row,) = measure_determinism([stand_in()], images, None, runs=3, processes=2, origin=None)
    assert row.equal
    assert row.processes_equal is None
    assert (row.processes, row.largest_difference, row.output) == (0, 0.0, "")


def test_an_engine_that_wavers_is_found(stand_in, images):
    (row,) = measure_determinism([stand_in(decode=Wavering(2**-20))], images, None, runs=4, processes=0, origin=None)
    assert not row.equal
    assert row.output == "x"
    assert row.largest_difference == pytest.approx(3 * 2**-20, rel=0.1)


def test_a_value_that_is_lost_only_sometimes_is_no_small_difference(stand_in, images):
    looks = iter((False, True))
    (row,) = measure_determinism(
        [stand_in(decode=lambda z: z * np.nan if next(looks) else z)], images, None, runs=2, processes=0, origin=None
    )
    assert not row.runs_equal
    assert math.isinf(row.largest_difference)
    assert row.to_dict()["largest_difference"] is None


def test_equal_non_finite_values_are_equal(stand_in, images):
    (row,) = measure_determinism(
        [stand_in(decode=lambda z: z * np.nan)], images, None, runs=2, processes=0, origin=None
    )
    assert row.equal


@pytest.fixture
def opened(exported):
    made = exported()
    bundle = Bundle.open(made.bundle)
    with ExitStack() as stack:
        yield open_backends(bundle, stack=stack, wanted=["onnxruntime-cpu"]).matrix[0], bundle.golden().x[:2]


def test_a_fresh_process_gives_the_same(exported, opened):
    backend, x = opened
    (row,) = measure_determinism([backend], x, None, runs=2, processes=1, origin=Origin(bundle=exported().bundle))
    assert row.processes == 1
    assert row.equal


def test_a_fresh_process_that_differs_is_found(exported, opened):
    backend, x = opened

    class Off:
        """The decoder of this process, alone, is off."""

        def __getattr__(self, name):
            return getattr(backend.decoder, name)

        def run(self, feeds):
            return {"x": backend.decoder.run(feeds)["x"] + np.float32(0.25)}

    spoilt = Backend(name=backend.name, encoder=backend.encoder, decoder=Off())
    (row,) = measure_determinism([spoilt], x, None, runs=2, processes=1, origin=Origin(bundle=exported().bundle))
    assert row.runs_equal
    assert row.processes_equal is False
    assert row.largest_difference == pytest.approx(0.25, rel=1e-5)


def test_the_trained_model_opens_afresh_too(exported):
    made = exported(num_classes=3)
    golden = Bundle.open(made.bundle).golden()
    outputs = run_afresh(Origin(bundle=made.bundle, ckpt=made.ckpt), "pytorch-fp64", golden.x, golden.y)
    assert np.allclose(outputs["x"], golden.x_hat, atol=1e-9)
    assert set(outputs) == {"z1", "z2", "log_prob", "x"}


def test_a_process_that_fails_says_why(exported, tmp_path):
    shutil.copytree(exported().bundle, tmp_path / "bundle")
    decoder = tmp_path / "bundle" / "decoder.onnx"
    decoder.write_bytes(decoder.read_bytes()[:-1])
    x = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(EngineError, match=r"onnxruntime-cpu: a fresh process .* failed: .*decoder\.onnx"):
        run_afresh(Origin(bundle=tmp_path / "bundle"), "onnxruntime-cpu", x, None)
