"""Arrays in files that nobody vouches for."""

from __future__ import annotations

import io
import resource
import zipfile

import numpy as np
import pytest

from glow_deploy.errors import DataError
from glow_deploy.offline.npy import read_npy


def read(file):
    return read_npy(file, name="encoder.z1", check=lambda shape: None)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
def test_every_bit_comes_back_in_either_order(tmp_path, dtype):
    array = (np.arange(24).reshape(2, 3, 4) / 7).astype(dtype)
    for order in (array, np.asfortranarray(array)):
        np.save(tmp_path / "a.npy", order)
        np.testing.assert_array_equal(read(tmp_path / "a.npy"), array)


def written(header, data=b""):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + data


def archive():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as found:
        found.writestr("a.npy", b"")
    return stream.getvalue()


def f4(*shape):
    return {"descr": "<f4", "fortran_order": False, "shape": shape}


DAMAGED = {
    "an archive": (archive(), "is no .npy file of numbers"),
    "nothing": (b"", "is no .npy file"),
    "cut": (written(f4(4), bytes(12)), "has 12 bytes of values; 16 are needed"),
    "longer": (written(f4(4), bytes(20)), "has 20 bytes of values; 16 are needed"),
    "negative": (written(f4(-4, -1)), "is no .npy file"),
    "vast": (written(f4(2**40, 2**20)), "has 0 bytes"),
    "integers": (written({**f4(4), "descr": "<i4"}, bytes(16)), "encoder.z1 is int32; float32 is needed"),
    "wide": (written({**f4(4), "descr": "<f16"}, bytes(64)), "; float32 is needed"),
    "objects": (written({**f4(4), "descr": "|O"}), "encoder.z1 is object"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_damaged_is_refused_in_one_line(tmp_path, kind):
    data, said = DAMAGED[kind]
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(DataError, match=said) as told:
        read(tmp_path / "a.npy")
    assert "\n" not in str(told.value)


def test_the_type_is_looked_at_before_a_sparse_file_is_read(tmp_path):
    header = written({"descr": "|V1000000", "fortran_order": False, "shape": (3000,)})
    with (tmp_path / "a.npy").open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 3_000_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="float32 is needed"):
        read(tmp_path / "a.npy")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB
