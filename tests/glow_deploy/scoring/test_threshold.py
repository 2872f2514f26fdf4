"""The stated rate of mistakes holds, and what is saved comes back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.scoring.surprise import RawSurprise
from glow_deploy.scoring.threshold import fit_threshold, load_threshold, save_threshold

ID = "a" * 64


def made(n, rng, *, heavy=False):
    """Surprise of n normal pictures of 8x8: other spreads at every place, and heavy tails where wished."""

    def draw(*shape):
        spread = np.random.default_rng(1).uniform(0.5, 2, shape)
        values = rng.standard_t(2, (n, *shape)) if heavy else rng.normal(size=(n, *shape))
        return 1 + spread * values

    return RawSurprise(energies=(draw(4, 4), draw(2, 2)), gains=draw(4, 4), patch=2)


def fitted(raw, rate=0.1):
    return fit_threshold(raw, rate=rate, model_id=ID, precision="fp32", source="made up")


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_the_rate_of_mistakes_is_the_stated_one(rate, heavy):
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(60):
        known = fitted(made(100, rng, heavy=heavy), rate)
        shares.append((known.maps(made(200, rng, heavy=heavy)).highest > known.value).mean())
    error = np.std(shares) / np.sqrt(len(shares))
    assert np.mean(shares) <= rate + 3 * error
    assert np.mean(shares) > rate / 3  # it is not reached by calling nothing strange


def test_places_are_compared_with_the_same_places():
    rng = np.random.default_rng(0)
    raw = made(400, rng)
    maps = fitted(raw).maps(raw)
    for array in (maps.latents, maps.patches, maps.both):
        assert array.shape == (400, 8, 8)
    np.testing.assert_allclose(maps.patches.std(axis=0), 1, atol=0.25)
    np.testing.assert_allclose(maps.both, (maps.latents + maps.patches) / 2)
    np.testing.assert_array_equal(maps.patches[:, 0], maps.patches[:, 1])  # one patch


def test_what_overflows_is_strange():
    rng = np.random.default_rng(0)
    known = fitted(made(100, rng))
    raw = made(2, rng)
    raw.gains[1, 3, 3] = np.nan
    maps = known.maps(raw)
    assert maps.highest[1] > known.value
    assert np.isfinite(maps.both).all()
    with pytest.raises(UnsoundModelError):
        fitted(RawSurprise(energies=raw.energies, gains=raw.gains, patch=2))


@pytest.mark.parametrize(("n", "rate", "said"), [(30, 0.05, "it takes 38"), (10, 0.001, "1998"), (100, 0, "rate"),
                                                (100, 1, "rate"), (2, 0.5, "too few")])  # fmt: skip
def test_a_rate_that_so_few_images_cannot_promise_is_refused(n, rate, said):
    with pytest.raises(UsageError, match=said):
        fitted(made(n, np.random.default_rng(0)), rate)


def test_it_comes_back_from_its_file(tmp_path):
    rng = np.random.default_rng(0)
    known, other = fitted(made(60, rng)), made(5, rng)
    save_threshold(tmp_path / "t.json", known)
    found = load_threshold(tmp_path / "t.json")
    assert (found.value, found.rate, found.model_id, found.source) == (known.value, 0.1, ID, "made up")
    np.testing.assert_array_equal(found.maps(other).both, known.maps(other).both)
    small = RawSurprise(energies=other.energies, gains=other.gains[:, :2], patch=2)
    with pytest.raises(DataError, match="another size"):
        found.maps(small)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"}, {"format_version": 2}, {"model_id": "A" * 64}, {"model_id": 3}, {"patch": 0}, {"patch": True},
        {"rate": "0.1"}, {"value": None}, {"normal": -1}, {"means": []}, {"means": [[[1]]]},
        {"means": [[[1]], [["x"]]]},
        {"means": 3}, {"deviations": [[[0.0]], [[1.0]], [[1.0]]]}, {"means": [[1], [2]]}, {"source": "x" * 5000},
        {"means": [[[1], [1, 2]], [[1]]]},
    ],
    ids=lambda change: str(change)[:40],
)  # fmt: skip
def test_files_that_are_none_are_one_line(change, tmp_path):
    save_threshold(tmp_path / "t.json", fitted(made(60, np.random.default_rng(0))))
    content = json.loads((tmp_path / "t.json").read_text())
    (tmp_path / "t.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(DataError, match="no threshold") as refusal:
        load_threshold(tmp_path / "t.json")
    assert "\n" not in str(refusal.value)


def test_other_files_are_one_line(tmp_path):
    (tmp_path / "t.json").write_text("[" * 100_000)
    (tmp_path / "nan.json").write_text('{"format": NaN}')
    for name in ("t.json", "nan.json", "missing.json"):
        with pytest.raises(DataError):
            load_threshold(tmp_path / name)
