from __future__ import annotations

import doctest
import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import animation
from glow_deploy.images.animation import animation_bytes, there_and_back, write_animation


def frames(count=6, channels=3, *, colours=256, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, (colours, channels), dtype=np.uint8)
    table[0], table[-1] = 0, 255
    return np.moveaxis(table[rng.integers(0, colours, (count, 5, 7))], -1, 1)


def shown(data: bytes, channels: int) -> np.ndarray:
    """Every frame as a viewer puts it together, [N, C, H, W]."""
    with Image.open(io.BytesIO(data)) as image:
        mode = "L" if channels == 1 else "RGB"
        stack = [np.asarray(frame.convert(mode)) for frame in ImageSequence.Iterator(image)]
    values = np.stack(stack)
    return values[:, None] if channels == 1 else np.moveaxis(values, -1, 1)


@pytest.mark.parametrize("kind", ["apng", "gif"])
@pytest.mark.parametrize(("channels", "colours"), [(1, 200), (3, 100)])
def test_frames_come_back_to_the_pixel(kind, channels, colours):
    values = frames(channels=channels, colours=colours)
    np.testing.assert_array_equal(shown(animation_bytes(values, kind=kind, scale=1), channels), values)
    large = shown(animation_bytes(values, kind=kind, scale=3), channels)
    np.testing.assert_array_equal(large, values.repeat(3, axis=2).repeat(3, axis=3))


def test_only_an_apng_keeps_more_colours_than_a_palette_has():
    values = frames(count=20, colours=700)
    np.testing.assert_array_equal(shown(animation_bytes(values, kind="apng", scale=1), 3), values)
    reduced = shown(animation_bytes(values, kind="gif", scale=1), 3)
    assert not np.array_equal(reduced, values)
    assert np.abs(reduced.astype(int) - values).mean() < 16
    assert len(np.unique(np.moveaxis(reduced, 1, -1).reshape(-1, 3), axis=0)) <= 256


def test_a_colour_is_the_same_in_every_frame_of_a_gif():
    values = frames(count=20, colours=700)
    values[:, :, 2, 3] = np.array([17, 93, 211], np.uint8)
    reduced = shown(animation_bytes(values, kind="gif", scale=1), 3)
    assert len(np.unique(reduced[:, :, 2, 3], axis=0)) == 1


def test_time_and_repetition():
    values = frames()[there_and_back(6)]
    with Image.open(io.BytesIO(animation_bytes(values, kind="gif", fps=10, hold=0.5))) as image:
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
        assert image.info["loop"] == 0
    assert durations == [600, 100, 100, 100, 100, 600, 100, 100, 100, 100]
    with Image.open(io.BytesIO(animation_bytes(values, kind="apng", fps=10))) as image:
        assert image.info["loop"] == 0
        assert image.n_frames == 10


def test_there_and_back_shows_neither_end_twice():
    assert there_and_back(1).tolist() == [0]
    assert there_and_back(2).tolist() == [0, 1]
    assert there_and_back(5).tolist() == [0, 1, 2, 3, 4, 3, 2, 1]


def test_one_frame_is_a_picture():
    values = frames(count=1, colours=50)
    for kind in ("gif", "apng"):
        np.testing.assert_array_equal(shown(animation_bytes(values, kind=kind, scale=1), 3), values)


def test_the_suffix_says_which_kind(tmp_path):
    for name, kind in (("a.gif", "GIF"), ("b.png", "PNG"), ("c.APNG", "PNG")):
        write_animation(tmp_path / name, frames())
        with Image.open(tmp_path / name) as image:
            assert (image.format, image.n_frames) == (kind, 6)
    with pytest.raises(UsageError, match=r"written as \.gif, \.apng or \.png"):
        write_animation(tmp_path / "d.webp", frames())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "b.png", "c.APNG"]


def test_nothing_is_left_of_a_failed_write(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"before")
    with pytest.raises(DataError):
        write_animation(tmp_path / "a.gif", frames().astype(np.float32))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.gif", b"before")]


@pytest.mark.parametrize("values", [np.zeros((0, 3, 4, 4), np.uint8), np.zeros((3, 4, 4), np.uint8)])
def test_what_is_no_stack_of_pictures(values):
    with pytest.raises(DataError, match="an animation needs uint8"):
        animation_bytes(values)


def test_options_out_of_range():
    for fps in (0, -1, 51, float("nan")):
        with pytest.raises(UsageError, match="frames a second"):
            animation_bytes(frames(), fps=fps)
    with pytest.raises(UsageError, match="held"):
        animation_bytes(frames(), hold=-1)


def test_doctests():
    found = doctest.testmod(animation)
    assert (found.failed, found.attempted >= 4) == (0, True)
