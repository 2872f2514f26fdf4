from __future__ import annotations

import os
from dataclasses import replace

import pytest

from glow_deploy.bulk.sources import find_sources, open_rows, parse_kind, stamp, survey
from glow_deploy.errors import DataError


@pytest.fixture
def place(tmp_path, write_tar, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures" / "b").mkdir(parents=True)
    for name in ("b/1.png", "a.jpg", "words.txt"):
        (tmp_path / "pictures" / name).write_bytes(b"x" * 10)
    (tmp_path / "shards" / "deep").mkdir(parents=True)
    for name in ("b.tar", "deep/a.tar"):
        write_tar(tmp_path / "shards" / name, [("0.png", b"x")])
    return tmp_path


def test_what_is_given_is_told_apart(place):
    found = find_sources([place / "pictures", place / "shards"])
    assert [(source.kind, source.name) for source in found] == [
        ("folder", f"{place}/pictures"), ("tar", f"{place}/shards/b.tar"), ("tar", f"{place}/shards/deep/a.tar"),
    ]  # fmt: skip
    rows = open_rows(found[0])
    assert [row.name for row in rows.read(0, rows.count)] == [f"{place}/pictures/a.jpg", f"{place}/pictures/b/1.png"]
    assert parse_kind("tar") == "tar"
    with pytest.raises(ValueError, match="kind 'zip'"):
        parse_kind("zip")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["none"], "none: no such file or folder"),
        (["pictures/words.txt"], r"words\.txt is no source of a bulk run"),
        (["."], r"\. holds both pictures and shards \(b\.tar\)"),
        (["empty"], "empty holds neither pictures nor"),
        (["shards/b.tar", "shards/b.tar"], r"shards/b\.tar is given twice"),
    ],
)
def test_what_cannot_be_told_is_refused(place, given, message):
    (place / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        find_sources([place.relative_to(place) / name for name in given])


def test_a_source_is_known_by_its_bytes(place):
    """The stamp tells a change without reading; a copy has another stamp and the same sha256."""
    for source in find_sources([place / "pictures", place / "shards" / "b.tar"]):
        first = survey(source)
        assert survey(source) == first
        file = place / "pictures" / "a.jpg" if source.kind == "folder" else place / "shards" / "b.tar"
        os.utime(file, ns=(1, 1))
        assert stamp(source) != first.stamp
        copied = survey(source)
        assert replace(copied, stamp=first.stamp) == first
        data = bytearray(file.read_bytes())
        data[5] ^= 1
        file.write_bytes(data if source.kind == "folder" else file.read_bytes() + bytes(512))
        assert survey(source).sha256 != first.sha256
    folder, *_ = find_sources([place / "pictures"])
    before = survey(folder)
    (place / "pictures" / "a.jpg").rename(place / "pictures" / "aa.jpg")
    assert survey(folder).sha256 != before.sha256


def test_a_source_without_pictures_is_refused(place, write_tar):
    source, *_ = find_sources([write_tar(place / "none.tar", [("0.cls", b"1")])])
    with pytest.raises(DataError, match=r"none\.tar holds 0 pictures"):
        survey(source)
