from __future__ import annotations

import doctest
from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.directions import editing
from glow_deploy.directions.directions import Attribute, Directions
from glow_deploy.directions.editing import EditSettings, edit_latents
from glow_deploy.directions.reach import Reach
from glow_deploy.directions.soundness import Soundness, examine
from glow_deploy.engines.example import example_pair
from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.latents import EncodeSettings, decode_latents, encode_images

N = 5


def directions_for(decoder, *, count=3, removing=2.0, adding=2.0, scale=1.0, **options) -> Directions:
    rng = np.random.default_rng(4)
    shapes = [spec.shape for spec in decoder.inputs if spec.name[:1] == "z"]
    attributes = [
        Attribute(
            name=name,
            vectors=tuple((scale * rng.normal(size=shape)).astype(np.float32) for shape in shapes),
            counts=(30, 30),
            held_out=(20, 20),
            auc=0.9,
            auc_interval=(0.8, 0.95),
            auc_by_level=(0.9,) * len(shapes),
            removing=Reach(amount=removing, median=2.5, images=20),
            adding=Reach(amount=adding, median=2.5, images=20),
        )
        for name in ("hat", "Beard", "smile")[:count]
    ]
    return Directions(
        model_id="0" * 64,
        source="toys",
        attributes=tuple(attributes),
        limit=3.0,
        survival=0.95,
        soundness=Soundness(**options),
    )


def flow(perturbed_glow, *, bounded=True, classes=None, double=False):
    """Both engines of a perturbed model, and latents of five pictures."""
    from glow_core import GlowConfig
    from glow_deploy.engines.pytorch import PyTorchEngine

    config = GlowConfig(
        image_size=(8, 8), levels=2, steps=4, width=16, n_bits=5, bounded_scale=bounded, num_classes=classes
    )
    model = perturbed_glow(config)
    model = model.double() if double else model
    encoder, decoder = PyTorchEngine(model, role="encoder"), PyTorchEngine(model, role="decoder")
    values = np.random.default_rng(0).integers(0, 256, (N, 3, 8, 8), dtype=np.uint8)
    labels = None if classes is None else np.arange(N) % classes
    latents = encode_images(encoder, values, settings=EncodeSettings(draws=0), labels=labels)
    return encoder, decoder, latents


def test_the_example_holds():
    found = doctest.testmod(editing)
    assert found.attempted
    assert not found.failed


def test_an_edit_is_the_sum_of_its_directions(perturbed_glow):
    encoder, decoder, latents = flow(perturbed_glow)
    found = directions_for(decoder, scale=0.1)
    edited = edit_latents(encoder, decoder, latents, found, edits=[{"hat": 1.5, "smile": -0.5}, {"beard": 1}])
    assert edited.names == ("hat", "smile", "Beard")
    np.testing.assert_array_equal(edited.asked, [[1.5, -0.5, 0], [0, 0, 1]])
    assert not edited.damped.any()
    for level, (z, own) in enumerate(zip(edited.z, latents.z, strict=True)):
        hat, beard, smile = (attribute.vectors[level] for attribute in found.attributes)
        np.testing.assert_allclose(z[:, 0], own + 1.5 * hat - 0.5 * smile, atol=1e-6)
        np.testing.assert_allclose(z[:, 1], own + beard, atol=1e-6)
    for edit in range(2):
        alone = decode_latents(decoder, [z[:, edit] for z in edited.z]).x  # in batches of other sizes
        np.testing.assert_allclose(edited.x[:, edit], alone, atol=2e-6)
    np.testing.assert_array_equal(edited.applied, np.broadcast_to(edited.asked, (N, 2, 3)))
    assert edited.faults == (("", ""),) * N


