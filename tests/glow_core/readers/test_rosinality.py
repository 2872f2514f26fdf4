"""The reader of rosinality/glow-pytorch, against that code's own numbers and against its formulas written again."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from formulas_rosinality import Sizes, encode, random_state

from glow_core import ImportOptions, load_checkpoint, read_checkpoint
from glow_core.errors import MissingFactError
from glow_core.readers.rosinality import READER

# A native checkpoint holds float32. log|scale|, the top prior and the sums at the edge are derived, and rounded to it.
LATENT_TOLERANCE = 1e-6  # of the latents' standard deviation
LOG_PROB_TOLERANCE = 1e-5  # nats, of an image of at most some hundred values

TOLD = {"image_size": (8, 12), "n_bits": 5}
SMALL = Sizes(size=(8, 12), levels=2, steps=2, width=5)

FIXTURES = ["rosinality_affine_lu", "rosinality_additive_plain"]


@pytest.fixture
def written(tmp_path):
    """Write a state dictionary as that project does."""

    def write(state):
        path = tmp_path / "model_000001.pt"
        torch.save(state, path)
        return path

    return write


def images(sizes, count, *, seed=1):
    return np.random.default_rng(seed).random((count, sizes.channels, *sizes.size))


@torch.no_grad()
def differences(path, state, x, *, fed_minus=0.5, **told):
    """Largest distance of the model that is read from the formulas: latents, log_prob, and x from its round trip."""
    glow = load_checkpoint(path, options=ImportOptions(**told)).double()
    z, log_prob = glow.encode(torch.from_numpy(x))
    back = float((glow.decode(z) - torch.from_numpy(x)).abs().max())
    return *apart(z, log_prob, state, x - fed_minus), back


def apart(z, log_prob, state, x):
    """Largest distance of latents and of log_prob from the formulas."""
    latents, expected = encode(state, x)
    far = [float(np.abs(mine.numpy() - theirs.normal).max()) for mine, theirs in zip(z, latents, strict=True)]
    return max(far), float(np.abs(log_prob.numpy() - expected).max())


# ---- the original code's numbers


@pytest.mark.parametrize("name", FIXTURES)
def test_the_formulas_are_those_of_the_original_code(other_projects, name):
    state = torch.load(other_projects / name / "model_000001.pt", weights_only=True)
    with np.load(other_projects / name / "reference.npz") as reference:
        latents, log_prob = encode(state, reference["x_source"])
        for index, latent in enumerate(latents, start=1):
            np.testing.assert_allclose(latent.raw, reference[f"z{index}_raw"], rtol=0, atol=1e-12)
        # That code takes the log-determinant of a plain 1x1 convolution to float32.
        np.testing.assert_allclose(log_prob, reference["log_prob"], rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", FIXTURES)
@torch.no_grad()
def test_a_file_of_the_original_code_gives_its_density_and_its_latents(other_projects, name):
    path = other_projects / name / "model_000001.pt"
    glow = load_checkpoint(path, options=ImportOptions(image_size=(16, 16), n_bits=8)).double()
    with np.load(other_projects / name / "reference.npz") as reference:
        x = torch.from_numpy(reference["x_source"] + 0.5)
        z, log_prob = glow.encode(x)
        bits = 8 - log_prob.numpy() / (glow.config.dims * math.log(2))
        np.testing.assert_allclose(bits, reference["bits_per_dim"], rtol=0, atol=1e-7)
        theirs, _ = encode(torch.load(path, weights_only=True), reference["x_source"])
        for index, (mine, latent) in enumerate(zip(z, theirs, strict=True), start=1):
            raw = latent.mean + np.exp(latent.log_sd) * mine.numpy()
            np.testing.assert_allclose(raw, reference[f"z{index}_raw"], rtol=0, atol=LATENT_TOLERANCE)
        np.testing.assert_allclose(glow.decode(z), x, rtol=0, atol=1e-12)


def test_what_a_file_holds_and_what_is_taken_for_granted(other_projects):
    path = other_projects / "rosinality_additive_plain" / "model_000001.pt"
    checkpoint = read_checkpoint(path, options=ImportOptions(image_size=(16, 16), n_bits=6))
    config = checkpoint.config
    assert (config.channels, config.levels, config.steps, config.width) == (3, 2, 2, 16)
    assert (config.coupling, config.permutation, config.bounded_scale) == ("additive", "plain", False)
    assert (config.image_size, config.n_bits, config.num_classes) == ((16, 16), 6, None)
    assert config.edge_bias
    assert checkpoint.origin.project == "rosinality/glow-pytorch"
    assert checkpoint.origin.options == {"image_size": [16, 16], "n_bits": 6}
    assert checkpoint.origin.notes == ("It is taken to be fed images minus 0.5, as the project's train.py does.",)


# ---- other sizes than the files at hand


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        (Sizes(size=(2, 2), levels=1, steps=1, width=1), 1),
        (Sizes(size=(6, 10), levels=1, steps=3, width=4, channels=1, affine=False), 5),
        (Sizes(size=(8, 12), levels=2, steps=2, width=7, lu=False), 3),
        (Sizes(size=(4, 20), levels=2, steps=1, width=6, channels=1, lu=False, affine=False, module=False), 2),
        (Sizes(size=(8, 16), levels=3, steps=1, width=16, affine=False), 3),
        (Sizes(size=(24, 8), levels=3, steps=3, width=5, channels=1, lu=False), 1),
        (Sizes(size=(16, 16), levels=4, steps=1, width=9, flags=False), 3),
        (Sizes(size=(16, 48), levels=4, steps=2, width=3, channels=1, lu=False, affine=False, flags=False), 7),
    ],
    ids=lambda value: "x".join(map(str, value.size)) if isinstance(value, Sizes) else None,
)
def test_models_of_all_sizes_agree_with_the_formulas(written, sizes, count):
    state = random_state(sizes)
    told = {"image_size": sizes.size, "n_bits": 5}
    latents, log_prob, round_trip = differences(written(state), state, images(sizes, count), **told)
    assert latents < LATENT_TOLERANCE
    assert log_prob < LOG_PROB_TOLERANCE
    assert round_trip < 1e-12


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("lu", [True, False])
def test_nothing_but_float32_stands_between_the_model_and_the_formulas(written, affine, lu):
    """With numbers whose derived values float32 holds exactly, both compute the same."""
    sizes = replace(SMALL, affine=affine, lu=lu)
    state = {name: _coarse(name, value, last=sizes.levels - 1) for name, value in random_state(sizes).items()}
    latents, log_prob, _ = differences(written(state), state, images(sizes, 3), **TOLD)
    assert latents < 1e-12
    assert log_prob < 1e-10


def _coarse(name, value, *, last):
    if name.endswith("actnorm.scale"):
        return value.sign()  # of both signs, with logarithm 0
    if name.endswith((f"blocks.{last}.prior.scale", "w_s")):
        return torch.zeros_like(value)
    return (256 * value).round() / 256 if value.is_floating_point() else value


@torch.no_grad()
def test_every_tensor_that_counts_is_seen_by_the_comparison(written):
    """The negative control: a change of any one tensor is far outside the tolerances."""
    sizes = replace(SMALL, size=(4, 8))
    state, x = random_state(sizes), images(sizes, 2)
    glow = load_checkpoint(written(state), options=ImportOptions(image_size=sizes.size, n_bits=5)).double()
    z, log_prob = glow.encode(torch.from_numpy(x))
    fixed = ("u_mask", "l_mask", "l_eye", "initialized", "w_p", "s_sign")
    learned = [name for name in state if not name.endswith(fixed)]
    assert len(learned) > 40
    for name in learned:
        far, wrong = apart(z, log_prob, {**state, name: state[name] * 1.01}, x - 0.5)
        assert max(far / LATENT_TOLERANCE, wrong / LOG_PROB_TOLERANCE) > 3, name


@pytest.mark.parametrize("lu", [True, False])
def test_a_scale_of_the_other_sign_is_another_model(written, lu):
    state = random_state(replace(SMALL, lu=lu))
    name = "module.blocks.0.flows.1.actnorm.scale"
    assert (state[name] < 0).any()
    assert (state[name] > 0).any()
    latents, *_ = differences(written(state), {**state, name: state[name].abs()}, images(SMALL, 2), **TOLD)
    assert latents > 0.01


def test_names_and_flags_of_all_times_give_the_same_model(written):
    states = [
        read_checkpoint(written(random_state(sizes)), options=ImportOptions(**TOLD)).model
        for sizes in (SMALL, replace(SMALL, module=False), replace(SMALL, flags=False))
    ]
    for other in states[1:]:
        assert all(torch.equal(states[0][name], other[name]) for name in states[0])


def test_factored_models_stay_factored_and_mixed_ones_become_plain(written):
    def permutation(sizes):
        return read_checkpoint(written(random_state(sizes)), options=ImportOptions(**TOLD)).config.permutation

    assert permutation(SMALL) == "lu"
    assert permutation(replace(SMALL, lu=False)) == "plain"
    # The last level is all there is, and that code factors it come what may.
    assert permutation(replace(SMALL, levels=1, lu=False)) == "lu"


def test_images_that_were_not_centred(written):
    state = random_state(SMALL)
    path, x = written(state), images(SMALL, 2)
    latents, log_prob, _ = differences(path, state, x, fed_minus=0, input_range="unit", **TOLD)
    assert latents < LATENT_TOLERANCE
    assert log_prob < LOG_PROB_TOLERANCE
    assert differences(path, state, x, fed_minus=0, **TOLD)[0] > 0.01


def test_notes_say_what_the_file_does_not(written):
    def notes(sizes, **told):
        return " ".join(
            read_checkpoint(written(random_state(sizes)), options=ImportOptions(**TOLD, **told)).origin.notes
        )

    assert "sigmoid(log_s + 2)" in notes(SMALL)
    assert "minus 0.5" in notes(SMALL)
    assert "flag" not in notes(SMALL)
    assert "flag" in notes(replace(SMALL, flags=False))
    assert notes(SMALL, input_range="centred", scale_map="sigmoid") == ""
    assert "sigmoid" not in notes(replace(SMALL, affine=False))


# ---- what is refused


@pytest.mark.parametrize(
    ("told", "asked", "not_asked"),
    [
        ({}, ["--image-size", "--n-bits"], []),
        ({"n_bits": 5}, ["--image-size"], ["--n-bits"]),
        ({"image_size": (8, 12)}, ["--n-bits"], ["--image-size"]),
    ],
)
def test_facts_that_are_missing_are_asked_for(written, refusal, told, asked, not_asked):
    path = written(random_state(SMALL))
    message = refusal(path, **told)
    assert all(option in message for option in asked)
    assert not any(option in message for option in not_asked)
    with pytest.raises(MissingFactError):
        read_checkpoint(path, options=ImportOptions(**told))


@pytest.mark.parametrize("size", [(8, 10), (9, 12), (2, 4), (1, 1)])
def test_an_image_size_that_cannot_be(written, refusal, size):
    message = refusal(written(random_state(SMALL)), n_bits=5, image_size=size)
    assert "--image-size {}x{}".format(*size) in message
    assert "multiples of 4" in message


@pytest.mark.parametrize("scale_map", ["exp", "sigmoid_inv"])
def test_other_scale_maps(written, refusal, scale_map):
    message = refusal(written(random_state(SMALL)), **TOLD, scale_map=scale_map)
    assert f"--scale-map {scale_map}" in message
    assert "sigmoid(h + 2)" in message


STEP = "module.blocks.0.flows.0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({f"{STEP}.actnorm.initialized": torch.tensor(0, dtype=torch.uint8)}, "never seen an image"),
        ({f"{STEP}.actnorm.scale": torch.zeros(1, 12, 1, 1)}, "scale holds 0"),
        ({f"{STEP}.actnorm.scale": torch.full((1, 12, 1, 1), math.nan)}, "NaN"),
        ({f"{STEP}.actnorm.scale": torch.ones(12)}, "shape (12,)"),
        ({f"{STEP}.actnorm.loc": torch.ones(())}, "shape ()"),
        ({f"{STEP}.actnorm.loc": None}, "no tensor blocks.0.flows.0.actnorm.loc"),
        ({f"{STEP}.actnorm.scale": None}, "no tensor blocks.0.flows.0.actnorm.scale"),
        ({f"{STEP}.invconv.w_u": None}, "no tensor blocks.0.flows.0.invconv.w_u"),
        ({f"{STEP}.invconv.s_sign": torch.zeros(12)}, "other signs than -1 and 1"),
        ({f"{STEP}.invconv.w_p": torch.ones(12, 12)}, "not a permutation"),
        ({f"{STEP}.invconv.w_s": torch.full((12,), -math.inf)}, "infinity"),
        ({f"{STEP}.invconv.weight": torch.ones(12, 12)}, "shape (12, 12)"),
        ({f"{STEP}.coupling.net.0.weight": torch.ones(5, 7, 3, 3)}, "shape (5, 7, 3, 3)"),
        ({f"{STEP}.coupling.net.2.bias": torch.ones(4)}, "shape (4,)"),
        ({f"{STEP}.coupling.net.4.conv.weight": torch.ones(9, 5, 3, 3)}, "net.4.conv.bias"),
        ({"module.blocks.1.prior.conv.bias": None}, "no tensor blocks.1.prior.conv.bias"),
        ({"module.blocks.1.prior.scale": torch.full((1, 48, 1, 1), 100.0)}, "infinity"),
        ({"module.blocks.0.flows.2.actnorm.loc": torch.ones(1, 12, 1, 1)}, "no tensor blocks.0.flows.2.actnorm.scale"),
        ({"module.blocks.3.flows.0.actnorm.loc": torch.ones(1, 12, 1, 1)}, "blocks.1.prior.conv.weight"),
        ({"module.blocks.9999.flows.9999.actnorm.loc": torch.ones(1)}, "blocks.1.prior.conv.weight"),
        ({"module.blocks.99999.flows.0.actnorm.loc": torch.ones(1)}, "no place"),
        ({"module.extra": torch.ones(1)}, "extra"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_files_that_do_not_hold_the_model(written, refusal, change, words):
    state = {name: value for name, value in (random_state(SMALL) | change).items() if value is not None}
    assert words in refusal(written(state), **TOLD)


def test_a_network_of_odd_outputs(written, refusal):
    state = random_state(SMALL)
    path = f"{STEP}.coupling.net.4"
    for name in (f"{path}.conv.weight", f"{path}.conv.bias"):
        state[name] = state[name][:9]
    state[f"{path}.scale"] = state[f"{path}.scale"][:, :9]
    assert "9 outputs for 12 channels" in refusal(written(state), **TOLD)


def test_a_mixture_of_couplings(written, refusal):
    state = random_state(SMALL)
    additive = random_state(replace(SMALL, affine=False))
    path = "module.blocks.0.flows.1.coupling.net.4."
    state |= {name: value for name, value in additive.items() if name.startswith(path)}
    assert "some of its couplings are affine and some additive" in refusal(written(state), **TOLD)


def test_only_this_layout_is_recognised(other_projects):
    found = {}
    for path in sorted(other_projects.glob("*/*.p*")):
        content = torch.load(path, weights_only=True)
        found[path.parent.name] = READER.recognise(
            name.removeprefix("module.") for name in content.get("graph", content)
        )
    assert [name for name, known in found.items() if known] == sorted(FIXTURES)
    assert len(found) == len(list(other_projects.glob("*/*.p*"))) > 8
