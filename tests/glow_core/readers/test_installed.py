"""Readers that other packages bring, where they do not do what they should."""

from __future__ import annotations

from importlib import metadata
from types import SimpleNamespace

import pytest
import torch

from glow_core import read_checkpoint
from glow_core.errors import CheckpointError
from glow_core.readers import READERS, Reader, installed
from glow_core.readers.installed import GROUP, installed_readers


def never(names):
    return False


def refuse(tensors, options):
    raise CheckpointError(f"{tensors.path}: has no weights")


@pytest.fixture
def install(monkeypatch):
    """Makes readers look as if packages brought them, one a package."""

    def make(**readers):
        points = []
        for name, reader in readers.items():
            point = SimpleNamespace(
                name=name,
                value=f"{name}:READER",
                dist=SimpleNamespace(name=f"{name}-package"),
                load=lambda it=reader: it,
            )
            points.append(point)
        found = metadata.entry_points
        monkeypatch.setattr(
            installed.metadata, "entry_points", lambda group: points if group == GROUP else found(group=group)
        )

    return make


@pytest.fixture
def file(tmp_path):
    torch.save({"a.b": torch.zeros(3)}, tmp_path / "other.pt")
    return tmp_path / "other.pt"


def always(names):
    return True


def test_there_is_none_where_no_package_brings_one(install):
    install()
    assert installed_readers(READERS).readers == ()


@pytest.mark.parametrize("fails", ["recognise", "read"])
def test_a_reader_that_fails_is_blamed_itself(install, file, fails):
    def fail(*args):
        raise KeyError("weights\nof two lines")

    reader = {"project": "theirs", "recognise": always, "read": refuse} | {fails: fail}
    install(theirs=Reader(**reader))
    with pytest.raises(
        CheckpointError, match=r"the reader theirs of theirs-package failed on this file \(KeyError: "
    ) as error:
        read_checkpoint(file)
    assert "\n" not in str(error.value)
    assert "report it to its authors, or uninstall it" in str(error.value)


def test_what_a_reader_refuses_is_its_own_word(install, file):
    install(theirs=Reader(project="theirs", recognise=always, read=refuse))
    with pytest.raises(CheckpointError, match=r"other\.pt: has no weights"):
        read_checkpoint(file)


def test_a_file_that_two_readers_take_for_theirs_is_refused(install, file):
    readers = {name: Reader(project=name, recognise=always, read=refuse) for name in ("one", "two")}
    install(**readers, other=Reader(project="other", recognise=never, read=refuse))
    with pytest.raises(CheckpointError, match="two installed readers take this file for theirs, of one and two"):
        read_checkpoint(file)
