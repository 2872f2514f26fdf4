from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from glow_deploy.bulk.tar_rows import TarRows
from glow_deploy.errors import DataError

MEMBERS = [("0.png", b"a" * 700), ("0.cls", b"1"), ("deep/1.JPG", b"b"), ("._2.png", b"c"), ("3.webp", b"")]


def test_pictures_come_in_the_order_of_the_archive_and_are_never_unpacked(write_tar, tmp_path, monkeypatch):
    """Names that lead out of any folder are names, and no more."""
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    hostile = [("../../out.png", b"d"), ("/etc/out.png", b"e"), ("bad-\udcff.png", b"f")]
    path = write_tar(deep / "s.tar", [*MEMBERS, *hostile])
    rows = TarRows(path, name="s")
    assert rows.count == 6
    found = list(rows.read(0, 6))
    assert [(row.name, row.data) for row in found[:3]] == [
        ("s:0.png", b"a" * 700),
        ("s:deep/1.JPG", b"b"),
        ("s:3.webp", b""),
    ]
    assert [row.name for row in found[3:5]] == ["s:../../out.png", "s:/etc/out.png"]
    assert found[5].name.encode().startswith(b"s:bad-")
    assert [row.data for row in rows.read(4, 5)] == [b"e"]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["s.tar"]
    assert not Path("/etc/out.png").exists()


def test_a_shard_that_is_cut_anywhere_is_refused(write_tar, tmp_path):
    """In a header, in a picture, and between two members, where it looks whole."""
    whole = write_tar(tmp_path / "s.tar", MEMBERS).read_bytes()
    path = tmp_path / "cut.tar"
    for end in (300, 512, 900, 1536, 2048, 2560, 2700):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match=r"cut\.tar is (cut short|damaged or cut short)"):
            TarRows(path, name="s")
    path.write_bytes(whole)
    assert TarRows(path, name="s").count == 3


def test_one_that_is_cut_while_it_is_read_is_told(write_tar, tmp_path):
    path = write_tar(tmp_path / "s.tar", MEMBERS)
    rows = TarRows(path, name="s")
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError, match=r"s\.tar is cut short: 0\.png has lost its end"):
        list(rows.read(0, 1))


def test_what_is_no_shard_is_refused_in_one_line(write_tar, tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("0.png"))
    with pytest.raises(DataError, match=r"x\.tar is compressed.*write uncompressed shards"):
        TarRows(path, name="x")
    # A header of attributes that claims a gigabyte: nothing of that size is asked for.
    info = tarfile.TarInfo("0.png")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(4096))
    with pytest.raises(DataError, match=r"x\.tar is damaged or cut short.*a header claims"):
        TarRows(path, name="x")
    path.unlink()
    with pytest.raises(DataError, match=r"x\.tar: no such file"):
        TarRows(path, name="x")


def test_a_member_too_large_to_be_a_picture_is_a_fault_of_its_row(write_tar, tmp_path, monkeypatch):
    monkeypatch.setattr("glow_deploy.bulk.tar_rows.LARGEST_PICTURE", 100)
    rows = TarRows(write_tar(tmp_path / "s.tar", MEMBERS), name="s")
    large, small, _ = rows.read(0, 3)
    assert large.data is None
    assert large.fault == "s:0.png has 700 bytes, more than is read"
    assert small.data == b"b"


def sparse(style):
    """A picture of a megabyte of which 512 bytes are stored: as GNU tar writes it of old, and in attributes."""
    info = tarfile.TarInfo("holes.png")
    info.size = 512
    if style == "attributes":
        info.pax_headers = {"GNU.sparse.map": "0,512", "GNU.sparse.size": str(1 << 20), "GNU.sparse.numblocks": "1"}
        return info.tobuf(tarfile.PAX_FORMAT) + b"x" * 512
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, 512)
    header[483:495] = b"%011o\0" % (1 << 20)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"x" * 512


@pytest.mark.parametrize("style", ["old", "attributes"])
def test_links_and_sparse_members_are_rows_with_a_fault(tmp_path, style):
    """A picture that is not there as a file is named, not passed over; a sound archive is not called cut short."""
    path = tmp_path / "s.tar"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (("a.png", tarfile.REGTYPE), ("hard.png", tarfile.LNKTYPE), ("soft.png", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "" if kind == tarfile.REGTYPE else "a.png"
            archive.addfile(info)
        end = archive.offset
    whole = buffer.getvalue()[:end] + sparse(style) + bytes(1024)
    path.write_bytes(whole)
    rows = TarRows(path, name="s")
    assert rows.count == 4
    plain, hard, soft, holes = rows.read(0, 4)
    assert (plain.data, plain.fault) == (b"", "")
    assert (hard.data, soft.data, holes.data) == (None, None, None)
    assert hard.fault.startswith("s:hard.png is a link to another member")
    assert soft.fault.startswith("s:soft.png is a link to another member")
    assert holes.fault.startswith("s:holes.png is stored with holes")
    path.write_bytes(whole[:-1200])
    with pytest.raises(DataError, match=r"s\.tar is cut short: holes\.png has lost its end"):
        TarRows(path, name="s")
