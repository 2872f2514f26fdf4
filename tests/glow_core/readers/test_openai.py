"""OpenAI's Glow: what the reader makes of an .npz is what the formulas in formulas_openai.py compute from it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from formulas_openai import AVERAGE, Sizes, encode, random_variables
from unrounded import float64_glow

from glow_core import read_checkpoint
from glow_core.errors import CheckpointError
from glow_core.import_options import ImportOptions
from glow_core.readers import reader_of

SIZES = Sizes(size=(8, 8), levels=2, depth=2)
CASES = {
    "as published": SIZES,
    "one level, additive": replace(SIZES, levels=1, affine=False),
    "three levels, not square": replace(SIZES, levels=3, depth=1, size=(8, 24)),
    "four levels, down to one row": replace(SIZES, levels=4, depth=1, size=(16, 32), width=3),
    "greyscale, three steps": replace(SIZES, channels=1, depth=3, levels=3),
    "greyscale, one pixel left": replace(SIZES, channels=1, size=(4, 4), affine=False),
    "standard normal on top": replace(SIZES, learntop=False),
    "classes and a learned top": replace(SIZES, classes=3, classifier=True),
    "classes alone": replace(SIZES, classes=10, learntop=False, affine=False),
    "a single class": replace(SIZES, classes=1),
    "reversed channels": replace(SIZES, permutation=0),
    "shuffled channels": replace(SIZES, permutation=1, affine=False),
    "factored 1x1": replace(SIZES, permutation=3, levels=3),
}
# Measured: 2e-15 for latents, 2e-13 nats, 5e-15 for decoded images.
TOLERANCE = 1e-10
# The stored model is float32, and so rounds what was multiplied by 3. Measured: 1.1e-8 bits/dim.
BITS = 1e-6


def options_of(sizes: Sizes, n_bits: int = 5) -> ImportOptions:
    return ImportOptions(image_size=sizes.size, n_bits=n_bits)


def as_tensors(variables: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in variables.items()}


def examples(sizes: Sizes, *, count: int = 3) -> tuple[np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(7)
    images = rng.random((count, *sizes.size, sizes.channels))
    return images, None if sizes.classes is None else np.arange(count) % sizes.classes


def differences(variables: dict[str, np.ndarray], sizes: Sizes, read_from: dict[str, np.ndarray]) -> tuple[float, ...]:
    """Worst difference of latents, of log_prob and of decoded images between formulas and what is read."""
    images, labels = examples(sizes)
    theirs, log_p = encode(variables, sizes, images, labels)
    glow = float64_glow(as_tensors(read_from), options_of(sizes))
    x = torch.from_numpy(images.transpose(0, 3, 1, 2))
    y = None if labels is None else torch.from_numpy(labels)
    wanted = [torch.from_numpy(np.ascontiguousarray(eps.transpose(0, 3, 1, 2))) for eps in theirs]
    with torch.no_grad():
        latents, log_prob = glow.encode(x, y)
        decoded = glow.decode(wanted, y)
    return (
        max(float((ours - eps).abs().max()) for ours, eps in zip(latents, wanted, strict=True)),
        float(np.abs(log_prob.numpy() - log_p).max()),
        float((decoded - x).abs().max()),
    )


@pytest.mark.parametrize("sizes", CASES.values(), ids=CASES)
def test_latents_density_and_decoded_images_are_those_of_the_formulas(sizes):
    variables = random_variables(sizes)
    assert max(differences(variables, sizes, variables)) < TOLERANCE


@pytest.mark.parametrize("sizes", CASES.values(), ids=CASES)
def test_a_file_gives_the_likelihood_of_the_formulas(sizes, tmp_path):
    variables = random_variables(sizes, seed=1)
    np.savez(tmp_path / "glow.npz", **variables)
    checkpoint = read_checkpoint(tmp_path / "glow.npz", options=options_of(sizes, n_bits=5))
    assert checkpoint.config.n_bits == 5
    assert checkpoint.config.num_classes == sizes.classes
    images, labels = examples(sizes)
    _, log_p = encode(variables, sizes, images, labels)
    with torch.no_grad():
        log_prob = (
            checkpoint.glow()
            .double()
            .log_prob(
                torch.from_numpy(images.transpose(0, 3, 1, 2)), None if labels is None else torch.from_numpy(labels)
            )
        )
    assert np.abs(log_prob.numpy() - log_p).max() / (images[0].size * math.log(2)) < BITS


@pytest.mark.parametrize(
    "change",
    [
        ("model/0/1/invconv/W", lambda w: w.T),
        ("model/1/0/f1/l_1/W", lambda w: np.concatenate([w[:, :, :-1], 0 * w[:, :, -1:]], axis=2)),
        ("model/0/0/f1/l_last/W", lambda w: w[..., ::-1]),
        ("model/pool0/conv/b", lambda b: b[..., ::-1]),
        ("model/prior/p/W", lambda w: w.transpose(1, 0, 2, 3)),
        ("model/0/0/actnorm_scale/logs", lambda logs: 3 * logs),
    ],
    ids=lambda change: change[0],
)
def test_the_comparison_shows_a_layer_read_wrong(change):
    name, wrong = change
    variables = random_variables(SIZES)
    assert differences(variables, SIZES, {**variables, name: wrong(variables[name])})[1] > 1e-3


def test_names_may_carry_ports_and_another_scope():
    variables = random_variables(CASES["shuffled channels"])
    sizes = CASES["shuffled channels"]
    for named in (
        {f"{name}:0": value for name, value in variables.items()},
        {f"tower/{name}": value for name, value in variables.items()},
        {name.removeprefix("model/"): value for name, value in variables.items()},
    ):
        assert max(differences(variables, sizes, named)) < TOLERANCE


def test_optimizer_state_and_averages_beside_the_weights_are_left_out():
    variables = random_variables(SIZES)
    others = {f"{name}{AVERAGE}": value + 1 for name, value in variables.items()}
    others |= {"Variable": np.float32(7), f"Variable{AVERAGE}": np.float32(7)}
    others |= {f"Variable_{number}": value for number, value in enumerate(variables.values())}
    others |= {f"{name}/Adam": value for name, value in variables.items()} | {"beta1_power": np.float32(0.9)}
    assert max(differences(variables, SIZES, {**others, **variables})) < TOLERANCE
    assert any("averages" in note for note in notes_of({**others, **variables}))


def test_averages_are_taken_where_they_are_all_there_is():
    sizes = CASES["shuffled channels"]
    variables = random_variables(sizes)
    # The order of a shuffle is not trained, and so has no average.
    averages = {name if "shuffle" in name else f"{name}{AVERAGE}:0": value for name, value in variables.items()}
    averages = {name if name.endswith(":0") else f"{name}:0": value for name, value in averages.items()}
    assert max(differences(variables, sizes, {**averages, f"Variable_3{AVERAGE}:0": np.float32(1)})) < TOLERANCE
    assert any("averages" in note for note in notes_of(averages))


def notes_of(variables: dict[str, np.ndarray]) -> tuple[str, ...]:
    state = as_tensors(variables)
    reader = reader_of(state)
    assert reader is not None
    from glow_core.readers import Tensors

    return reader.read(Tensors(state, path="state"), options_of(SIZES)).notes


def test_what_was_taken_for_granted_is_said():
    reversed_notes = notes_of(random_variables(CASES["reversed channels"]))
    assert any("reverse" in note for note in reversed_notes)
    assert any("sigmoid" in note for note in reversed_notes)
    plain_notes = notes_of(random_variables(replace(SIZES, affine=False)))
    assert not any("reverse" in note or "sigmoid" in note for note in plain_notes)
    assert any("classifier" in note for note in notes_of(random_variables(CASES["classes and a learned top"])))


def with_change(name: str, value: np.ndarray | None) -> dict[str, np.ndarray]:
    variables = random_variables(SIZES)
    variables.pop(name, None)
    return variables if value is None else {**variables, name: value}


def refusal(path: Path, variables: dict[str, np.ndarray], options: ImportOptions) -> str:
    np.savez(path / "glow.npz", **variables)
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path / "glow.npz", options=options)
    return str(error.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (ImportOptions(), ["--image-size", "--n-bits"]),
        (ImportOptions(n_bits=8), ["--image-size"]),
        (ImportOptions(image_size=(8, 8)), ["--n-bits"]),
        (ImportOptions(image_size=(8, 6), n_bits=8), ["--image-size 8x6", "multiples of 4"]),
        (ImportOptions(image_size=(8, 8), n_bits=8, scale_map="exp"), ["--scale-map exp"]),
    ],
)
def test_what_the_file_does_not_hold_is_asked_for(options, named, tmp_path):
    message = refusal(tmp_path, random_variables(SIZES), options)
    assert all(words in message for words in named)
    assert all(option in message or option not in " ".join(named) for option in ("--image-size", "--n-bits"))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("model/0/1/f1/l_2/W", None, "no tensor model/0/1/f1/l_2/W"),
        ("model/pool0/conv/logs", None, "no tensor model/pool0/conv/logs"),
        ("model/0/0/f1/context/W", np.zeros((2, 2)), "no place"),
        ("model/7/0/actnorm_center/b", np.zeros((1, 1, 1, 12)), "no tensor model/pool1"),
        ("model/0/0/actnorm_center/b", np.zeros((1, 1, 1, 10)), "10"),
        ("model/0/0/f1/l_1/W", np.zeros((3, 3, 6, 5)), "(3, 3, 7, any)"),
        ("model/0/0/f1/l_last/b", np.full((1, 1, 1, 12), np.nan), "NaN"),
    ],
)
def test_a_file_that_is_not_what_its_names_promise_is_refused(name, value, words, tmp_path):
    message = refusal(tmp_path, with_change(name, value), options_of(SIZES))
    assert words in message
    assert "\n" not in message


def test_an_order_that_is_none_is_refused(tmp_path):
    sizes = CASES["shuffled channels"]
    variables = {**random_variables(sizes), "model/0/0/shuffle/indices": np.zeros(12, np.int32)}
    assert "not a permutation" in refusal(tmp_path, variables, options_of(sizes))