def test_amounts_of_0_and_no_attributes_give_the_reconstruction(perturbed_glow):
    encoder, decoder, latents = flow(perturbed_glow)
    runs = []
    run = decoder.run
    decoder.run = lambda feeds: runs.append(len(feeds["z1"])) or run(feeds)
    edited = edit_latents(encoder, decoder, latents, directions_for(decoder), edits=[{"hat": 0, "smile": 0}, {}])
    assert runs == [N]
    want = run({f"z{level}": z for level, z in enumerate(latents.z, start=1)})["x"]
    for edit in range(2):
        np.testing.assert_array_equal(edited.x[:, edit], want)
        np.testing.assert_array_equal(edited.z[0][:, edit], latents.z[0])
    assert not edited.damped.any()


def test_a_plain_glow_is_damped_where_it_would_decode_to_nothing(perturbed_glow):
    """Without the bounded scale a few steps along a direction overflow."""
    encoder, decoder, latents = flow(perturbed_glow, bounded=False)
    found = directions_for(decoder)
    hat = found["hat"]
    # Control: the edit as asked for cannot be shown.
    raw = decode_latents(decoder, [z + np.float32(15) * w for z, w in zip(latents.z, hat.vectors, strict=True)])
    assert not raw.finite.any()
    edited = edit_latents(encoder, decoder, latents, found, edits=[{"hat": 15}], settings=EditSettings(beyond=True))
    assert np.isfinite(edited.x).all()
    assert edited.damped.all()
    assert (edited.kept > 0).all()
    assert all(faults == ("decodes to non-finite values",) for faults in edited.faults)
    # What is returned is sound, belongs to its latents, and lies where it says.
    seen = examine(encoder, decoder, [z[:, 0] for z in edited.z])
    np.testing.assert_array_equal(seen.x, edited.x[:, 0])
    np.testing.assert_array_equal(seen.round_trip, edited.round_trip[:, 0])
    assert seen.sound(found.soundness, np.full(N, found.soundness.tolerance)).all()
    np.testing.assert_array_equal(seen.overshoot, edited.overshoot[:, 0])
    for level, w in enumerate(hat.vectors):
        want = latents.z[level] + edited.applied[:, 0, 0][:, None, None, None] * w
        np.testing.assert_allclose(edited.z[level][:, 0], want, atol=1e-5)
    # A little more of the edit is not sound: nothing was given away.
    more = [
        z + (edited.applied[:, 0, 0] + 15 / 2**10)[:, None, None, None] * w
        for z, w in zip(latents.z, hat.vectors, strict=True)
    ]
    assert (
        not examine(encoder, decoder, [z.astype(np.float32) for z in more])
        .sound(found.soundness, np.full(N, 0.01))
        .any()
    )


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_batch_changes_nothing(perturbed_glow, batch):
    encoder, decoder, latents = flow(perturbed_glow, bounded=False)
    found = directions_for(decoder)
    edits = [{"hat": amount} for amount in (-20, 0, 0.1, 20)]
    one, other = (
        edit_latents(
            encoder, decoder, latents, found, edits=edits, settings=EditSettings(beyond=True, batch=size, halvings=6)
        )
        for size in (batch, 64)
    )
    np.testing.assert_allclose(one.kept, other.kept, atol=2**-5)
    np.testing.assert_array_equal(one.damped, [[True, False, False, True]] * N)
    assert np.isfinite(one.x).all()


def test_amounts_are_cut_to_the_measured_range_unless_told_otherwise(perturbed_glow):
    encoder, decoder, latents = flow(perturbed_glow)
    found = directions_for(decoder, scale=0.02, removing=0.5, adding=0.75)
    edits = [{"hat": 2, "smile": 0.7}, {"hat": -2, "smile": -0.4}]
    edited = edit_latents(encoder, decoder, latents, found, edits=edits)
    np.testing.assert_array_equal(edited.asked, [[2, 0.7], [-2, -0.4]])
    np.testing.assert_array_equal(edited.used, [[0.75, 0.7], [-0.5, -0.4]])
    assert not edited.damped.any()
    free = edit_latents(encoder, decoder, latents, found, edits=edits, settings=EditSettings(beyond=True))
    np.testing.assert_array_equal(free.used, free.asked)
    assert np.abs(free.z[0] - edited.z[0]).max() > 0.01


