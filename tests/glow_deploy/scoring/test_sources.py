from __future__ import annotations

import doctest

import numpy as np
import pytest
from linear_encoder import IMAGE, N_BITS, LinearEncoder, pictures

from glow_deploy.data.arrays import array_images
from glow_deploy.data.fit import Fit
from glow_deploy.errors import DataError
from glow_deploy.images import pixels_to_x, values_to_pixels, write_png
from glow_deploy.scoring import sources as scoring_sources
from glow_deploy.scoring.score import ScoreSettings, score_images
from glow_deploy.scoring.sources import (
    ScoreSource,
    measure_reference,
    picture_source,
    reference_source,
    score_source,
    set_source,
)


def test_picture_files_batch_by_batch(tmp_path):
    values = pictures(5)
    files = [tmp_path / f"{index}.png" for index in range(5)]
    for path, value in zip(files, values, strict=True):
        write_png(path, value)
    source = picture_source(files, shape=IMAGE)
    parts = list(source.batches(2))
    assert [len(part.values) for part in parts] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), values)
    assert parts[1].names == [str(path) for path in files[2:4]]
    found = score_source(LinearEncoder(), source, settings=ScoreSettings(batch=2))
    np.testing.assert_allclose(found.bits_per_dim, score_images(LinearEncoder(), values).bits_per_dim, rtol=1e-6)


def test_unreadable_files_fail_or_are_left_out(tmp_path):
    files = [tmp_path / f"{index}.png" for index in range(4)]
    for path, value in zip(files, pictures(4), strict=True):
        write_png(path, value)
    files[0].write_bytes(b"\x89PNG damaged")
    files[1].unlink()
    with pytest.raises(DataError, match=r"0\.png"):
        score_source(LinearEncoder(), picture_source(files, shape=IMAGE))
    source = picture_source(files, shape=IMAGE, skip_unreadable=True)
    done = []
    found = score_source(
        LinearEncoder(), source, settings=ScoreSettings(batch=2), progress=lambda *pair: done.append(pair)
    )
    assert len(found) == 2
    assert [left.name[-5] for left in source.skipped] == ["0", "1"]
    assert done[-1] == (2, 2)
    with pytest.raises(DataError, match="none of 2 pictures can be read"):
        picture_source(files[:2], shape=IMAGE, skip_unreadable=True)


def images(count=6, labels=None):
    values = pictures(count).transpose(0, 2, 3, 1)
    return array_images(values, fit=Fit(), description="here", labels=labels)


def test_labels_of_a_set():
    labels = np.array([0, 1, 2, 0, 1, 2])
    taken = []
    found = score_source(
        LinearEncoder(classes=3), set_source(images(labels=labels), name="s", label="own"), take=taken.append
    )
    assert len(found) == 6
    np.testing.assert_array_equal(taken[0].labels, labels)
    score_source(LinearEncoder(classes=3), set_source(images(labels=labels), name="s", label=1), take=taken.append)
    np.testing.assert_array_equal(taken[1].labels, 1)
    with pytest.raises(DataError, match="here has no class labels"):
        set_source(images(), name="s", label="own")
    with pytest.raises(DataError, match="picture files have no class labels"):
        picture_source([], shape=IMAGE, label="own")


def test_the_reference_is_held_out_where_the_set_names_splits(tmp_path):
    values = pictures(12).transpose(0, 2, 3, 1)
    np.savez(tmp_path / "whole.npz", images=values)
    split = np.repeat([0, 1, 2], [6, 4, 2])
    np.savez(tmp_path / "split.npz", images=values, split=split, split_names=np.array(["train", "validation", "test"]))
    assert len(reference_source(str(tmp_path / "whole.npz"), shape=IMAGE)) == 12
    held_out = reference_source(str(tmp_path / "split.npz"), shape=IMAGE)
    np.testing.assert_array_equal(next(held_out.batches(9)).values, values.transpose(0, 3, 1, 2)[6:10])
    reference = measure_reference(LinearEncoder(), held_out)
    np.testing.assert_allclose(
        reference.bits_per_dim, score_images(LinearEncoder(), values.transpose(0, 3, 1, 2)[6:10]).bits_per_dim
    )


@pytest.mark.parametrize("kind", ["checkpoint", "data", "samples", None])
def test_golden_images_are_a_reference_unless_they_are_samples(kind):
    from glow_deploy.scoring.sources import golden_source

    values = pictures(4)

    class Manifest:
        golden_source, n_bits, image_shape = kind, N_BITS, IMAGE

    class Golden:
        x, y = pixels_to_x(values_to_pixels(values, N_BITS), N_BITS), None

    class Bundle:
        path, manifest = "bundle", Manifest
        golden = staticmethod(lambda: Golden)

    source = golden_source(Bundle)
    if kind in (None, "samples"):
        assert source is None
        return
    assert isinstance(source, ScoreSource)
    found = score_source(LinearEncoder(), source)
    np.testing.assert_allclose(found.bits_per_dim, score_images(LinearEncoder(), values).bits_per_dim, rtol=1e-6)


def test_doctests():
    found = doctest.testmod(scoring_sources)
    assert (found.failed, found.attempted >= 3) == (0, True)
