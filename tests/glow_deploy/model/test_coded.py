"""Latents as users have them: Pictures, files, arrays in order or by name."""

from __future__ import annotations

import numpy as np
import pytest

import glow_deploy
from glow_deploy.errors import DataError, UsageError


@pytest.fixture(scope="module")
def model(bundles):
    with glow_deploy.load(bundles["plain"]) as opened:
        yield opened


@pytest.fixture(scope="module")
def pictures(model):
    return model.sample(3, seed=6)


def test_every_kind_gives_the_same_pictures(model, pictures, tmp_path):
    latents = model.encode(pictures)
    glow_deploy.save_latents(tmp_path / "z.npz", latents)
    by_name = {"z1": latents.z[0], "z2": latents.z[1]}
    wanted = model.decode(latents).x
    for given in (
        list(latents.z), tuple(latents.z), iter(latents.z), by_name, by_name | {"log_prob": latents.log_prob},
        tmp_path / "z.npz", str(tmp_path / "z.npz"), [level.tolist() for level in latents.z],
    ):  # fmt: skip
        assert np.array_equal(model.decode(given).x, wanted)
    with np.load(tmp_path / "z.npz") as archive:
        assert np.array_equal(model.decode(archive).x, wanted)


def test_a_model_of_one_level_takes_its_array_alone(bundles):
    with glow_deploy.load(bundles["grey"]) as model:
        z1 = model.sample(2).z[0]
        assert np.array_equal(model.decode(z1).x, model.decode([z1]).x)


def test_the_classes_of_a_file_are_taken_unless_others_are_given(bundles, tmp_path):
    with glow_deploy.load(bundles["classes"]) as model:
        latents = model.encode(model.sample(3, labels="all"), labels=[0, 1, 2])
        glow_deploy.save_latents(tmp_path / "z.npz", latents)
        assert model.decode(tmp_path / "z.npz").labels.tolist() == [0, 1, 2]
        assert model.decode(tmp_path / "z.npz", labels=np.int64(1)).labels.tolist() == [1, 1, 1]
        with np.load(tmp_path / "z.npz") as archive:
            assert model.decode(archive).labels.tolist() == [0, 1, 2]
        with pytest.raises(UsageError, match="labels="):
            model.decode(list(latents.z))


def test_labels_of_another_model_are_left_out(model, pictures):
    z = {"z1": pictures.z[0], "z2": pictures.z[1], "y": np.zeros(3, np.int64)}
    assert model.decode(z).labels is None


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (lambda z: None, UsageError, "latents must be what `encode` gave, .* arrays z1 to z2, not None"),
        (lambda z: 3, UsageError, "latents must be .*, not 3"),
        (lambda z: b"z", UsageError, "latents must be .*, not b'z'"),
        (lambda z: ["a", "b"], UsageError, r"z1 of latents must be an array of numbers \[N, C, H, W\], not 'a'"),
        (lambda z: [z[0], None], UsageError, "z2 of latents must be an array of numbers"),
        (lambda z: [z[0] > 0, z[1]], UsageError, "z1 of latents must be an array of numbers"),
        (lambda z: [z[0] * 1j, z[1]], UsageError, "z1 of latents must be an array of numbers"),
        (lambda z: [[[1.0], [1.0, 2.0]], z[1]], UsageError, "z1 of latents is no array"),
        (lambda z: z[0], UsageError, "the model has 2 levels, and latents has 3 arrays; give z1, z2"),
        (lambda z: [z[0]], UsageError, "the model has 2 levels, and latents has 1 arrays; give z1, z2"),
        (lambda z: {"z1": z[0]}, UsageError, "latents lacks z2; give z1, z2"),
        (lambda z: {"z1": z[0], "z2": z[1], "z9": 1}, UsageError, "latents has z9, which this model does not know"),
        (lambda z: "nowhere.npz", DataError, r"nowhere\.npz"),
        (lambda z: "", UsageError, "latents must be a path"),
        (lambda z: [z[1], z[0]], DataError, r"z1 \[3, 24, 2, 2\], z2 .* takes z1 \[N, 6, 4, 4\], z2 \[N, 24, 2, 2\]"),
        (lambda z: [z[0][:0], z[1][:0]], DataError, "N >= 1"),
        (lambda z: [np.float64(1), np.float64(2)], DataError, r"latents z1 \[\], z2 \[\] do not fit"),
    ],
)
def test_what_is_no_latents_is_told(model, pictures, change, kind, said):
    with pytest.raises(kind, match=said):
        model.decode(change(pictures.z))
