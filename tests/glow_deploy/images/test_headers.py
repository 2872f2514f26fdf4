import io
import os

import numpy as np
import pytest
from PIL import Image

from glow_deploy.errors import DataError
from glow_deploy.images import Header, read_header, read_picture

RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))


def _encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def _turned(kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    return _encoded(RGB, kind, exif=exif)


FILES = {
    **{f"{kind} {mode}": _encoded(RGB.convert(mode), kind) for kind, mode in [
        ("PNG", "RGB"), ("PNG", "L"), ("PNG", "P"), ("PNG", "1"), ("PNG", "RGBA"), ("PNG", "LA"), ("JPEG", "RGB"),
        ("JPEG", "L"), ("JPEG", "CMYK"), ("BMP", "RGB"), ("GIF", "P"), ("WEBP", "RGB"), ("TIFF", "L"), ("PPM", "RGB"),
        ("PPM", "L"), ("AVIF", "RGB"),
    ]},
    "16-bit PNG": _encoded(Image.fromarray(np.full((5, 7), 40_000, np.uint16)), "PNG"),
    "16-bit TIFF": _encoded(Image.fromarray(np.full((5, 7), 40_000, np.uint16)), "TIFF"),
    "turned JPEG": _turned("JPEG"),
    "turned PNG": _turned("PNG"),
    "turned TIFF": _turned("TIFF"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_header_says_what_the_picture_will_be(name):
    header, values = read_header(FILES[name]), read_picture(FILES[name])
    assert (header.channels, *header.size) == values.shape
    assert header.deep == name.startswith("16-bit")


@pytest.mark.parametrize("name", ["PNG RGB", "JPEG RGB", "turned PNG"])
def test_the_picture_behind_it_is_not_decoded(name):
    cut = FILES[name][:-30]
    header = read_header(cut)
    assert (header.channels, *header.size) == read_picture(FILES[name]).shape
    with pytest.raises(DataError, match="damaged"):
        read_picture(cut)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\nnothing", FILES["JPEG RGB"][:30]])
def test_what_is_wrong_is_said_as_when_the_picture_is_read(content):
    with pytest.raises(DataError) as expected:
        read_picture(content, name="a.png")
    with pytest.raises(DataError) as found:
        read_header(content, name="a.png")
    assert str(found.value) == str(expected.value)


def test_files_are_read_like_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(FILES["PNG L"])
    assert read_header(tmp_path / "a.png") == Header(size=(5, 7), channels=1)
    with pytest.raises(DataError, match="no such file"):
        read_header(tmp_path / "b.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png is a pipe, not a file that can be read"):
        read_header(tmp_path / "a.png")
