"""normflows: checkpoints its code wrote give what it computes, and what cannot be read is refused by name."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from unrounded import float64_glow

from glow_core import Glow, read_checkpoint
from glow_core.errors import CheckpointError
from glow_core.import_options import ImportOptions
from glow_core.readers import Tensors, reader_of

FOLDERS = ["normflows_affine_lu", "normflows_additive_plain"]
OPTIONS = ImportOptions(image_size=(16, 16), n_bits=8, input_range="unit", scale_map="sigmoid")
# Of bits/dim. Measured: 6e-10; the file's float32 weights are stored as they are but for the priors'.
BITS = 1e-6

State = dict[str, torch.Tensor]


@pytest.fixture
def state(other_projects) -> State:
    return torch.load(other_projects / "normflows_affine_lu" / "glow.pth", weights_only=True)


def bits_per_dim(glow: Glow, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        log_prob = glow.double().log_prob(torch.from_numpy(x)).numpy()
    return -(log_prob / x[0].size - math.log(256)) / math.log(2)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_file_of_the_package_gives_the_likelihood_it_computed(folder, other_projects):
    reference = np.load(other_projects / folder / "reference.npz")
    checkpoint = read_checkpoint(other_projects / folder / "glow.pth", options=OPTIONS)
    assert (checkpoint.config.levels, checkpoint.config.steps, checkpoint.config.width) == (2, 2, 16)
    assert checkpoint.config.prior == "independent"
    found = bits_per_dim(checkpoint.glow(), reference["x_source"])
    assert np.abs(found - reference["bits_per_dim"]).max() < BITS


@pytest.mark.parametrize("folder", FOLDERS)
def test_latents_are_those_the_package_computed_once_their_priors_are_put_back(folder, other_projects):
    reference = np.load(other_projects / folder / "reference.npz")
    state = torch.load(other_projects / folder / "glow.pth", weights_only=True)
    glow = float64_glow(state, OPTIONS)
    with torch.no_grad():
        fine, coarse = glow.encode(torch.from_numpy(reference["x_source"]))[0]
        fine = glow.levels[0].split.prior.decode(fine, None)
        coarse = glow.prior.decode(coarse, None)
    assert np.abs(fine.numpy() - reference["z1_raw"]).max() < 1e-10
    assert np.abs(coarse.numpy() - reference["z2_raw"]).max() < 1e-10


@pytest.mark.parametrize(
    "wrong",
    [
        ("flows.1.0.flows.2.s", lambda s: -s),
        ("flows.0.1.flows.0.flows.1.param_map.net.4.bias", lambda b: b.flip(0)),
        ("flows.1.1.flows.1.P", lambda p: p.T),
        ("q0.1.loc", lambda loc: -loc),
    ],
    ids=lambda wrong: wrong[0],
)
def test_the_comparison_shows_a_layer_read_wrong(wrong, state, other_projects):
    reference = np.load(other_projects / FOLDERS[0] / "reference.npz")
    name, change = wrong
    changed = {**state, name: change(state[name])}
    found = bits_per_dim(float64_glow(changed, OPTIONS), reference["x_source"])
    assert np.abs(found - reference["bits_per_dim"]).max() > 100 * BITS


def test_what_it_was_fed_counts(state, other_projects):
    reference = np.load(other_projects / FOLDERS[0] / "reference.npz")
    centred = ImportOptions(image_size=(16, 16), n_bits=8, input_range="centred", scale_map="sigmoid")
    found = bits_per_dim(float64_glow(state, centred), reference["x_source"])
    assert np.abs(found - reference["bits_per_dim"]).max() > 100 * BITS
    moved = bits_per_dim(float64_glow(state, centred), reference["x_source"] + 0.5)
    assert np.abs(moved - reference["bits_per_dim"]).max() < BITS


# ---- what is not in the file


def refusal(state: State, path: Path, options: ImportOptions = OPTIONS) -> str:
    torch.save(state, path / "glow.pth")
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path / "glow.pth", options=options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_all_that_is_missing_is_asked_for_at_once(state, tmp_path):
    message = refusal(state, tmp_path, ImportOptions())
    assert all(name in message for name in ("--image-size", "--n-bits", "--input-range", "--scale-map"))


@pytest.mark.parametrize("missing", ["image_size", "n_bits", "input_range", "scale_map"])
def test_each_missing_fact_is_asked_for_by_its_option(missing, state, tmp_path):
    told = {name: value for name, value in OPTIONS.to_dict().items() if name != missing}
    message = refusal(state, tmp_path, ImportOptions.from_dict(told))
    assert f"--{missing.replace('_', '-')}" in message
    assert sum(f"--{name}" in message for name in ("image-size", "n-bits", "input-range", "scale-map")) == 1


def test_additive_couplings_need_no_scale_map(other_projects):
    options = ImportOptions(image_size=(16, 16), n_bits=8, input_range="unit")
    checkpoint = read_checkpoint(other_projects / "normflows_additive_plain" / "glow.pth", options=options)
    assert checkpoint.config.coupling == "additive"


@pytest.mark.parametrize("scale_map", ["exp", "sigmoid_inv"])
def test_other_scale_maps_are_refused(scale_map, state, tmp_path):
    options = ImportOptions(image_size=(16, 16), n_bits=8, input_range="unit", scale_map=scale_map)
    assert f"--scale-map {scale_map} cannot be expressed" in refusal(state, tmp_path, options)


def test_an_image_that_cannot_be_halved_so_often_is_refused(state, tmp_path):
    options = ImportOptions(image_size=(16, 18), n_bits=8, input_range="unit", scale_map="sigmoid")
    assert "16x18" in refusal(state, tmp_path, options)


def with_maps(state: State, level: int, shape: tuple[int, ...]) -> State:
    """The state with a DiagGaussian or ClassCondDiagGaussian as one level's base."""
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(f"q0.{level}.")}
    return {**kept, f"q0.{level}.loc": torch.zeros(shape), f"q0.{level}.log_scale": torch.zeros(shape)}


