"""The reader of y0ast/Glow-PyTorch, against that code's own numbers and against its formulas written again."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from formulas_chaiyujin_y0ast import CHAIYUJIN, Y0AST, Hyper, encode, random_state

from glow_core import ImportOptions, load_checkpoint, read_checkpoint
from glow_core.readers import READERS
from glow_core.readers.y0ast import READER

# A native checkpoint holds float32, and the top prior is derived from several tensors: it alone is rounded.
LATENT_TOLERANCE = 1e-6  # of the latents' standard deviation
BITS_TOLERANCE = 2e-7  # bits/dim

# The layers of SMALL: steps 1 and 2, split 3, steps 5 and 6.
SMALL = Hyper(image=(3, 8, 12), levels=2, steps=2, width=5)
CLASSES = replace(SMALL, classes=4)

FIXTURES = {"y0ast_affine_lu": ("affine", "lu"), "y0ast_additive_plain": ("additive", "plain")}


@pytest.fixture
def written(tmp_path):
    """Write what that project saves: a state dictionary."""

    def write(content):
        path = tmp_path / "glow_model_250.pth"
        torch.save(content, path)
        return path

    return write


def images(hyper, count, *, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).random((count, *hyper.image)))


def labels(hyper, count):
    return None if hyper.classes is None else torch.arange(count) % hyper.classes


def model(path, **told):
    return load_checkpoint(path, options=ImportOptions(**told)).double()


@torch.no_grad()
def differences(glow, state, hyper, *, names=Y0AST, count=3):
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
    state = torch.load(other_projects / name / "glow_model_1.pth", weights_only=True)
    with np.load(other_projects / name / "reference.npz") as reference:
        _, raw, log_prob = encode(Y0AST, state, torch.from_numpy(reference["x_source"] + 0.5), levels=2, steps=2)
        np.testing.assert_allclose(raw[-1], reference["z2_raw"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(log_prob, reference["log_prob"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", FIXTURES)
@torch.no_grad()
def test_a_file_of_the_original_code_gives_its_density_and_its_latents(other_projects, name):
    path = other_projects / name / "glow_model_1.pth"
    glow = model(path)
    with np.load(other_projects / name / "reference.npz") as reference:
        x = torch.from_numpy(reference["x_source"] + 0.5)
        z, log_prob = glow.encode(x)
        np.testing.assert_allclose(log_prob, reference["log_prob"], rtol=0, atol=1e-6)
        bits = 8 - log_prob.numpy() / (glow.config.dims * math.log(2))
        np.testing.assert_allclose(bits, reference["bits_per_dim"], rtol=0, atol=1e-8)
        theirs, _, _ = encode(Y0AST, torch.load(path, weights_only=True), x, levels=2, steps=2)
        for mine, expected in zip(z, theirs, strict=True):
            np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-7)
        mean, log_scale = glow.prior.mean[:, None, None], glow.prior.log_scale[:, None, None]
        np.testing.assert_allclose(mean + log_scale.exp() * z[-1], reference["z2_raw"], rtol=0, atol=1e-7)
        np.testing.assert_allclose(glow.decode(z), x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FIXTURES)
def test_what_a_file_holds_and_what_is_taken_for_granted(other_projects, name):
    checkpoint = read_checkpoint(other_projects / name / "glow_model_1.pth")
    theirs = json.loads((other_projects / name / "hparams.json").read_text())
    config = checkpoint.config
    assert (config.levels, config.steps, config.width) == (theirs["L"], theirs["K"], theirs["hidden_channels"])
    assert (config.image_size, config.channels, config.coupling) == ((16, 16), 3, theirs["flow_coupling"])
    assert (config.coupling, config.permutation) == FIXTURES[name]
    assert (config.bounded_scale, config.n_bits, config.num_classes, config.edge_bias) == (False, 8, None, False)
    assert checkpoint.origin.project == "y0ast/Glow-PyTorch"
    notes = " ".join(checkpoint.origin.notes)
    assert "8 bits" in notes
    assert "minus 0.5" in notes
    assert ("sigmoid(h + 2)" in notes) == (config.coupling == "affine")


# ---- other sizes than the files at hand


@pytest.mark.parametrize(
    "hyper",
    [
        Hyper(image=(3, 2, 2), levels=1, steps=1, width=1),
        Hyper(image=(1, 6, 10), levels=1, steps=3, width=4, affine=False),
        Hyper(image=(3, 8, 12), levels=2, steps=2, width=7, lu=False, learn_top=False),
        Hyper(image=(1, 20, 4), levels=2, steps=1, width=6, lu=False, affine=False, classes=3),
        Hyper(image=(3, 8, 16), levels=3, steps=1, width=16, affine=False, learn_top=False, classes=2),
        Hyper(image=(1, 24, 8), levels=3, steps=3, width=5, lu=False),
        Hyper(image=(3, 16, 16), levels=4, steps=1, width=9, classes=10),
        Hyper(image=(1, 16, 48), levels=4, steps=2, width=3, lu=False, affine=False, learn_top=False),
    ],
    ids=lambda hyper: "x".join(map(str, hyper.image)),
)
def test_models_of_all_sizes_agree_with_the_formulas(written, hyper):
    state = random_state(Y0AST, hyper)
    path = written(state)
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
    state = {name: (256 * value).round() / 256 for name, value in random_state(Y0AST, hyper).items()}
    for name in ("learn_top_fn.logs", "project_ycond.logs"):
        state |= {name: torch.zeros_like(state[name])} if name in state else {}
    latents, bits, _ = differences(model(written(state)), state, hyper)
    assert latents < 1e-12
    assert bits < 1e-13


def test_every_tensor_that_counts_is_seen_by_the_comparison(written):
    """The negative control: a change of any one tensor that counts is far outside the tolerances, and of no other."""
    state = random_state(Y0AST, CLASSES)
    glow = model(written(state))
    idle = ("prior_h", "learn_top_fn.conv.weight", *(name for name in state if name.startswith("project_class.")))
    assert len(idle) == 5
    for name in state:
        if name.endswith((".p", ".sign_s")):
            continue
        latents, bits, _ = differences(glow, {**state, name: state[name] * 1.05}, CLASSES)
        if name in idle:
            assert latents < LATENT_TOLERANCE, name
        else:
            assert max(latents / LATENT_TOLERANCE, bits / BITS_TOLERANCE) > 10, name


def test_what_their_code_masks_or_multiplies_by_zeros_changes_nothing(written):
    state = random_state(Y0AST, SMALL)
    first = read_checkpoint(written(state)).model
    state["learn_top_fn.conv.weight"] = 9 * state["learn_top_fn.conv.weight"]
    for layer in (1, 2, 5, 6):
        path = f"flow.layers.{layer}.invconv"
        state[f"{path}.lower"] = state[f"{path}.lower"].tril(-1)
        state[f"{path}.upper"] = state[f"{path}.upper"].triu(1) - 3 * torch.ones_like(state[f"{path}.upper"]).tril()
    second = read_checkpoint(written(state)).model
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_wrapped_and_parallel_models_are_the_bare_one(written):
    state = random_state(Y0AST, SMALL)
    bare = read_checkpoint(written(state)).model
    parallel = {f"module.{name}": value for name, value in state.items()}
    for content in ({"model": state, "optimizer": {"state": {}}}, parallel, {"model": parallel}):
        other = read_checkpoint(written(content)).model
        assert all(torch.equal(bare[name], other[name]) for name in bare)


def test_the_classifier_is_left_out_and_said_to_be(written):
    state = random_state(Y0AST, CLASSES)
    with_it = read_checkpoint(written(state))
    without = read_checkpoint(written({k: v for k, v in state.items() if not k.startswith("project_class")}))
    assert all(torch.equal(with_it.model[name], without.model[name]) for name in without.model)
    assert any("project_class" in note for note in with_it.origin.notes)
    assert not any("project_class" in note for note in without.origin.notes)


@pytest.mark.parametrize("hyper", [SMALL, CLASSES])
def test_a_prior_that_starts_elsewhere_than_at_zero(written, refusal, hyper):
    """Their code adds `prior_h` to the classes' part, and puts it through the top prior's convolution."""
    hyper = replace(hyper, learn_top=False)
    state = random_state(Y0AST, hyper)
    start = torch.linspace(-0.5, 0.5, 48)[None, :, None, None].repeat(1, 1, 2, 3)
    latents, bits, _ = differences(model(written({**state, "prior_h": start})), {**state, "prior_h": start}, hyper)
    assert latents < LATENT_TOLERANCE
    assert bits < BITS_TOLERANCE
    assert differences(model(written(state)), {**state, "prior_h": start}, hyper)[0] > 0.01

    uneven = start + torch.tensor([0.0, 0.1, 0.2])
    assert "from place to place" in refusal(written({**state, "prior_h": uneven}))
    state = random_state(Y0AST, replace(hyper, learn_top=True))
    assert "from place to place" in refusal(written({**state, "prior_h": start}))


# ---- what may be told


def test_what_is_told_takes_the_place_of_what_their_code_does(written):
    state = random_state(Y0AST, SMALL)
    path = written(state)
    uncentred = replace(Y0AST, centre=0.0)
    assert differences(model(path), state, SMALL, names=uncentred)[0] > 0.01
    # Here the first bias takes in the centring, and is rounded.
    assert differences(model(path, input_range="unit"), state, SMALL, names=uncentred)[0] < 3e-6
    told = ImportOptions(image_size=(8, 12), n_bits=5, input_range="centred", scale_map="sigmoid")
    checkpoint = read_checkpoint(path, options=told)
    assert checkpoint.config.n_bits == 5
    assert checkpoint.origin.notes == ()


def test_what_is_told_against_the_file_is_refused(written, refusal):
    path = written(random_state(Y0AST, SMALL))
    message = refusal(path, image_size=(12, 8))
    assert "--image-size says 12x8" in message
    assert "is 8x12" in message
    for scale_map in ("exp", "sigmoid_inv"):
        message = refusal(path, scale_map=scale_map)
        assert f"--scale-map {scale_map}" in message
        assert "sigmoid(h + 2)" in message


FORK = replace(Y0AST, offset=0.0)  # of a fork that multiplies by sigmoid(h)


@pytest.mark.parametrize("hyper", [SMALL, replace(SMALL, lu=False, levels=1), CLASSES])
def test_a_fork_that_multiplies_by_sigmoid_of_h_alone_is_read_where_that_is_told(written, hyper):
    state = random_state(Y0AST, hyper)
    path = written(state)
    told = model(path, scale_map="sigmoid_plain")
    latents, bits, round_trip = differences(told, state, hyper, names=FORK)
    assert latents < LATENT_TOLERANCE
    assert bits < BITS_TOLERANCE
    assert round_trip < 1e-11
    assert differences(told, state, hyper)[0] > 0.1
    assert differences(model(path), state, hyper, names=FORK)[0] > 0.1
    checkpoint = read_checkpoint(path, options=ImportOptions(scale_map="sigmoid_plain"))
    assert checkpoint.origin.options == {"scale_map": "sigmoid_plain"}
    assert not any("sigmoid(h + 2)" in note for note in checkpoint.origin.notes)


def test_additive_couplings_have_no_scale_to_tell_of(written):
    state = random_state(Y0AST, replace(SMALL, affine=False))
    plain, told = (read_checkpoint(written(state), options=ImportOptions(scale_map=m)) for m in (None, "sigmoid_plain"))
    assert all(torch.equal(plain.model[name], told.model[name]) for name in plain.model)


# ---- what is refused; how layers are numbered is tested with chaiyujin/glow-pytorch, which numbers them so too


STEP = "flow.layers.1"


@pytest.mark.parametrize(
    ("layer", "words"),
    [(2, "layer 2 should be a step of flow"), (3, "layer 3 should be a step"), (6, "layer 6 should be a step")],
)
def test_irregular_numbers(written, refusal, layer, words):
    state = random_state(Y0AST, SMALL)
    state = {name: value for name, value in state.items() if not name.startswith(f"flow.layers.{layer}.")}
    message = refusal(written(state))
    assert "do not repeat from level to level" in message
    assert words in message


def test_permutations_that_were_not_saved(written, refusal):
    state = {name: value for name, value in random_state(Y0AST, SMALL).items() if ".invconv." not in name}
    message = refusal(written(state))
    assert "shuffle or reverse" in message
    assert "not saved" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({f"{STEP}.actnorm.bias": None}, "no tensor flow.layers.1.actnorm.bias"),
        ({f"{STEP}.actnorm.bias": torch.ones(1, 13, 1, 1)}, "shape (1, 12, 1, 1)"),
        ({f"{STEP}.actnorm.logs": torch.full((1, 12, 1, 1), math.nan)}, "NaN"),
        ({f"{STEP}.invconv.upper": None}, "no tensor flow.layers.1.invconv.upper"),
        ({f"{STEP}.invconv.p": None}, "no tensor flow.layers.1.invconv.p"),
        ({f"{STEP}.invconv.lower": None}, "no tensor flow.layers.1.invconv.weight"),
        ({f"{STEP}.invconv.sign_s": torch.zeros(12)}, "other signs than -1 and 1"),
        ({f"{STEP}.invconv.p": torch.ones(12, 12)}, "not a permutation"),
        ({f"{STEP}.invconv.weight": torch.ones(12, 12)}, "no place"),
        ({f"{STEP}.block.0.conv.weight": torch.ones(5, 7, 3, 3)}, "shape (5, 7, 3, 3)"),
        ({f"{STEP}.block.0.conv.bias": torch.ones(5)}, "no place"),
        ({f"{STEP}.block.2.conv.weight": None}, "no tensor flow.layers.1.block.2.conv.weight"),
        ({f"{STEP}.block.4.logs": torch.ones(12)}, "shape (12,)"),
        ({f"{STEP}.f.4.logs": torch.ones(12, 1, 1)}, "no tensor flow.layers.1.invconv.weight"),
        ({"flow.layers.3.conv.conv.weight": torch.ones(24, 6, 3, 3)}, "shape (24, 6, 3, 3)"),
        ({"flow.layers.3.conv.logs": None}, "no tensor flow.layers.3.conv.logs"),
        ({"learn_top_fn.conv.weight": None}, "no tensor learn_top_fn.conv.weight"),
        ({"learn_top_fn.logs": torch.full((48, 1, 1), 100.0)}, "infinity"),
        ({"project_ycond.linear.weight": torch.ones(48, 0)}, "no tensor project_ycond.linear.bias"),
        ({"prior_h": None}, "no tensor prior_h"),
        ({"prior_h": torch.zeros(2, 48, 2, 3)}, "shape (2, 48, 2, 3)"),
        ({"prior_h": torch.zeros(1, 48, 0, 3)}, "image_size is"),
        ({"extra": torch.ones(1)}, "extra"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_files_that_do_not_hold_the_model(written, refusal, change, words):
    state = random_state(Y0AST, SMALL) | change
    assert words in refusal(written({name: value for name, value in state.items() if value is not None}))


def test_a_network_of_odd_outputs(written, refusal):
    state = random_state(Y0AST, SMALL)
    for name in (f"{STEP}.block.4.conv.weight", f"{STEP}.block.4.conv.bias", f"{STEP}.block.4.logs"):
        state[name] = state[name][:9]
    assert "9 outputs for 12 channels" in refusal(written(state))


def test_only_this_layout_is_recognised(other_projects):
    known = []
    for path in sorted(other_projects.glob("*/*.p*")):
        content = torch.load(path, weights_only=True)
        names = [name.removeprefix("module.") for name in content.get("graph", content)]
        if READER.recognise(names):
            known.append(path.parent.name)
    assert known == sorted(FIXTURES)
    for names, project in ((Y0AST, "y0ast/Glow-PyTorch"), (CHAIYUJIN, "chaiyujin/glow-pytorch")):
        mine = list(random_state(names, CLASSES))
        assert [reader.project for reader in READERS if reader.recognise(mine)] == [project]
