"""A site replaces a site, and nothing else."""

from __future__ import annotations

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.web.listing import LISTING, read_listing
from glow_deploy.web.writing import check_target, write_site

FIRST = {"index.html": b"one", "golden/0.png": b"p", "golden/1.png": b"q"}
SECOND = {"index.html": b"two", "golden/0.png": b"p", "deep/er/a.js": b"a"}


def held(path):
    return {str(found.relative_to(path)): found.read_bytes() for found in path.rglob("*") if found.is_file()}


def test_a_new_site_is_written_whole(tmp_path):
    write_site(tmp_path / "site", FIRST, force=False)
    found = held(tmp_path / "site")
    assert found.pop(LISTING)
    assert sorted(read_listing(tmp_path / "site")) == sorted(FIRST)
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


def test_what_was_changed_is_neither_removed_nor_written_over(tmp_path):
    site = tmp_path / "site"
    write_site(site, FIRST, force=False)
    (site / "golden" / "1.png").write_bytes(b"mine")
    write_site(site, SECOND, force=True)
    assert held(site)["golden/1.png"] == b"mine"
    (site / "index.html").write_bytes(b"edited by hand")
    before = held(site)
    with pytest.raises(UsageError, match=r"index\.html is in the way"):
        write_site(site, {**SECOND, "new.js": b"n"}, force=True)
    assert held(site) == before
    (site / "index.html").write_bytes(FIRST["index.html"])  # it holds already what would be written
    with pytest.raises(UsageError, match=r"1\.png is in the way"):
        write_site(site, FIRST, force=True)
    assert held(site) == {**before, "index.html": FIRST["index.html"]}
    (site / "golden" / "1.png").unlink()
    write_site(site, FIRST, force=True)
    assert sorted(held(site)) == sorted((*FIRST, LISTING))


def test_nothing_is_written_or_removed_through_a_link(tmp_path):
    site = tmp_path / "site"
    write_site(site, FIRST, force=False)
    (tmp_path / "mine").mkdir()
    for name in ("0.png", "1.png"):
        (site / "golden" / name).rename(tmp_path / "mine" / name)
    (site / "golden").rmdir()
    (site / "golden").symlink_to(tmp_path / "mine")
    with pytest.raises(UsageError, match="golden is in the way"):
        write_site(site, SECOND, force=True)
    write_site(site, {"index.html": b"three"}, force=True)
    assert held(tmp_path / "mine") == {"0.png": b"p", "1.png": b"q"}


def test_a_site_that_was_cut_short_is_replaced_whole(tmp_path, monkeypatch):
    from glow_deploy.web import writing

    site = tmp_path / "site"
    write_site(site, FIRST, force=False)

    def cut(path, data):
        if path.name == "a.js":
            raise OSError(28, "No space left on device")
        atomic_write(path, data)

    atomic_write = writing.atomic_write
    with monkeypatch.context() as patch:
        patch.setattr(writing, "atomic_write", cut)
        with pytest.raises(UsageError, match="No space left"):
            write_site(site, SECOND, force=True)
    assert (held(site)["index.html"], "golden/1.png" in held(site)) == (b"two", True)
    write_site(site, {"page.css": b"c"}, force=True)
    assert sorted(held(site)) == [LISTING, "page.css"]


def test_what_fails_half_way_leaves_no_new_folder(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        write_site(tmp_path / "site", FIRST, force=False)
    assert list(tmp_path.iterdir()) == []