def test_the_image_size_is_that_of_base_distributions_with_one_value_a_pixel(state, tmp_path):
    unsized = ImportOptions(n_bits=8, input_range="unit", scale_map="sigmoid")
    torch.save(with_maps(state, 1, (1, 6, 4, 8)), tmp_path / "glow.pth")
    assert read_checkpoint(tmp_path / "glow.pth", options=unsized).config.image_size == (8, 16)
    torch.save(with_maps(state, 0, (24, 4, 2, 3)), tmp_path / "glow.pth")
    config = read_checkpoint(tmp_path / "glow.pth", options=unsized).config
    assert (config.image_size, config.num_classes) == ((16, 8), 3)
    message = refusal(with_maps(state, 0, (24, 4, 2, 3)), tmp_path)
    assert "--image-size says 16x16" in message
    assert "16x8" in message


def test_base_distributions_that_contradict_each_other_are_refused(state, tmp_path):
    sizes = with_maps(with_maps(state, 0, (1, 24, 4, 4)), 1, (1, 6, 4, 4))
    assert "different sizes" in refusal(sizes, tmp_path)
    classes = with_maps(with_maps(state, 0, (24, 4, 4, 2)), 1, (6, 8, 8, 3))
    assert "classes: [2, 3]" in refusal(classes, tmp_path)


def test_a_base_distribution_in_two_shapes_is_refused(state, tmp_path):
    maps = with_maps(state, 0, (24, 4, 4, 2))
    assert "another shape" in refusal({**maps, "q0.0.log_scale": torch.zeros(24, 4, 4, 3)}, tmp_path)
    classes = {"q0.0.loc_cc": torch.zeros(2, 24), "q0.0.log_scale_cc": torch.zeros(3, 24)}
    assert "another shape" in refusal({**state, **classes}, tmp_path)


# ---- files that cannot be read


def test_an_actnorm_that_was_never_set_is_refused(state, tmp_path):
    name = "flows.1.0.flows.2.data_dep_init_done"
    assert "flows.1.0.flows.2 is an actnorm" in refusal({**state, name: torch.tensor(0.0)}, tmp_path)


def test_missing_flags_are_taken_as_set_and_said(state):
    flagless = {name: tensor for name, tensor in state.items() if not name.endswith("data_dep_init_done")}
    reader = reader_of(flagless)
    assert reader is not None
    assert any("no flag" in note for note in reader.read(Tensors(flagless, path="state"), OPTIONS).notes)
    assert not any("no flag" in note for note in reader.read(Tensors(state, path="state"), OPTIONS).notes)


def test_other_base_distributions_are_refused(state, tmp_path):
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("q0.1.")}
    message = refusal({**kept, "q0.1.transform.s": torch.zeros(1, 6, 1, 1)}, tmp_path)
    assert "q0.1 is none of GlowBase" in message


def test_a_split_by_checkerboard_is_refused(state, tmp_path):
    name = "flows.0.0.flows.0.flows.1.param_map.net.0.weight"
    assert "checkerboard" in refusal({**state, name: torch.zeros(16, 24, 3, 3)}, tmp_path)


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_blocks_before_the_first_squeeze_are_refused(channels, state, tmp_path):
    """One channel leaves a block without its 1x1 convolution, so that the actnorm comes second."""
    number = 1 if channels == 1 else 2
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("flows.1.0.flows.")}
    net = "flows.1.0.flows.0.flows.1.param_map.net.0.weight"
    added = {net: torch.zeros(4, 1, 3, 3), f"flows.1.0.flows.{number}.s": torch.zeros(1, channels, 1, 1)}
    assert f"{channels} channels" in refusal({**kept, **added}, tmp_path)


def test_a_level_that_does_not_begin_with_a_block_is_refused(state, tmp_path):
    moved = {name.replace("flows.0.0.flows.", "flows.0.2.flows."): tensor for name, tensor in state.items()}
    assert "level 0 do not begin with a GlowBlock" in refusal(moved, tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("flows.0.1.flows.1.log_S", "no tensor flows.0.1.flows.1.log_S"),
        ("flows.1.1.flows.0.flows.1.param_map.net.2.bias", "no tensor"),
    ],
)
def test_an_incomplete_file_is_refused(name, words, state, tmp_path):
    del state[name]
    assert words in refusal(state, tmp_path)


def test_a_tensor_without_a_place_is_refused(state, tmp_path):
    assert "no place" in refusal({**state, "transform.alpha": torch.ones(1)}, tmp_path)
