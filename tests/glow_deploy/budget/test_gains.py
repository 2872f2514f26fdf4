"""Decode gains against linear models, whose gains can be written down."""

import numpy as np
import pytest

from glow_deploy.budget import gains, measure_budget, measure_gains
from glow_deploy.budget.gains import measure_profile
from glow_deploy.errors import UsageError
from glow_deploy.numerics.float64 import Float64Graph

SCALES = [0.5, 3.0, 1.25, 10.0]


def test_gains_of_scaled_rotations_multiply(linear_model, rotation, graphs, images):
    folded = linear_model([scale * rotation(12, seed=index) for index, scale in enumerate(SCALES)])
    x = images(5, (3, 8, 8))
    measured = measure_gains(*graphs(folded), x)
    # After the decoder's step k the steps k-1 ... 1 are still to come.
    expected = {f"level1/step{k + 1:02d}": np.prod(SCALES[:k]) for k in range(len(SCALES))}
    assert list(measured) == list(expected)
    for step, value in expected.items():
        assert measured[step] == pytest.approx(value, rel=1e-6), step


def test_gamma_is_the_root_of_the_sum_of_squares(linear_model, rotation, graphs, images):
    folded = linear_model([scale * rotation(12, seed=index) for index, scale in enumerate(SCALES)])
    x = images(5, (3, 8, 8))
    report = measure_budget(*graphs(folded), x)
    # A rotation keeps the rms, so gain times rms is the picture's own rms at every step.
    square = len(SCALES) * np.square(x).astype(np.float64).mean(axis=(1, 2, 3))
    assert report.gamma == pytest.approx(np.sqrt(square.mean()), rel=1e-5)
    assert report.gamma_max == pytest.approx(np.sqrt(square.max()), rel=1e-5)
    assert [step.share for step in report.steps] == pytest.approx([1 / len(SCALES)] * len(SCALES), rel=1e-5)
    assert report.steps[2].rms == pytest.approx(report.steps[0].rms / (SCALES[0] * SCALES[1]), rel=1e-5)


def test_more_probes_come_closer_to_a_matrix_that_is_no_rotation(linear_model, graphs, images):
    matrix = np.random.default_rng(0).standard_normal((12, 12))
    folded = linear_model([matrix, np.eye(12)])
    expected = np.linalg.norm(matrix) / np.sqrt(12)
    x = images(3, (3, 8, 8))
    assert measure_gains(*graphs(folded), x, probes=8)["level1/step02"] == pytest.approx(expected, rel=0.03)
    # The comparison can fail.
    assert measure_gains(*graphs(linear_model([1.1 * matrix, np.eye(12)])), x, probes=8)[
        "level1/step02"
    ] != pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bounded_scale": False},
        {"coupling": "additive"},
        {"num_classes": 3, "levels": 3, "channels": 1},
    ],
    ids=str,
)
def test_a_small_error_at_a_step_arrives_as_its_gain_says(options, small_glow, graphs, images):
    """Against noise of another kind and size, one step at a time, for the real couplings."""
    folded = small_glow(**options)
    encoder, decoder = (Float64Graph(model) for model in graphs(folded))
    x = images(4, folded.image_shape)
    labels = {} if folded.num_classes is None else {"y": np.arange(4) % 3}
    profile = measure_profile(encoder, decoder, x, labels.get("y"))
    assert len(profile.steps) == sum(len(level.steps) for level in folded.levels)
    feeds = {**encoder.run({"x": x, **labels}, outputs=[n for n in decoder.input_names if n != "y"]), **labels}
    rng = np.random.default_rng(7)
    for step in profile.steps:
        name = f"{step.step}/invconv:0"
        base = decoder.run(feeds, outputs=["x", name])
        noise = 1e-5 * rng.standard_normal(base[name].shape)
        moved = decoder.run(feeds, outputs=["x"], overrides={name: base[name] + noise})["x"]
        gain = np.sqrt(np.mean((moved - base["x"]) ** 2) / np.mean(noise**2))
        assert gain == pytest.approx(np.sqrt(np.mean(step.gain**2)), rel=0.15), step.step
        assert step.rms == pytest.approx(np.sqrt(np.mean(base[name] ** 2, axis=(1, 2, 3))), rel=1e-9)
    assert profile.steps[-1].step == "level1/step01"
    assert profile.steps[-1].gain == pytest.approx(np.ones(4), rel=1e-6)


def test_the_seed_decides_the_figures(small_glow, graphs, images):
    models = graphs(small_glow(steps=2))
    x = images(2, (3, 16, 16))
    first, again, other = (measure_gains(*models, x, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert all(other[step] == pytest.approx(value, rel=0.2) for step, value in first.items())


def test_images_are_taken_from_all_over_the_set(small_glow, graphs, images):
    encoder, decoder = graphs(small_glow(steps=1))
    x = images(9, (3, 16, 16))
    spread = measure_gains(encoder, decoder, x, images=3)
    assert spread == measure_gains(encoder, decoder, x[[0, 4, 8]])


def test_progress_ends_at_the_total(small_glow, graphs, images):
    seen = []
    measure_gains(*graphs(small_glow(steps=2)), images(5, (3, 16, 16)), progress=lambda *call: seen.append(call))
    assert seen[0] == ("error budget", 1, 8)
    assert seen[-1] == ("error budget", 8, 8)
    assert len(seen) == 8


@pytest.mark.parametrize("options", [{"images": 0}, {"probes": 0}, {"n": 0}])
def test_nothing_to_measure_is_an_error(options, small_glow, graphs, images):
    x = images(options.pop("n", 1), (3, 16, 16))
    with pytest.raises(UsageError, match="at least one image and one probe"):
        measure_gains(*graphs(small_glow(steps=1)), x, **options)


def test_a_large_model_is_measured_on_fewer_images(small_glow, graphs, images, monkeypatch):
    models, x = graphs(small_glow(steps=2)), images(20, (3, 16, 16))
    assert measure_budget(*models, x).images == 8
    monkeypatch.setattr(gains, "EFFORT", 1.0)
    assert measure_budget(*models, x).images == 2
    assert measure_budget(*models, x, images=3).images == 3


def test_the_effort_is_counted_per_step(small_glow, graphs):
    _, decoder = graphs(small_glow(steps=1, levels=1, channels=1))
    graph = Float64Graph(decoder)
    # 1x1 of 4 channels, then 3x3 2 -> 32, 1x1 32 -> 32, 3x3 32 -> 4, at 8x8 positions; one probe and one response
    weights = 16 + 9 * 2 * 32 + 32 * 32 + 9 * 32 * 4
    assert gains._effort(graph, ["level1/step01"], pixels=256, probes=1) == 2 * 64 * weights
