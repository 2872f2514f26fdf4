"""The reader of chaiyujin/glow-pytorch, against that code's own numbers and against its formulas written again."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from formulas_chaiyujin_y0ast import CHAIYUJIN, Hyper, encode, random_state

from glow_core import ImportOptions, load_checkpoint, read_checkpoint
from glow_core.readers import READERS
from glow_core.readers.chaiyujin import READER

# A native checkpoint holds float32. The first bias takes in the centring, the top prior is derived: both are rounded.
LATENT_TOLERANCE = 3e-6  # of the latents' standard deviation
BITS_TOLERANCE = 1e-6  # bits/dim

# The layers of SMALL: steps 1 and 2, split 3, steps 5 and 6.
SMALL = Hyper(image=(3, 8, 12), levels=2, steps=2, width=5, batch=3)
CLASSES = replace(SMALL, classes=4)

FIXTURES = {"chaiyujin_affine_lu": ("affine", "lu"), "chaiyujin_additive_plain": ("additive", "plain")}


@pytest.fixture
def written(tmp_path):
    """Write a state dictionary as that project does."""

    def write(state):
        path = tmp_path / "trained.pkg"
        torch.save(
            {"global_step": 7, "graph": state, "optim": {"state": {}, "param_groups": []}, "criterion": {}}, path
        )
        return path

    return write


def images(hyper, count, *, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).random((count, *hyper.image)))


def labels(hyper, count):
    return None if hyper.classes is None else torch.arange(count) % hyper.classes


def model(path, **told):
    return load_checkpoint(path, options=ImportOptions(**told)).double()


@torch.no_grad()
def differences(glow, state, hyper, *, names=CHAIYUJIN, count=3):
    """Largest distance of a model that was read from the formulas: latents, bits/dim, and x from its round trip."""
    x, y = images(hyper, count), labels(hyper, count)
    z, log_prob = glow.encode(x, y)
    theirs, _, expected = encode(names, state, x, y, levels=hyper.levels, steps=hyper.steps)
    latents = max(float((a - b).abs().max()) for a, b in zip(z, theirs, strict=True))
    bits = float((log_prob - expected).abs().max()) / (glow.config.dims * math.log(2))
    return latents, bits, float((glow.decode(z, y) - x).abs().max())


# ---- the original code's numbers


@pytest.mark.parametrize("name", FIXTURES)
def test_the_formulas_are_those_of_the_original_code(other_projects, name):
    state = torch.load(other_projects / name / "trained.pkg", weights_only=True)["graph"]
    with np.load(other_projects / name / "reference.npz") as reference:
        _, raw, log_prob = encode(CHAIYUJIN, state, torch.from_numpy(reference["x_source"]), levels=2, steps=2)
        np.testing.assert_allclose(raw[-1], reference["z2_raw"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(log_prob, reference["log_prob"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", FIXTURES)
@torch.no_grad()
def test_a_file_of_the_original_code_gives_its_density_and_its_latents(other_projects, name):
    path = other_projects / name / "trained.pkg"
    glow = model(path)
    with np.load(other_projects / name / "reference.npz") as reference:
        x = torch.from_numpy(reference["x_source"])
        z, log_prob = glow.encode(x)
        np.testing.assert_allclose(log_prob, reference["log_prob"], rtol=0, atol=1e-6)
        bits = 8 - log_prob.numpy() / (glow.config.dims * math.log(2))
        np.testing.assert_allclose(bits, reference["bits_per_dim"], rtol=0, atol=1e-8)
        state = torch.load(path, weights_only=True)["graph"]
        theirs, _, _ = encode(CHAIYUJIN, state, x, levels=2, steps=2)
        for mine, expected in zip(z, theirs, strict=True):
            np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-7)
        mean, log_scale = glow.prior.mean[:, None, None], glow.prior.log_scale[:, None, None]
        np.testing.assert_allclose(mean + log_scale.exp() * z[-1], reference["z2_raw"], rtol=0, atol=1e-7)
        np.testing.assert_allclose(glow.decode(z), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FIXTURES)
def test_what_a_file_holds_and_what_is_taken_for_granted(other_projects, name):
    checkpoint = read_checkpoint(other_projects / name / "trained.pkg")
    config = checkpoint.config
    assert (config.image_size, config.channels, config.levels, config.steps, config.width) == ((16, 16), 3, 2, 2, 16)
    assert (config.coupling, config.permutation) == FIXTURES[name]
    assert (config.bounded_scale, config.n_bits, config.num_classes, config.edge_bias) == (False, 8, None, False)
    assert checkpoint.origin.project == "chaiyujin/glow-pytorch"
    notes = " ".join(checkpoint.origin.notes)
    assert all(words in notes for words in ("p / 255", "Gaussian noise", "8 bits", "[0,1)"))
    assert ("sigmoid(h + 2)" in notes) == (config.coupling == "affine")


# ---- other sizes than the files at hand


@pytest.mark.parametrize(
    "hyper",
    [
        Hyper(image=(3, 2, 2), levels=1, steps=1, width=1),
        Hyper(image=(1, 6, 10), levels=1, steps=3, width=4, affine=False, batch=64),
        Hyper(image=(3, 8, 12), levels=2, steps=2, width=7, lu=False, learn_top=False),
        Hyper(image=(1, 20, 4), levels=2, steps=1, width=6, lu=False, affine=False, classes=3),
        Hyper(image=(3, 8, 16), levels=3, steps=1, width=16, affine=False, learn_top=False, classes=2, batch=5),
        Hyper(image=(1, 24, 8), levels=3, steps=3, width=5, lu=False),
        Hyper(image=(3, 16, 16), levels=4, steps=1, width=9, classes=10, batch=0),
        Hyper(image=(1, 16, 48), levels=4, steps=2, width=3, lu=False, affine=False, learn_top=False),
    ],
    ids=lambda hyper: "x".join(map(str, hyper.image)),
)
def test_models_of_all_sizes_agree_with_the_formulas(written, hyper):
    state = random_state(CHAIYUJIN, replace(hyper, batch=max(hyper.batch, 1)))
    path = written({**state, "prior_h": torch.zeros(hyper.batch, *state["prior_h"].shape[1:])})
    latents, bits, round_trip = differences(model(path), state, hyper)
    assert latents < LATENT_TOLERANCE
    assert bits < BITS_TOLERANCE
    assert round_trip < 1e-12
    config = read_checkpoint(path).config
    assert (config.channels, *config.image_size) == hyper.image
    assert (config.levels, config.steps, config.width) == (hyper.levels, hyper.steps, hyper.width)
    assert config.num_classes == hyper.classes


@pytest.mark.parametrize("hyper", [SMALL, CLASSES, replace(CLASSES, affine=False, lu=False, learn_top=False)])
def test_nothing_but_float32_stands_between_the_model_and_the_formulas(written, hyper):
    """With numbers whose derived values float32 holds exactly, both compute the same."""
    state = {name: (256 * value).round() / 256 for name, value in random_state(CHAIYUJIN, hyper).items()}
    for name in ("learn_top.logs", "project_ycond.logs"):
        state |= {name: torch.zeros_like(state[name])} if name in state else {}
    latents, bits, _ = differences(model(written(state)), state, hyper)
    assert latents < 1e-12
    assert bits < 1e-13


def test_every_tensor_that_counts_is_seen_by_the_comparison(written):
    """The negative control: a change of any one tensor that counts is far outside the tolerances, and of no other."""
    state = random_state(CHAIYUJIN, CLASSES)
    glow = model(written(state))
    idle = ("prior_h", "learn_top.weight", "project_class.weight", "project_class.bias", "project_class.logs")
    assert set(idle) < set(state)
    for name in state:
        if name.endswith((".p", ".sign_s")):
            continue
        latents, bits, _ = differences(glow, {**state, name: state[name] * 1.05}, CLASSES)
        if name in idle:
            assert latents < LATENT_TOLERANCE, name
        else:
            assert max(latents / LATENT_TOLERANCE, bits / BITS_TOLERANCE) > 10, name


def test_what_their_code_masks_or_multiplies_by_zeros_changes_nothing(written):
    state = random_state(CHAIYUJIN, SMALL)
    first = read_checkpoint(written(state)).model
    state["learn_top.weight"] = 9 * state["learn_top.weight"]
    for layer in (1, 2, 5, 6):
        path = f"flow.layers.{layer}.invconv"
        state[f"{path}.l"] = state[f"{path}.l"].tril(-1)
        state[f"{path}.u"] = state[f"{path}.u"].triu(1) - 3 * torch.ones_like(state[f"{path}.u"]).tril()
    second = read_checkpoint(written(state)).model
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_step_of_the_other_kind_makes_all_1x1_convolutions_plain(written):
    plain = random_state(CHAIYUJIN, replace(SMALL, lu=False), seed=2)
    state = {name: value for name, value in random_state(CHAIYUJIN, SMALL).items() if "layers.5.invconv" not in name}
    state["flow.layers.5.invconv.weight"] = plain["flow.layers.5.invconv.weight"]
    path = written(state)
    assert read_checkpoint(path).config.permutation == "plain"
    assert differences(model(path), state, SMALL)[0] < LATENT_TOLERANCE


def test_the_classifier_is_left_out_and_said_to_be(written):
    state = random_state(CHAIYUJIN, CLASSES)
    with_it = read_checkpoint(written(state))
    without = read_checkpoint(written({k: v for k, v in state.items() if not k.startswith("project_class")}))
    assert all(torch.equal(with_it.model[name], without.model[name]) for name in without.model)
    assert any("project_class" in note for note in with_it.origin.notes)
    assert not any("project_class" in note for note in without.origin.notes)
    assert any("multi-classes" in note for note in without.origin.notes)


# ---- what may be told


def test_what_is_told_takes_the_place_of_what_their_code_does(written):
    state = random_state(CHAIYUJIN, SMALL)
    path = written(state)
    centred = replace(CHAIYUJIN, centre=0.5)
    assert differences(model(path), state, SMALL, names=centred)[0] > 0.01
    assert differences(model(path, input_range="centred"), state, SMALL, names=centred)[0] < LATENT_TOLERANCE
    told = ImportOptions(image_size=(8, 12), n_bits=5, input_range="unit", scale_map="sigmoid")
    checkpoint = read_checkpoint(path, options=told)
    assert checkpoint.config.n_bits == 5
    assert len(checkpoint.origin.notes) == 1
    assert "p / 255" in checkpoint.origin.notes[0]


def test_what_is_told_against_the_file_is_refused(written, refusal):
    path = written(random_state(CHAIYUJIN, SMALL))
    message = refusal(path, image_size=(12, 8))
    assert "--image-size says 12x8" in message
    assert "is 8x12" in message
    for scale_map in ("exp", "sigmoid_inv"):
        message = refusal(path, scale_map=scale_map)
        assert f"--scale-map {scale_map}" in message
        assert "sigmoid(h + 2)" in message


# ---- what is refused


STEP = "flow.layers.1"
NEW_STEP = torch.ones(1, 12, 1, 1)


def without(state, *beginnings):
    return {name: value for name, value in state.items() if not name.startswith(beginnings)}


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({2: None}, "layer 2 should be a step of flow"),
        ({6: None}, "layer 6 should be a step of flow"),
        ({5: None, 6: None}, "layer 5 should be a step of flow"),
        ({3: None}, "layer 3 should be a step of flow"),
        ({3: 4}, "layer 3 should be a step of flow"),
        ({5: 4, 6: 5}, "layer 6 should be a step of flow"),
        ({1: 0}, "layer 1 should be a step of flow"),
        ({6: 7}, "layer 6 should be a step of flow"),
        ({2: 123456}, "layer 2 should be a step of flow"),
    ],
    ids=str,
)
def test_irregular_numbers(written, refusal, layers, words):
    state = without(random_state(CHAIYUJIN, SMALL), *(f"flow.layers.{layer}." for layer in layers))
    for name, value in random_state(CHAIYUJIN, SMALL).items():
        for old, new in layers.items():
            if new is not None and name.startswith(f"flow.layers.{old}."):
                state[name.replace(f"layers.{old}.", f"layers.{new}.")] = value
    message = refusal(written(state))
    assert "do not repeat from level to level" in message
    assert words in message


@pytest.mark.parametrize("split", [0, 1])
def test_no_step_before_the_first_split(written, refusal, split):
    state = without(random_state(CHAIYUJIN, SMALL), "flow.layers.1.", "flow.layers.2.", "flow.layers.3.")
    state |= {f"flow.layers.{split}.conv.bias": NEW_STEP}
    assert "no step of flow before its first split" in refusal(written(state))


@pytest.mark.parametrize("layer", [0, 4, 7, 8, 999999])
def test_a_step_too_many(written, refusal, layer):
    state = random_state(CHAIYUJIN, SMALL)
    state |= {f"flow.layers.{layer}.actnorm.bias": NEW_STEP}
    assert f"layer {layer} should not be a step of flow" in refusal(written(state))


def test_a_split_too_many(written, refusal):
    state = random_state(CHAIYUJIN, SMALL)
    state |= {"flow.layers.7.conv.bias": NEW_STEP}
    assert "layer 9 should be a step of flow" in refusal(written(state))


def test_permutations_that_were_not_saved(written, refusal):
    state = {name: value for name, value in random_state(CHAIYUJIN, SMALL).items() if ".invconv." not in name}
    message = refusal(written(state))
    assert "shuffle or reverse" in message
    assert "not saved" in message


def test_factors_that_were_not_saved(written, refusal):
    state = random_state(CHAIYUJIN, SMALL)
    state = {name: value for name, value in state.items() if not name.endswith((".p", ".sign_s"))}
    message = refusal(written(state))
    assert "neither p nor sign_s" in message
    assert "did not save" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({f"{STEP}.actnorm.bias": None}, "no tensor flow.layers.1.actnorm.bias"),
        ({f"{STEP}.actnorm.bias": torch.ones(())}, "shape ()"),
        ({f"{STEP}.actnorm.bias": torch.ones(1, 13, 1, 1)}, "shape (1, 12, 1, 1)"),
        ({f"{STEP}.actnorm.logs": torch.ones(12)}, "shape (12,)"),
        ({f"{STEP}.actnorm.logs": torch.full((1, 12, 1, 1), math.nan)}, "NaN"),
        ({f"{STEP}.invconv.u": None}, "no tensor flow.layers.1.invconv.u"),
        ({f"{STEP}.invconv.p": None}, "no tensor flow.layers.1.invconv.p"),
        ({f"{STEP}.invconv.l": None}, "no tensor flow.layers.1.invconv.weight"),
        ({f"{STEP}.invconv.sign_s": torch.zeros(12)}, "other signs than -1 and 1"),
        ({f"{STEP}.invconv.p": torch.ones(12, 12)}, "not a permutation"),
        ({f"{STEP}.invconv.weight": torch.ones(12, 12)}, "no place"),
        ({f"{STEP}.f.0.weight": torch.ones(5, 7, 3, 3)}, "shape (5, 7, 3, 3)"),
        ({f"{STEP}.f.0.bias": torch.ones(5)}, "no place"),
        ({f"{STEP}.f.2.weight": None}, "no tensor flow.layers.1.f.2.weight"),
        ({f"{STEP}.f.4.logs": torch.ones(12)}, "shape (12,)"),
        ({"flow.layers.3.conv.weight": torch.ones(24, 6, 3, 3)}, "shape (24, 6, 3, 3)"),
        ({"flow.layers.3.conv.bias": None}, "no tensor flow.layers.3.conv.bias"),
        ({"flow.layers.06.actnorm.bias": NEW_STEP}, "no place"),
        ({"flow.layers.9999999.actnorm.bias": NEW_STEP}, "no place"),
        ({"learn_top.weight": None}, "no tensor learn_top.weight"),
        ({"learn_top.weight": torch.full((48, 48, 3, 3), math.inf)}, "infinity"),
        ({"learn_top.bias": None}, "no tensor learn_top.bias"),
        ({"learn_top.logs": torch.full((48, 1, 1), 100.0)}, "infinity"),
        ({"project_ycond.weight": torch.ones(48, 0)}, "no tensor project_ycond.bias"),
        ({"prior_h": None}, "no tensor prior_h"),
        ({"prior_h": torch.zeros(3, 24, 2, 3)}, "shape (3, 24, 2, 3)"),
        ({"prior_h": torch.full((3, 48, 2, 3), 0.1)}, "prior_h is not zero"),
        ({"prior_h": torch.tensor([1.0, -1.0]).repeat(3, 48, 2, 1)}, "prior_h is not zero"),
        ({"prior_h": torch.zeros(3, 48, 0, 3)}, "image_size is"),
        ({"extra": torch.ones(1)}, "extra"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_files_that_do_not_hold_the_model(written, refusal, change, words):
    state = random_state(CHAIYUJIN, SMALL) | change
    assert words in refusal(written({name: value for name, value in state.items() if value is not None}))


def test_an_image_of_two_channels(written, refusal):
    assert "channels is 2" in refusal(written(random_state(CHAIYUJIN, replace(SMALL, image=(2, 8, 12)))))


def test_no_classes(written, refusal):
    state = random_state(CHAIYUJIN, CLASSES) | {"project_ycond.weight": torch.ones(48, 0)}
    assert "num_classes is 0" in refusal(written(state))


def test_a_network_of_odd_outputs(written, refusal):
    state = random_state(CHAIYUJIN, SMALL)
    for name in (f"{STEP}.f.4.weight", f"{STEP}.f.4.bias", f"{STEP}.f.4.logs"):
        state[name] = state[name][:9]
    assert "9 outputs for 12 channels" in refusal(written(state))


def test_a_mixture_of_couplings(written, refusal):
    additive = random_state(CHAIYUJIN, replace(SMALL, affine=False))
    state = random_state(CHAIYUJIN, SMALL)
    state |= {name: value for name, value in additive.items() if name.startswith("flow.layers.6.f.4.")}
    assert "some of its couplings are affine and some additive" in refusal(written(state))


def test_only_this_layout_is_recognised(other_projects):
    known = []
    for path in sorted(other_projects.glob("*/*.p*")):
        content = torch.load(path, weights_only=True)
        names = [name.removeprefix("module.") for name in content.get("graph", content)]
        if READER.recognise(names):
            known.append(path.parent.name)
    assert known == sorted(FIXTURES)
    mine = list(random_state(CHAIYUJIN, CLASSES))
    assert [reader.project for reader in READERS if reader.recognise(mine)] == ["chaiyujin/glow-pytorch"]
