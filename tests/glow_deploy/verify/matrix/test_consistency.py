from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.verify.backends.backend import open_backends
from glow_deploy.verify.matrix.consistency import batch_sizes, measure_decoder, measure_encoder


def test_small_odd_and_profile_sizes_are_tried():
    assert batch_sizes(batch=32, max_batch=None) == (2, 3, 5, 32)
    assert batch_sizes(batch=1, max_batch=8) == (2, 3, 5, 8, 9)
    assert batch_sizes(batch=500, max_batch=256) == (2, 3, 5, 64)
    assert batch_sizes(batch=1, max_batch=1) == (2, 3, 5)
    assert batch_sizes(batch=0, max_batch=None) == (2, 3, 5)


@pytest.fixture
def backend(sound):
    with ExitStack() as stack:
        yield open_backends(Bundle.open(sound.bundle), stack=stack, wanted=["onnxruntime-cpu"]).matrix[0]


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_images_are_repeated(sound, backend, n):
    x = Bundle.open(sound.bundle).golden().x[:n]
    encoded = measure_encoder(backend, x, None, batch=4, n_bits=8)
    assert encoded.sizes == (2, 3, 4, 5)
    assert set(encoded.equal_rows) == set(encoded.split) == {"z", "bits/dim"}
    assert encoded.split["z"].rms < 1e-4
    decoded = measure_decoder(backend, backend.encode(x, None).z, None, batch=4)
    assert decoded.split["x"].rms < 1e-4


def test_the_worst_image_is_reported_not_the_average(sound, backend, tamper):
    golden = Bundle.open(sound.bundle).golden()

    def spoil(outputs, feeds):
        x = outputs["x"].copy()
        if len(x) == 5:
            x[3] += np.float32(0.25)
        return {"x": x}

    tamper("decoder", after=spoil)
    with ExitStack() as stack:
        tampered = open_backends(Bundle.open(sound.bundle), stack=stack, wanted=["onnxruntime-cpu"]).matrix[0]
        found = measure_decoder(tampered, golden.z, None, batch=32)
    assert found.split["x"].rms == pytest.approx(0.25, rel=1e-3)
    assert found.equal_rows["x"].rms == pytest.approx(0.25, rel=1e-3)
    assert not found.bit_equal
