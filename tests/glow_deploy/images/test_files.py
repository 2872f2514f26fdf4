from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glow_deploy.errors import DataError
from glow_deploy.images import (
    png_bytes,
    read_picture,
    write_png,
)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_png_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        values = rng.integers(0, 256, (channels, 6, 9), dtype=np.uint8)
        write_png(tmp_path / "a.png", values)
        np.testing.assert_array_equal(read_picture(tmp_path / "a.png", size=(6, 9), channels=channels), values)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(DataError, match="needs uint8"):
        png_bytes(np.zeros((3, 2, 2), np.float32))
    with pytest.raises(DataError, match="1 or 3 channels"):
        png_bytes(np.zeros((4, 2, 2), np.uint8))


def grey(value: int = 128) -> Image.Image:
    return Image.new("L", (5, 7), value)


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (grey(), "PNG", (1, 128)),
        (Image.new("1", (5, 7), 1), "PNG", (1, 255)),
        (Image.new("RGB", (5, 7), (1, 2, 3)), "PNG", (3, 1)),
        (Image.new("RGB", (5, 7), (0, 0, 255)).convert("P"), "GIF", (3, 0)),
        (Image.new("CMYK", (5, 7), (0, 0, 0, 0)), "JPEG", (3, 255)),
        (Image.fromarray(np.full((7, 5), 0x80FF, np.uint16)), "PNG", (1, 128)),
        (Image.new("LA", (5, 7), (10, 255)), "PNG", (1, 10)),
        (Image.new("LA", (5, 7), (10, 0)), "PNG", (1, 255)),
        (Image.new("RGBA", (5, 7), (10, 20, 30, 255)), "PNG", (3, 10)),
        (Image.new("RGBA", (5, 7), (0, 0, 0, 51)), "PNG", (3, 204)),
    ],
    ids=["L", "1", "RGB", "P", "CMYK", "I;16", "LA", "LA-clear", "RGBA", "RGBA-fifth"],
)
def test_modes(image, kind, expected):
    values = read_picture(encoded(image, kind), over_white=True)
    assert values.shape == (expected[0], 7, 5)
    assert abs(int(values[0, 3, 2]) - expected[1]) <= 1


def test_palette_transparency_goes_over_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([200, 0, 0] + [0] * 765)
    assert read_picture(encoded(image, "PNG", transparency=0), over_white=True).min() == 255
    assert read_picture(encoded(image, "PNG", transparency=7))[:, 0, 0].tolist() == [200, 0, 0]
    assert read_picture(encoded(image, "PNG"))[:, 0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    "image",
    [
        Image.new("LA", (5, 7), (10, 254)),
        Image.new("RGBA", (5, 7), (10, 20, 30, 0)),
        Image.new("P", (5, 7), 0),
        Image.new("RGB", (5, 7), (1, 2, 3)),
        Image.new("L", (5, 7), 3),
    ],
    ids=["LA", "RGBA", "P", "RGB", "L"],
)
def test_transparency_is_refused_unless_it_may_be_laid_over_white(tmp_path, image):
    keys = {"P": 0, "RGB": (1, 2, 3), "L": 3}
    options = {"transparency": keys[image.mode]} if image.mode in keys else {}
    (tmp_path / "a.png").write_bytes(encoded(image, "PNG", **options))
    with pytest.raises(DataError, match=r"a\.png is transparent in places, .*pass resize=True to lay it over white"):
        read_picture(tmp_path / "a.png")
    white = read_picture(tmp_path / "a.png", resize=True)
    assert np.array_equal(white, read_picture(tmp_path / "a.png", over_white=True))
    assert white.min() == 255 or image.mode == "LA"


def test_exif_orientation_is_applied():
    image = Image.new("RGB", (5, 7))
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_picture(encoded(image, "JPEG", exif=exif)).shape == (3, 5, 7)


def test_channels(tmp_path):
    assert read_picture(encoded(grey()), channels=3).shape == (3, 7, 5)
    same = read_picture(encoded(Image.new("RGB", (5, 7), (9, 9, 9))), channels=1)
    assert same.shape == (1, 7, 5)
    assert same.max() == same.min() == 9
    path = tmp_path / "colour.png"
    path.write_bytes(encoded(Image.new("RGB", (5, 7), (255, 0, 0))))
    with pytest.raises(DataError, match=r"colour\.png is in colour, the model takes grey.*resize=True"):
        read_picture(path, channels=1)
    assert read_picture(path, channels=1, resize=True)[0, 0, 0] == 76


def test_wrong_size_names_everything(tmp_path):
    path = tmp_path / "wide.png"
    path.write_bytes(encoded(Image.new("RGB", (20, 10))))
    with pytest.raises(DataError, match=r"wide\.png is 20x10 pixels, the model takes 6x8 .*resize=True"):
        read_picture(path, size=(8, 6))
    assert read_picture(path, size=(8, 6), resize=True).shape == (3, 8, 6)


def test_resize_crops_the_centre():
    array = np.zeros((10, 30), np.uint8)
    array[:, 10:20] = 200
    assert (read_picture(encoded(Image.fromarray(array)), size=(5, 5), resize=True) > 180).all()


def test_bad_files(tmp_path):
    rng = np.random.default_rng(0)
    whole = encoded(Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)))
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "random.png").write_bytes(rng.bytes(500))
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "evil.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nquit\n")
    for name, reason in [
        ("cut.png", "damaged or cut short"),
        ("random.png", "not a picture"),
        ("empty.png", "not a picture"),
        ("evil.png", "not a picture"),
        ("absent.png", "no such file"),
        ("", "is a folder"),
    ]:
        with pytest.raises(DataError, match=reason) as caught:
            read_picture(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert read_picture(whole).shape == (1, 40, 40)
    with pytest.raises(DataError, match="32-bit values"):
        read_picture(encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"))


@pytest.mark.parametrize("factor", [0.9, 3.0])
def test_decompression_bomb(monkeypatch, factor):
    data = encoded(Image.new("L", (200, 200)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(200 * 200 / (1 + factor)))
    with pytest.raises(DataError, match="million pixels"):
        read_picture(data)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_bytes_never_escape_as_other_errors(data):
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
    whole = bytearray(encoded(Image.new("RGB", (12, 12), (9, 80, 200)), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        values = read_picture(bytes(whole))
    except DataError:
        return
    assert values.dtype == np.uint8


def test_what_pillow_logs_about_a_damaged_file_stays_off_stderr():
    """In a process of its own: pytest sets up logging, and then nothing would be printed anyway."""
    code = """
import io, struct, sys
from PIL import Image
from glow_deploy.errors import DataError
from glow_deploy.images import read_picture

stream = io.BytesIO()
Image.new("RGB", (8, 8)).save(stream, "TIFF")
right = struct.pack("<HHIHH", 277, 3, 1, 3, 0)  # the tag for samples per pixel
assert stream.getvalue().count(right) == 1
data = stream.getvalue().replace(right, struct.pack("<HHIHH", 277, 3, 1, 9999, 0))
try:
    read_picture(data, name="x.tif") if sys.argv[1] == "ours" else Image.open(io.BytesIO(data))
except (DataError, OSError):
    print("refused")
"""
    done = {
        who: subprocess.run([sys.executable, "-c", code, who], capture_output=True, text=True, check=True, timeout=60)
        for who in ("ours", "pillow")
    }
    assert {who: run.stdout for who, run in done.items()} == {"ours": "refused\n", "pillow": "refused\n"}
    assert done["ours"].stderr == ""
    assert "samples per pixel" in done["pillow"].stderr
