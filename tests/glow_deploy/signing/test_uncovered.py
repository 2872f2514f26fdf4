"""Every file of a folder counts, and every difference is named."""

from __future__ import annotations

import hashlib
import os

import pytest

from glow_deploy.errors import BundleError
from glow_deploy.signing.uncovered import hash_folder, is_stale, uncovered


def test_every_file_but_the_signature_counts(tmp_path):
    for name in ("a", ".b", "c/d", "c/model.sig", "model.sig"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    found = hash_folder(tmp_path)
    assert set(found) == {"a", ".b", "c/d", "c/model.sig", "link"}
    assert found["link"] == found["a"] == hashlib.sha256(b"a").hexdigest()


def test_what_no_signature_covers_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BundleError, match="pipe is not a file"):
        hash_folder(tmp_path)


def test_differences_are_named():
    signed = {"a": "1", "b": "2", "c": "3"}
    assert uncovered(signed, signed) == ""
    assert uncovered(signed, {"a": "1", "b": "x", "d": "4", "e": "5"}) == "changed: b; added: d, e; missing: c"


def test_names_reach_no_terminal_as_commands_and_have_an_end():
    said = uncovered({}, {f"\x1b[2J{number:03}": "" for number in range(100)})
    assert said.isprintable()
    assert said.endswith(" and 88 more")


def test_stale(signed):
    assert not is_stale(signed)
    (signed / "x").write_text("")
    assert is_stale(signed)
    (signed / "model.sig").write_text("")
    assert is_stale(signed)
    (signed / "model.sig").unlink()
    assert not is_stale(signed)
