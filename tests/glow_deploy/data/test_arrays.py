import numpy as np
import pytest

from glow_deploy.data.arrays import array_images
from glow_deploy.data.fit import Fit
from glow_deploy.data.reading import Reading
from glow_deploy.errors import DataError

BYTES = np.random.default_rng(0).integers(0, 256, (4, 5, 7, 3), dtype=np.uint8)
BYTES.flat[:2] = 0, 255
WANTED = BYTES.transpose(0, 3, 1, 2)


def _read(array, **options):
    return array_images(array, fit=Fit(), description="a.npy", reading=Reading(**options)).batch(range(len(array)))


def test_channels_first_are_taken_where_that_is_told():
    first = np.ascontiguousarray(WANTED)
    with pytest.raises(DataError, match=r'it may be \[N,C,H,W\], so pass layout="nchw"'):
        _read(first)
    assert np.array_equal(_read(first, layout="nchw"), WANTED)
    assert np.array_equal(_read(BYTES, layout="nhwc"), WANTED)
    with pytest.raises(DataError, match='so pass layout="nhwc"'):
        _read(BYTES, layout="nchw")
    assert np.array_equal(_read(BYTES[..., 0], layout="nchw")[:, 0], BYTES[..., 0])


RANGES = {"unit": (0, 1), "centred": (-0.5, 0.5), "signed": (-1, 1), "byte": (0, 255)}


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", RANGES)
def test_floats_are_taken_where_their_range_is_told(kind, name):
    low, high = RANGES[name]
    floats = (BYTES / 255 * (high - low) + low).astype(kind)
    with pytest.raises(DataError, match=rf'images are {np.dtype(kind)} .*pass float_range="{name}"'):
        _read(floats)
    assert np.array_equal(_read(floats, float_range=name), WANTED)
    with pytest.raises(DataError, match="outside the range"):
        _read(np.where(floats == high, kind(3 * high + 1), floats), float_range=name)
    with pytest.raises(DataError, match="not finite"):
        _read(np.where(floats == high, kind(np.nan), floats), float_range=name)


def test_values_of_16_bits_keep_the_highest_eight():
    wide = BYTES.astype(np.uint16) << 8 | 77
    assert np.array_equal(_read(wide), WANTED)
    assert array_images(wide, fit=Fit(), description="a.npy").notes == ()


def test_values_of_12_bits_in_16_are_noticed():
    twelve = BYTES.astype(np.uint16) << 4 | 7
    images = array_images(twelve, fit=Fit(), description="a.npy")
    assert images.notes == (
        "a.npy: the largest of the 16-bit values is 4,087, so they may have 12 bits; they are taken as 16 and are "
        "dark, unless you pass depth=12",
    )
    assert np.array_equal(images.batch(range(4)), WANTED >> 4)
    assert np.array_equal(_read(twelve, depth=12), WANTED)
    with pytest.raises(DataError, match="a value is 4087, which 10 bits cannot hold"):
        _read(twelve, depth=10)


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.int8, np.bool_, np.complex64])
def test_other_kinds_are_refused(kind):
    with pytest.raises(DataError, match="are needed"):
        _read(BYTES.astype(kind))


def test_large_arrays_are_looked_at_piece_by_piece(monkeypatch):
    monkeypatch.setattr("glow_deploy.data.arrays._CHUNK", 10)
    floats = (BYTES / 255).astype(np.float32)
    assert np.array_equal(_read(floats, float_range="unit"), WANTED)
    floats[-1, -1, -1, -1] = 7
    with pytest.raises(DataError, match="from 0 to 7"):
        _read(floats)
