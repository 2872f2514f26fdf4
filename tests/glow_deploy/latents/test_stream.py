from __future__ import annotations

import numpy as np
import pytest
from linear_flow import IMAGE, N_BITS, LinearFlow, pictures

from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import pixels_to_x, values_to_pixels
from glow_deploy.latents.stream import PictureBatch, encoder_batches, picture_batches


def batches(encoder, values, *, batch=2, labels=None, names=None, **options):
    cut = picture_batches(values, batch=batch, names=names, labels=labels)
    return list(encoder_batches(encoder, cut, purpose="encoding", **{"draws": 1, "seed": 3, **options}))


def test_pictures_are_cut_without_losing_any():
    values = pictures(5)
    cut = list(picture_batches(values, batch=2, names=list("abcde"), labels=[0, 1, 2, 3, 4]))
    assert [len(part.values) for part in cut] == [2, 2, 1]
    assert np.array_equal(np.concatenate([part.values for part in cut]), values)
    assert [list(part.names) for part in cut] == [["a", "b"], ["c", "d"], ["e"]]
    assert np.concatenate([part.labels for part in cut]).tolist() == [0, 1, 2, 3, 4]
    assert list(picture_batches(values[:0], batch=2, names=None, labels=None)) == []


def test_numbers_go_on_from_batch_to_batch_and_name_what_has_no_name():
    found = batches(LinearFlow("encoder"), pictures(5), start=10)
    assert [batch.indices.tolist() for batch in found] == [[10, 11], [12, 13], [14]]
    assert [name for batch in found for name in batch.names] == ["10", "11", "12", "13", "14"]


def test_noise_belongs_to_the_number_of_a_picture_not_to_its_batch():
    whole = batches(LinearFlow("encoder"), pictures(5), batch=5, draws=2)[0]
    parts = batches(LinearFlow("encoder"), pictures(5), draws=2)
    first, second = whole.noisy()
    assert not np.array_equal(first, second)
    for draw, expected in enumerate((first, second)):
        assert np.array_equal(np.concatenate([list(part.noisy())[draw] for part in parts]), expected)
    assert np.array_equal(whole.centre(), pixels_to_x(values_to_pixels(pictures(5), N_BITS), N_BITS))
    assert np.abs(first - whole.centre()).max() <= 0.5 / 2**N_BITS


def test_the_class_is_chosen_by_the_likelihood_under_every_class():
    seen = []

    def choose(log_prob, names):
        seen.append((log_prob.shape, list(names)))
        return log_prob.argmax(axis=1)

    found = batches(LinearFlow("encoder", classes=True), pictures(3), choose=choose)
    assert seen == [((2, 9), ["0", "1"]), ((1, 9), ["2"])]
    assert [batch.labels.tolist() for batch in found] == [
        batch.class_log_prob.argmax(axis=1).tolist() for batch in found
    ]


def test_what_does_not_fit_is_refused_before_the_encoder_runs():
    encoder = LinearFlow("encoder", classes=True)
    with pytest.raises(UsageError, match="encoding needs an encoder"):
        batches(LinearFlow("decoder"), pictures(2))
    with pytest.raises(DataError, match=rf"pictures are \[3, 2, 4\] \(C, H, W\), the model takes \[{IMAGE[0]}, "):
        batches(encoder, np.zeros((2, 3, 2, 4), np.uint8), labels=[0, 0])
    with pytest.raises(UsageError, match="leave one of them out"):
        batches(encoder, pictures(2), labels=[0, 0], choose=lambda log_prob, names: log_prob.argmax(axis=1))
    with pytest.raises(DataError, match="there is no class 9"):
        list(
            encoder_batches(
                encoder, [PictureBatch(values=pictures(1), labels=[9])], purpose="encoding", draws=0, seed=0
            )
        )
    assert encoder.batches == []
