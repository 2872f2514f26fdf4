"""A site replaces a site, and nothing else."""

from __future__ import annotations

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.web.writing import LISTING, check_target, write_site

FIRST = {"index.html": b"one", "golden/0.png": b"p", "golden/1.png": b"q"}
SECOND = {"index.html": b"two", "golden/0.png": b"p", "deep/er/a.js": b"a"}


def held(path):
    return {str(found.relative_to(path)): found.read_bytes() for found in path.rglob("*") if found.is_file()}


def test_a_new_site_is_written_whole(tmp_path):
    write_site(tmp_path / "site", FIRST, force=False)
    found = held(tmp_path / "site")
    assert found.pop(LISTING) == b"files.txt\ngolden/0.png\ngolden/1.png\nindex.html\n"
    assert found == FIRST
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_site_that_is_there_needs_force_and_leaves_nothing_of_its_own(tmp_path):
    site = tmp_path / "site"
    write_site(site, FIRST, force=False)
    (site / "CNAME").write_text("mine")
    (site / "golden" / "mine.png").write_text("mine too")
    with pytest.raises(UsageError, match="give force=True"):
        write_site(site, SECOND, force=False)
    assert held(site)["index.html"] == b"one"
    write_site(site, SECOND, force=True)
    found = held(site)
    del found[LISTING]
    assert found == {**SECOND, "CNAME": b"mine", "golden/mine.png": b"mine too"}


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "site").mkdir()
    write_site(tmp_path / "site", FIRST, force=False)
    assert (tmp_path / "site" / "golden" / "0.png").read_bytes() == b"p"


def test_other_folders_are_refused_whatever_is_given(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="no site"):
        check_target(tmp_path, force=True)
    with pytest.raises(UsageError, match="is no folder"):
        check_target(tmp_path / "thesis.tex", force=True)
    with pytest.raises(UsageError, match="no such folder"):
        check_target(tmp_path / "a" / "b", force=False)


def test_a_list_that_names_files_elsewhere_removes_none(tmp_path):
    outside = tmp_path / "mine"
    outside.write_text("mine")
    site = tmp_path / "site"
    write_site(site, FIRST, force=False)
    (site / LISTING).write_text(f"../mine\n{outside}\ngolden/1.png\n")
    write_site(site, SECOND, force=True)
    assert outside.read_text() == "mine"
    assert not (site / "golden" / "1.png").exists()


def test_what_fails_half_way_leaves_no_new_folder(tmp_path, monkeypatch):
    from pathlib import Path

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match="No space left"):
        write_site(tmp_path / "site", FIRST, force=False)
    assert list(tmp_path.iterdir()) == []
