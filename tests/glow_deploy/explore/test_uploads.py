from __future__ import annotations

import io

import numpy as np
import pytest
from asking import error, upload
from PIL import Image

from glow_deploy.explore.uploads import read_upload


@pytest.mark.parametrize(
    ("size", "note"),
    [
        ((8, 8), None),
        ((16, 16), "16x16 pixels, resampled to 8x8"),
        ((20, 10), "20x10 pixels, cropped in the middle and resampled to 8x8"),
        ((1, 1), "1x1 pixels, resampled"),
    ],
)
def test_any_size_is_taken_and_what_was_done_is_said(client, picture, size, note):
    found = upload(client, picture(*size)).json()
    assert (found["notes"] == []) if note is None else (note in found["notes"][0])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_the_common_kinds_are_taken(client, picture, kind):
    assert upload(client, picture(format=kind)).status_code == 200


def test_colour_for_a_grey_model(visit, grey_bundle, picture, values_of):
    client = visit(grey_bundle)
    found = upload(client, picture()).json()
    assert found["notes"] == ["in colour, turned grey, which the model takes"]
    assert values_of(found["picture"]).shape == (1, 8, 8)
    assert upload(client, picture(mode="L")).json()["notes"] == []


def bomb(width, height):
    """A PNG file that claims to be large."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"hello", "is not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not a picture"),
        (b"\x89PNG\r\n\x1a\n", "dropped.png"),
        (bomb(8, 8), "damaged or cut short"),
        (bomb(20_000, 20_000), "million pixels"),
        (bomb(2_000_000, 2_000_000), "million pixels"),
        (bomb(10_000, 8_000), "more than 50 million pixels"),
    ],
)
def test_bad_files_are_refused_in_one_line(client, data, words):
    answer = upload(client, data)
    assert words in error(answer)
    assert answer.status_code == 400


def test_a_damaged_picture_is_refused(client, picture):
    data = picture(64, 64)
    assert "damaged" in error(upload(client, data[: len(data) // 2]))


def test_kinds_that_only_files_may_have_are_refused(client, picture):
    assert "not a picture that can be read here" in error(upload(client, picture(format="TIFF")))


def test_the_limit_is_kept_while_reading(visit, bundle, picture):
    data = picture()
    client = visit(bundle, max_upload=len(data))
    assert upload(client, data).status_code == 200
    answer = upload(client, data + b"x")
    assert (answer.status_code, "is larger than" in error(answer)) == (413, True)

    sent = []

    def endless():
        for _ in range(10_000):
            sent.append(1)
            yield b"\0" * 1024

    # Without a length: only counting can notice.
    answer = client.post("/api/image", params={"name": "x"}, content=endless())
    assert (answer.status_code, "is larger than" in error(answer)) == (413, True)


def test_the_limit_is_told_before_anything_is_read(visit, bundle):
    client = visit(bundle, max_upload=10)
    answer = client.post("/api/image", params={"name": "x"}, content=b"abc", headers={"content-length": "9999999999"})
    assert answer.status_code == 413


def test_a_length_that_is_no_number_is_passed_over(visit, bundle):
    """Not by the test client's own way, which counts for itself."""
    client = visit(bundle, max_upload=10)
    answer = client.post("/api/image", params={"name": "x"}, content=b"abc", headers={"content-length": b"\xb2"})
    assert answer.status_code != 500


def test_names_are_made_fit_to_be_shown(client, picture):
    found = upload(client, picture(), name="C:\\folder/a\x00b\u202ec\nd" + "e" * 500 + ".png").json()
    assert found["name"].startswith("abcde")
    assert len(found["name"]) == 100
    assert upload(client, picture(), name="/").json()["name"] == "picture"
    assert upload(client, picture(), name="<b>&.png").json()["name"] == "<b>&.png"  # the page writes it as text


def transparent_upload(image: Image.Image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return read_upload(stream.getvalue(), name="a.png", size=(4, 6), channels=3, max_pixels=10**6)


@pytest.mark.parametrize("size", [(6, 4), (12, 8)])
def test_transparency_is_laid_over_white_and_said(size):
    values, notes = transparent_upload(Image.new("RGBA", size, (0, 0, 0, 0)))
    assert values.min() == 255
    assert "transparent in places, laid over white" in notes
    assert len(notes) == 1 + (size != (6, 4))


def test_an_opaque_alpha_channel_is_dropped_without_a_word():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    values, notes = transparent_upload(Image.fromarray(pixels).convert("RGBA"))
    assert notes == ()
    assert np.array_equal(values.transpose(1, 2, 0), pixels)
