from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.protocol import EngineDetails
from glow_deploy.verify.backends.backend import open_backends
from glow_deploy.verify.matrix.consistency import (
    SizesToTry,
    batch_sizes,
    measure_decoder,
    measure_encoder,
    used_sizes,
)
from glow_deploy.verify.report.rows import spelt_sizes


def details(max_batch=None, named=()):
    return EngineDetails(
        backend="any", provider="any", device="cpu", precision="fp32", tf32=False, versions={}, max_batch=max_batch,
        named_batches=named,
    )  # fmt: skip


TO_64 = (*range(2, 10), 15, 16, 17, 31, 32, 33, 63, 64)


def test_a_graph_that_takes_any_batch_is_tried_up_to_64():
    assert batch_sizes(SizesToTry(), details()) == TO_64
    assert batch_sizes(SizesToTry(used=(32, 12)), details()) == tuple(sorted({*TO_64, 12}))
    assert batch_sizes(SizesToTry(used=(500,)), details()) == (*TO_64, 500)
    assert batch_sizes(SizesToTry(largest=20), details()) == (*range(2, 10), 15, 16, 17, 20)
    assert batch_sizes(SizesToTry(largest=1), details()) == (2, 3, 5)


def test_a_plan_is_tried_up_to_its_largest_and_at_what_its_profile_names():
    assert batch_sizes(SizesToTry(), details(8)) == tuple(range(2, 10))
    assert batch_sizes(SizesToTry(), details(24, (1, 12, 24))) == (*range(2, 10), 12, 15, 16, 17, 24, 25)
    assert batch_sizes(SizesToTry(), details(1)) == (2, 3, 5)
    found = batch_sizes(SizesToTry(), details(256))
    assert {127, 128, 129, 255, 256, 257} <= set(found)
    # The bound leaves out powers of two, and nothing that the plan names.
    assert batch_sizes(SizesToTry(largest=4), details(32, (1, 8, 32))) == (2, 3, 4, 5, 8, 32, 33)


def test_what_the_others_are_measured_with_is_tried_at_few_sizes():
    assert batch_sizes(SizesToTry(few=True), details()) == (2, 3, 5)
    assert batch_sizes(SizesToTry(few=True, used=(1, 32)), details()) == (2, 3, 5, 32)


@pytest.mark.parametrize(
    ("count", "batch", "sizes"), [(64, 32, (32,)), (20, 32, (20,)), (70, 32, (6, 32)), (3, 1, (1,)), (32, 32, (32,))]
)
def test_used_sizes_are_those_of_the_batches_of_a_set(count, batch, sizes):
    assert used_sizes(count, batch=batch) == sizes


def test_no_batch_is_empty():
    with pytest.raises(ValueError, match="at least 1"):
        SizesToTry(used=(0,))


def test_sizes_are_spelt_as_runs():
    assert spelt_sizes(TO_64) == "2-9, 15-17, 31-33, 63, 64"
    assert spelt_sizes(()) == ""


@pytest.fixture
def backend(sound):
    with ExitStack() as stack:
        yield open_backends(Bundle.open(sound.bundle), stack=stack, wanted=["onnxruntime-cpu"]).matrix[0]


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_images_are_repeated(sound, backend, n):
    x = Bundle.open(sound.bundle).golden().x[:n]
    sizes = SizesToTry(largest=4)
    encoded = measure_encoder(backend, x, None, sizes=sizes, n_bits=8)
    assert encoded.sizes == (2, 3, 4, 5)
    assert set(encoded.equal_rows) == set(encoded.split) == {"z", "bits/dim"}
    assert encoded.split["z"].rms < 1e-4
    decoded = measure_decoder(backend, backend.encode(x, None).z, None, sizes=sizes)
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
        found = measure_decoder(tampered, golden.z, None, sizes=SizesToTry())
    assert found.split["x"].rms == pytest.approx(0.25, rel=1e-3)
    assert found.equal_rows["x"].rms == pytest.approx(0.25, rel=1e-3)
    assert not found.bit_equal
    assert found.worst_size == 5