def test_an_edit_that_is_never_sound_leaves_the_image(perturbed_glow):
    encoder, decoder = example_pair()
    latents = encode_images(encoder, np.full((2, 1, 4, 4), 255, np.uint8), settings=EncodeSettings(draws=0))
    found = directions_for(decoder, count=1, margin=0)
    up = replace(found, attributes=(replace(found["hat"], vectors=(np.full((2, 2, 2), 1e3, np.float32),) * 2),))
    edited = edit_latents(encoder, decoder, latents, up, edits=[{"hat": 2}])
    assert (edited.kept < 0.001).all()
    np.testing.assert_allclose(edited.x[:, 0], 63 / 64, atol=1 / 64)
    assert "beyond [0, 1]" in edited.faults[0][0]


def test_classes_are_kept(perturbed_glow):
    encoder, decoder, latents = flow(perturbed_glow, classes=3)
    edited = edit_latents(encoder, decoder, latents, directions_for(decoder, scale=0.02), edits=[{}, {"hat": 1}])
    want = decode_latents(decoder, [z[:, 1] for z in edited.z], labels=latents.labels).x
    np.testing.assert_array_equal(edited.x[:, 1], want)
    other = decode_latents(decoder, [z[:, 1] for z in edited.z], labels=(latents.labels + 1) % 3).x
    assert np.abs(other - want).max() > 1e-4
    with pytest.raises(UsageError, match="is class-conditional"):
        edit_latents(encoder, decoder, replace(latents, labels=None), directions_for(decoder), edits=[{"hat": 1}])


def test_float64_engines_stay_in_float64(perturbed_glow):
    encoder, decoder, latents = flow(perturbed_glow, double=True)
    edited = edit_latents(encoder, decoder, latents, directions_for(decoder, scale=0.1), edits=[{"hat": 1}])
    assert edited.x.dtype == edited.z[0].dtype == np.float64
    assert edited.round_trip.max() < 1e-10


def test_progress_and_bounds(perturbed_glow):
    encoder, decoder, latents = flow(perturbed_glow, bounded=False)
    runs, seen = [], []
    run = decoder.run
    decoder.run = lambda feeds: runs.append(1) or run(feeds)
    edit_latents(
        encoder,
        decoder,
        latents,
        directions_for(decoder),
        edits=[{"hat": 500}],
        settings=EditSettings(beyond=True, halvings=7),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(runs) == 1 + 1 + 7
    assert seen[-1] == (8, 8)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_what_cannot_be_edited(perturbed_glow):
    encoder, decoder, latents = flow(perturbed_glow)
    found = directions_for(decoder)

    def edit(**edits):
        return edit_latents(encoder, decoder, latents, found, edits=[edits])

    with pytest.raises(UsageError, match="nothing to edit"):
        edit_latents(encoder, decoder, latents, found, edits=[])
    with pytest.raises(UsageError, match="no direction for 'nose'"):
        edit(nose=1)
    with pytest.raises(UsageError, match="given twice"):
        edit(hat=1, HAT=1)
    for amount in (np.nan, np.inf, 1e9):
        with pytest.raises(UsageError, match="an amount is"):
            edit(hat=amount)
    with pytest.raises(UsageError, match="needs an encoder"):
        edit_latents(decoder, encoder, latents, found, edits=[{"hat": 1}])
    with pytest.raises(DataError, match="another shape than z1"):
        edit_latents(encoder, decoder, latents, directions_for(example_pair()[1]), edits=[{"hat": 1}])
    run = decoder.run
    decoder.run = lambda feeds: {"x": run(feeds)["x"] * np.nan}
    with pytest.raises(UnsoundModelError, match="0 as it is decodes to non-finite values"):
        edit(hat=1)
    for bad in ({"halvings": 0}, {"halvings": 31}, {"batch": 0}):
        with pytest.raises(UsageError):
            EditSettings(**bad)
