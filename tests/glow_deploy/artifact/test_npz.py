"""Archives that are damaged, hostile or merely odd: one clear error, in little time and memory."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from glow_deploy.artifact import npz
from glow_deploy.artifact.npz import NpzArchive
from glow_deploy.errors import DataError


def _npy(array, *, dtype=None):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array, dtype=dtype), allow_pickle=True)
    return buffer.getvalue()


def _header(descr, shape, data=b""):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def _write(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(f"{name}.npy", data)
    return path


def _refused(path, words, *, read="a"):
    with pytest.raises(DataError, match=words) as raised, NpzArchive(path) as archive:
        archive.read(read)
    message = str(raised.value)
    assert str(path) in message
    assert message.replace(str(path), "").isprintable()
    assert len(message) < 600


def test_plain_archives_are_read(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "n": np.array(["x", "é\U0001f600"]), "i": np.array([], np.int64)}
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "good.npz", **arrays)
        with NpzArchive(tmp_path / "good.npz") as archive:
            for name, array in arrays.items():
                np.testing.assert_array_equal(archive.read(name), array)
            assert archive.texts("n") == ("x", "é\U0001f600")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_ways_of_packing_are_refused(tmp_path, method):
    _refused(_write(tmp_path / "a.npz", [("a", _npy(np.arange(9.0)))], method), "packed in a way")


def test_encrypted_members_are_refused(tmp_path):
    path = _write(tmp_path / "a.npz", [("a", _npy(np.arange(9.0)))])
    data = bytearray(path.read_bytes())
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    _refused(path, "packed in a way")


def test_a_bomb_is_refused_before_it_unpacks(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(300 << 20, np.uint8))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    _refused(path, "would unpack to 3145")
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    with NpzArchive(path, most_ratio=2000) as archive:  # on the caller's word
        assert archive.entries["a"].shape == (300 << 20,)
    np.savez_compressed(path, a=np.zeros(30 << 20, np.uint8))  # small enough whatever it was packed to
    with NpzArchive(path) as archive:
        assert archive.read("a").nbytes == 30 << 20


def test_the_same_member_many_times_is_refused(tmp_path):
    path = _write(tmp_path / "a.npz", [("a", _npy([1.0])), ("b", _npy([1.0]))])
    path.write_bytes(path.read_bytes().replace(b"b.npy", b"a.npy"))
    _refused(path, "twice")


def test_a_list_without_end_is_refused(tmp_path):
    _refused(_write(tmp_path / "a.npz", [(f"a{i}", b"") for i in range(5000)]), "lists more than")
    # The size of the list is looked at before the list is.
    with zipfile.ZipFile(tmp_path / "long.npz", "w") as archive:
        for i in range(100):
            archive.writestr(f"{i}" + "n" * 60_000, b"")
    _refused(tmp_path / "long.npz", "lists more than")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_npy(np.zeros(3, [("a", "<f4"), ("b", "<i4")])), "neither numbers nor texts"),
        (_npy(np.zeros(3, "M8[s]")), "neither numbers nor texts"),
        (_npy(np.zeros(3, "c8")), "neither numbers nor texts"),
        (_npy(np.zeros(3, "S5")), "neither numbers nor texts"),
        (_npy(np.zeros(3, "V5")), "neither numbers nor texts"),
        (_npy(np.array([{}, 1], object)), "Python objects"),
        (_header("<f8", (2, 3), b"\0" * 40), "disagree"),
        (_header("<f8", (-2, -3), b"\0" * 48), "disagree"),
        (_header("<f8", (2**62, 4), b""), "disagree"),
        (_header("<U0", (10**12,)), "disagree"),
        (_header("<f8", (10**12, 0)), "claims to have"),
        (_header("<f8", (1,) * 40, b"\0" * 8), "disagree|damaged"),
        (_header("<U1", (2,), struct.pack("<2I", 65, 0x110000)), "letters that are none"),
        (_header("<U1", (2,), struct.pack("<2I", 65, 0xDC80)), "letters that are none"),
        (_header(">U1", (1,), struct.pack(">I", 0x7FFFFFFF)), "letters that are none"),
        (_header([("x\x1b[2J", "<f8", (2,))], (1,), b"\0" * 16), "neither numbers"),
        (b"\x93NUMPY\x07\x00" + b"\0" * 60, "damaged"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "damaged"),
        (_header("<f8", "((" * 2000), "damaged"),
        (b"", "damaged"),
        (b"garbage" * 20, "damaged"),
    ],
)
def test_odd_arrays_are_refused(tmp_path, data, words):
    _refused(_write(tmp_path / "a.npz", [("a", data)]), words)


def test_every_cut_and_flipped_byte_is_refused_or_harmless(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.arange(40.0), n=np.array(["one", "two"]))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for turn in range(400):
        data = bytearray(whole)
        if turn % 4:
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        else:
            del data[rng.integers(len(data)) :]
        path.write_bytes(data)
        with suppress(DataError), NpzArchive(path) as archive:
            for name in archive.entries:
                archive.read(name)


def test_names_from_a_file_are_shown_as_escapes(tmp_path):
    path = _write(tmp_path / "a.npz", [(f"\x1b[2J{i}", _npy([1.0])) for i in range(50)])
    _refused(path, "and 38 more")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_pipes_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    _refused(tmp_path / "pipe.npz", "is a pipe")
    (tmp_path / "folder.npz").mkdir()
    _refused(tmp_path / "folder.npz", "is a folder")
    with pytest.raises(DataError, match="is a device"):
        NpzArchive("/dev/zero")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_can_be_mapped_where_they_lie_uncompressed(tmp_path, save):
    values = np.random.default_rng(0).integers(0, 256, (9, 4, 3), dtype=np.uint8)
    save(tmp_path / "a.npz", first=np.arange(5), images=values, turned=np.asfortranarray(values), none=values[:0])
    with NpzArchive(tmp_path / "a.npz") as archive:
        found = {name: archive.mapped(name) for name in ("images", "turned", "none")}
    assert isinstance(found["images"], np.memmap) == (save is np.savez)
    for name, wanted in (("images", values), ("turned", values), ("none", values[:0])):
        np.testing.assert_array_equal(found[name], wanted)
        assert not (found[name].flags.writeable and isinstance(found[name], np.memmap))


def test_the_checksum_of_what_is_mapped_is_verified(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, images=np.zeros((100, 100), np.uint8))
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with NpzArchive(path) as archive, pytest.raises(DataError, match="`images` is damaged"):
        archive.mapped("images")


def test_one_limit_is_stated_and_both_readers_of_archives_keep_it():
    """Checkpoints of other projects are read by a package of its own, which cannot import this one."""
    from glow_core.readers import file

    assert (npz._SMALL, npz._MOST_RATIO) == (file._SMALL, file._MAX_UNPACKED)
    stated = " ".join((Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8").split())
    assert f"more than {npz._SMALL >> 20} MiB and {npz._MOST_RATIO} times its own size" in stated
