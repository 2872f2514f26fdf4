from __future__ import annotations

import numpy as np
import pytest
from linear_flow import LinearFlow

from glow_deploy.errors import DataError, UsageError
from glow_deploy.latents.specs import check_labels, conditional, finite_rows, is_latent_name, latent_specs, need_role
from glow_deploy.protocol import TensorSpec


def test_latents_are_in_the_order_of_their_numbers():
    specs = [
        TensorSpec(name=name, dtype="float32", shape=()) for name in ("z10", "log_prob", "z2", "z", "z1", "zx", "y")
    ]
    assert [spec.name for spec in latent_specs(specs)] == ["z1", "z2", "z10"]


def test_a_row_with_one_value_that_is_not_finite_is_not_finite():
    array = np.zeros((4, 2, 3), np.float32)
    array[1, 0, 2] = np.nan
    array[3, 1, 1] = np.inf
    assert finite_rows(array).tolist() == [True, False, True, False]
    assert finite_rows(np.zeros((2, 1))).tolist() == [True, True]


def test_the_other_role_is_refused():
    need_role(LinearFlow("encoder"), "encoder", "scoring")
    with pytest.raises(UsageError, match="scoring needs an encoder, this engine is the decoder; give the other file"):
        need_role(LinearFlow("decoder"), "encoder", "scoring")
    with pytest.raises(UsageError, match="sampling needs a decoder, this engine is the encoder"):
        need_role(LinearFlow("encoder"), "decoder", "sampling")


def test_labels_of_a_model_with_classes_and_of_one_without():
    plain, classes = LinearFlow("encoder"), LinearFlow("encoder", classes=True)
    assert (conditional(plain), conditional(classes)) == (False, True)
    assert check_labels(plain, None, 3) is None
    found = check_labels(classes, np.uint8([0, 8, 3]), 3)
    assert (found.dtype, found.tolist()) == (np.int64, [0, 8, 3])
    with pytest.raises(UsageError, match="not class-conditional: leave labels= out"):
        check_labels(plain, [0], 1)
    with pytest.raises(UsageError, match=r"say which class \(labels=\), 0 to 8"):
        check_labels(classes, None, 3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], r"labels must be 3 whole numbers, one a row, not int64 \[2\]"),
        ([0.0, 1.0, 2.0], "must be 3 whole numbers, one a row, not float64"),
        ([True, False, True], "must be 3 whole numbers, one a row, not bool"),
        ([[0, 1, 2]], "must be 3 whole numbers"),
        ([0, 9, 1], "there is no class 9: this model knows 0 to 8"),
        ([0, -1, 1], "there is no class -1"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        check_labels(LinearFlow("encoder", classes=True), labels, 3)


@pytest.mark.parametrize(("name", "is_one"), [("z1", True), ("z12", True), ("z", False), ("x1", False), ("z-1", False)])
def test_a_latent_is_named_by_a_letter_and_a_number(name, is_one):
    assert is_latent_name(name) is is_one


@pytest.mark.parametrize("number", ["\u00b2", "\u0663", "9" * 5000])
def test_what_only_looks_like_a_number_names_no_latent(number):
    assert not is_latent_name(f"z{number}")
