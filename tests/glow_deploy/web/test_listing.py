"""The list of a site is followed only where a site wrote it, and only to files that are still as it says."""

from __future__ import annotations

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.web.listing import LISTING, is_as_listed, read_listing
from glow_deploy.web.writing import write_site

FIRST = {"index.html": b"one", "golden/0.png": b"p", "golden/1.png": b"q"}


def held(path):
    return {str(found.relative_to(path)): found.read_bytes() for found in path.rglob("*") if found.is_file()}


@pytest.mark.parametrize(
    "listing",
    [
        b"thesis.tex\nnotes/a.txt\n",
        b"",
        b"\xff\xfe",
        b"a\0b\n",
        b"TITLE\n",
        b"TITLE\n" + b"0" * 64 + b"  ../mine\n",
        b"TITLE\n" + b"0" * 64 + b"  /mine\n",
        b"TITLE\n" + b"0" * 64 + b"  a/../../mine\n",
        b"TITLE\n" + b"0" * 64 + b"  thesis.tex\nthesis.tex\n",
        b"x" * (2 << 20),
    ],
)
def test_a_list_that_no_site_wrote_is_not_followed(listing, tmp_path):
    site = tmp_path / "site"
    write_site(site, FIRST, force=False)
    title = (site / LISTING).read_bytes().partition(b"\n")[0]
    (site / LISTING).write_bytes(listing.replace(b"TITLE", title))
    (site / "thesis.tex").write_bytes(b"mine")
    before = held(site)
    for refused in (read_listing, lambda path: write_site(path, {"index.html": b"two"}, force=True)):
        with pytest.raises(UsageError, match="holds other files and no site"):
            refused(site)
    assert held(site) == before


def test_only_what_is_as_it_was_written_is_the_sites(tmp_path):
    write_site(tmp_path / "site", FIRST, force=False)
    listed = read_listing(tmp_path / "site")
    assert sorted(listed) == sorted(FIRST)
    assert all(is_as_listed(tmp_path / "site", name, digests) for name, digests in listed.items())
    (tmp_path / "site" / "golden" / "1.png").write_bytes(b"Q")
    assert not is_as_listed(tmp_path / "site", "golden/1.png", listed["golden/1.png"])
    assert not is_as_listed(tmp_path / "site", "golden", listed["golden/1.png"])
    assert not is_as_listed(tmp_path / "site", "none", listed["golden/1.png"])
