from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from linear_flow import CLASSES, LinearFlow

from glow_deploy.errors import DataError
from glow_deploy.latents import (
    load_latents,
    save_latents,
)

DECODER = LinearFlow("decoder", classes=True).inputs


def test_files_round_trip(tmp_path, latents):
    path = tmp_path / "latents.npz"
    save_latents(path, latents)
    got = load_latents(path, DECODER)
    for level, want in zip(got.z, latents.z, strict=True):
        assert level.dtype == np.float32
        np.testing.assert_array_equal(level, want)
    assert got.names == ("a.png", "b.png", "ü.png")
    assert got.labels.tolist() == [0, 1, 2]
    for name in ("log_prob", "bits_per_dim", "bits_per_dim_centre"):
        np.testing.assert_array_equal(getattr(got, name), getattr(latents, name))
    first = path.read_bytes()
    save_latents(path, latents)
    assert path.read_bytes() == first
    assert [item.name for item in tmp_path.iterdir()] == ["latents.npz"]


def test_z_alone_is_enough(tmp_path, latents):
    np.savez(tmp_path / "z.npz", z1=latents.z[0].astype(np.float64), z2=latents.z[1])
    got = load_latents(tmp_path / "z.npz", LinearFlow("decoder").inputs)
    assert got.names == ("0", "1", "2")
    assert got.z[0].dtype == np.float32
    assert got.bits_per_dim is None
    with pytest.raises(DataError, match="has no `y`"):
        load_latents(tmp_path / "z.npz", DECODER)
    assert load_latents(tmp_path / "z.npz", DECODER, need_y=False).labels is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"z2": None}, "holds latents z1, the model takes z1, z2"),
        ({"z3": np.zeros((3, 1))}, "holds latents z1, z2, z3"),
        ({"z1": np.zeros((3, 2, 2, 3), np.float32)}, r"`z1` has shape \[3, 2, 2, 3\]"),
        ({"z2": np.zeros((2, 4, 1, 1), np.float32)}, r"`z2` has shape \[2, 4, 1, 1\]"),
        ({"z1": np.zeros((3, 2, 2, 2), np.int64)}, "is int64, not floating point"),
        ({"z1": np.full((3, 2, 2, 2), np.nan, np.float32)}, "not finite"),
        ({"z1": np.full((3, 2, 2, 2), 1e300)}, "not finite"),
        ({"z1": np.array([{}], dtype=object)}, "Python objects"),
        ({"names": np.array([{}], dtype=object)}, "Python objects"),
        ({"names": np.array(["a"])}, "not 3 texts"),
        ({"log_prob": np.zeros(2)}, "`log_prob`"),
        ({"y": np.zeros(3)}, "`y` is float64"),
        ({"y": np.array([0, 1, 9])}, "`y` holds 9; the model's classes are 0 to 8"),
        ({"y": np.array([0, -1, 8])}, "`y` holds -1"),
        ({"y": np.array([0, 2**63 + 1, 8], np.uint64)}, "`y` holds -"),
    ],
)
def test_bad_arrays(tmp_path, latents, change, reason):
    save_latents(tmp_path / "a.npz", latents)
    arrays = dict(np.load(tmp_path / "a.npz")) | change
    np.savez(tmp_path / "b.npz", **{name: array for name, array in arrays.items() if array is not None})
    load_latents(tmp_path / "a.npz", DECODER, num_classes=CLASSES)
    with pytest.raises(DataError, match=reason) as caught:
        load_latents(tmp_path / "b.npz", DECODER, num_classes=CLASSES)
    assert "b.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_bytes(tmp_path, latents):
    path = tmp_path / "a.npz"
    save_latents(path, latents)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = bytearray(whole)
    damaged[whole.index(latents.z[0].tobytes()) + 5] ^= 255
    pickled = io.BytesIO()
    np.save(pickled, np.array([print], dtype=object), allow_pickle=True)
    for data in (b"", rng.bytes(400), whole[:-30], whole[: len(whole) // 2], bytes(damaged), pickled.getvalue()):
        path.write_bytes(data)
        with pytest.raises(DataError) as caught:
            load_latents(path, DECODER)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no such file"):
        load_latents(tmp_path / "absent.npz", DECODER)
    with pytest.raises(DataError, match="is a folder"):
        load_latents(tmp_path, DECODER)


def test_a_header_that_lies_about_its_size(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 2, 2, 2)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("z1.npy", header.getvalue() + b"\0" * 64)
    with pytest.raises(DataError, match="its header and its size disagree"):
        load_latents(tmp_path / "a.npz", DECODER)
