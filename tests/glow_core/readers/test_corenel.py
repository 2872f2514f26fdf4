"""The reader of corenel/pytorch-glow, against that code's own numbers and against its formulas written again."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from formulas_chaiyujin_y0ast import CHAIYUJIN, CORENEL, Hyper, encode, random_state

from glow_core import ImportOptions, load_checkpoint, read_checkpoint
from glow_core.readers import READERS
from glow_core.readers.corenel import READER

# A native checkpoint holds float32. The first bias takes in the centring, scales and the top prior are derived.
LATENT_TOLERANCE = 2e-5  # of the latents' standard deviation
BITS_TOLERANCE = 5e-6  # bits/dim

# The layers of SMALL: steps 1 and 2, split 3, steps 5 and 6.
SMALL = Hyper(image=(3, 8, 12), levels=2, steps=2, width=5, batch=3, lu=False)
CLASSES = replace(SMALL, classes=4)
STEP = "flow.layers.1"

FIXTURES = {"corenel_affine": "affine", "corenel_additive": "additive"}
FILE = "network-snapshot-000007.pth"


@pytest.fixture
def written(tmp_path):
    """Write a state dictionary as that project does."""

    def write(state):
        path = tmp_path / FILE
        torch.save({"step": 7, "graph": state, "optimizer": {"state": {}}, "criterion": {}, "seconds": 1.5}, path)
        return path

    return write


@torch.no_grad()
def differences(path, state, hyper, *, names=CORENEL, **told):
    """Largest distance of a model that was read from the formulas: latents, bits/dim, and x from its round trip."""
    glow = load_checkpoint(path, options=ImportOptions(**told)).double()
    x = torch.from_numpy(np.random.default_rng(1).random((3, *hyper.image)))
    y = None if hyper.classes is None else torch.arange(3) % hyper.classes
    z, log_prob = glow.encode(x, y)
    theirs, _, expected = encode(names, state, x, y, levels=hyper.levels, steps=hyper.steps)
    latents = max(float((a - b).abs().max()) for a, b in zip(z, theirs, strict=True))
    bits = float((log_prob - expected).abs().max()) / (glow.config.dims * math.log(2))
    return latents, bits, float((glow.decode(z, y) - x).abs().max())


@pytest.mark.parametrize("name", FIXTURES)
def test_the_formulas_are_those_of_the_original_code(other_projects, name):
    state = torch.load(other_projects / name / FILE, weights_only=True)["graph"]
    with np.load(other_projects / name / "reference.npz") as reference:
        _, raw, log_prob = encode(CORENEL, state, torch.from_numpy(reference["x_source"]), levels=2, steps=2)
        np.testing.assert_allclose(raw[-1], reference["z2_raw"], rtol=0, atol=1e-11)
        np.testing.assert_allclose(log_prob, reference["log_prob"], rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", FIXTURES)
@torch.no_grad()
def test_a_file_of_the_original_code_gives_its_density(other_projects, name):
    path = other_projects / name / FILE
    checkpoint = read_checkpoint(path)
    config, glow = checkpoint.config, checkpoint.glow().double()
    assert (config.image_size, config.channels, config.levels, config.steps, config.width) == ((16, 16), 3, 2, 2, 16)
    assert (config.coupling, config.permutation, config.bounded_scale) == (FIXTURES[name], "plain", False)
    assert checkpoint.origin.project == "corenel/pytorch-glow"
    with np.load(other_projects / name / "reference.npz") as reference:
        z, log_prob = glow.encode(torch.from_numpy(reference["x_source"]))
        bits = 8 - log_prob.numpy() / (config.dims * math.log(2))
        np.testing.assert_allclose(bits, reference["bits_per_dim"], rtol=0, atol=1e-7)
        mean, log_scale = glow.prior.mean[:, None, None], glow.prior.log_scale[:, None, None]
        np.testing.assert_allclose(mean + log_scale.exp() * z[-1], reference["z2_raw"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(glow.decode(z), reference["x_source"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "hyper",
    [
        Hyper(image=(3, 2, 2), levels=1, steps=1, width=1, lu=False),
        Hyper(image=(1, 6, 10), levels=1, steps=3, width=4, affine=False, batch=64, lu=False),
        Hyper(image=(3, 8, 12), levels=2, steps=2, width=7, learn_top=False, lu=False),
        Hyper(image=(1, 20, 4), levels=2, steps=1, width=6, affine=False, classes=3, lu=False),
        Hyper(image=(1, 24, 8), levels=3, steps=3, width=5, lu=False),
        Hyper(image=(3, 16, 16), levels=4, steps=1, width=9, classes=10, lu=False),
    ],
    ids=lambda hyper: "x".join(map(str, hyper.image)),
)
def test_models_of_all_sizes_agree_with_the_formulas(written, hyper):
    state = random_state(CORENEL, hyper)
    path = written(state)
    latents, bits, round_trip = differences(path, state, hyper)
    assert latents < LATENT_TOLERANCE
    assert bits < BITS_TOLERANCE
    assert round_trip < 1e-11
    config = read_checkpoint(path).config
    assert (config.channels, *config.image_size) == hyper.image
    assert (config.levels, config.steps, config.width) == (hyper.levels, hyper.steps, hyper.width)
    assert config.num_classes == hyper.classes


@pytest.mark.parametrize("hyper", [SMALL, CLASSES, replace(CLASSES, affine=False, learn_top=False)])
def test_nothing_but_float32_stands_between_the_model_and_the_formulas(written, hyper):
    """With numbers whose derived values float32 holds exactly, both compute the same."""
    state = {name: (256 * value).round() / 256 for name, value in random_state(CORENEL, hyper).items()}
    for name in ("learn_top.logs", "y_emb.logs"):
        state |= {name: torch.zeros_like(state[name])} if name in state else {}
    latents, bits, _ = differences(written(state), state, hyper)
    assert latents < 1e-12
    assert bits < 1e-13


@pytest.mark.slow
def test_every_tensor_that_counts_is_seen_by_the_comparison(written):
    """The negative control: a change of any one tensor that counts is far outside the tolerances, and of no other."""
    state = random_state(CORENEL, CLASSES)
    path = written(state)
    idle = ("h_top", "learn_top.weight", "classifier.weight", "classifier.bias", "classifier.logs")
    assert set(idle) < set(state)
    for name in state:
        latents, bits, _ = differences(path, {**state, name: state[name] * 1.05}, CLASSES)
        counts = max(latents / LATENT_TOLERANCE, bits / BITS_TOLERANCE) > 10
        assert counts == (name not in idle), name


def test_actnorms_read_as_chaiyujins_would_be_another_model(written):
    state = random_state(CORENEL, SMALL)
    assert differences(written(state), state, SMALL, names=replace(CORENEL, actnorm=1))[0] > 0.1


def test_the_bare_state_dictionary_and_one_with_module_before_every_name_are_read(tmp_path):
    state = random_state(CORENEL, SMALL)
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "bare.pt")
    assert differences(tmp_path / "bare.pt", state, SMALL)[0] < LATENT_TOLERANCE


def test_what_is_told_takes_the_place_of_what_their_code_does(written, refusal):
    state = random_state(CORENEL, SMALL)
    path = written(state)
    centred = replace(CORENEL, centre=0.5)
    assert differences(path, state, SMALL, names=centred)[0] > 0.01
    assert differences(path, state, SMALL, names=centred, input_range="centred")[0] < LATENT_TOLERANCE
    told = ImportOptions(image_size=(8, 12), n_bits=5, input_range="unit", scale_map="sigmoid")
    checkpoint = read_checkpoint(path, options=told)
    assert checkpoint.config.n_bits == 5
    assert checkpoint.origin.notes == ()
    assert "--image-size says 12x8" in refusal(path, image_size=(12, 8))


def test_a_start_of_the_top_prior_that_their_code_does_not_run_with_is_said(written):
    state = random_state(CORENEL, SMALL)
    plain = read_checkpoint(written(state))
    moved = read_checkpoint(written({**state, "h_top": torch.full_like(state["h_top"], 0.1)}))
    assert all(torch.equal(plain.model[name], moved.model[name]) for name in plain.model)
    assert any("h_top is not zero" in note for note in moved.origin.notes)
    assert not any("h_top" in note for note in plain.origin.notes)


def test_the_classifier_is_left_out_and_said_to_be(written):
    notes = read_checkpoint(written(random_state(CORENEL, CLASSES))).origin.notes
    assert any("classifier" in note for note in notes)
    assert any("multi_classes" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({f"{STEP}.actnorm.bias": None}, "no tensor flow.layers.1.actnorm.bias"),
        ({f"{STEP}.invconv.weight": None}, "no tensor flow.layers.1.invconv.weight"),
        ({f"{STEP}.invconv.weight": torch.ones(12, 12, 1, 1)}, "shape (12, 12, 1, 1)"),
        ({f"{STEP}.f.4.logs": torch.full((12, 1, 1), math.nan)}, "NaN"),
        ({"flow.layers.3.conv2d_zeros.bias": None}, "no tensor flow.layers.3.conv2d_zeros.bias"),
        ({"flow.layers.7.conv2d_zeros.bias": torch.ones(1)}, "should be a step of flow"),
        ({"flow.layers.0.actnorm.bias": torch.ones(1, 12, 1, 1)}, "layer 0 should not be a step of flow"),
        ({"learn_top.bias": None}, "no tensor learn_top.bias"),
        ({"classifier.bias": torch.ones(1)}, "classifier but no y_emb"),
        ({"h_top": None}, "no tensor h_top"),
        ({"h_top": torch.zeros(3, 24, 2, 3)}, "shape (3, 24, 2, 3)"),
        ({"extra": torch.ones(1)}, "extra"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_files_that_do_not_hold_the_model(written, refusal, change, words):
    state = random_state(CORENEL, SMALL) | change
    assert words in refusal(written({name: value for name, value in state.items() if value is not None}))


def test_permutations_that_were_not_saved(written, refusal):
    state = {name: value for name, value in random_state(CORENEL, SMALL).items() if ".invconv." not in name}
    assert "shuffle or reverse" in refusal(written(state))


def test_only_this_layout_is_recognised():
    mine = list(random_state(CORENEL, CLASSES))
    one_level = list(random_state(CORENEL, replace(SMALL, levels=1)))
    theirs = list(random_state(CHAIYUJIN, CLASSES))
    assert READER in READERS
    for names, project in ((mine, "corenel/pytorch-glow"), (one_level, "corenel/pytorch-glow"), (theirs, "chaiyujin")):
        (reader,) = (reader for reader in READERS if reader.recognise(names))
        assert reader.project.startswith(project)
