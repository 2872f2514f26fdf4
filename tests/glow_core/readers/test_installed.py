"""Readers that other packages bring, where they do not do what they should."""

from __future__ import annotations

from importlib import metadata
from types import FunctionType, SimpleNamespace

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
    """Makes readers look as if packages brought them, one a package; a function is what loads one."""

    def make(**readers):
        points = []
        for name, reader in readers.items():
            point = SimpleNamespace(
                name=name,
                value=f"{name}:READER",
                dist=SimpleNamespace(name=f"{name}-package"),
                load=reader if isinstance(reader, FunctionType) else lambda it=reader: it,
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


class SpeechlessError(Exception):
    def __str__(self):
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SystemExit(0), "SystemExit: 0"),
        (SystemExit(), "SystemExit:"),
        (ImportError("no module\n\n  of two lines"), "ImportError: no module of two lines"),
        (SpeechlessError(), "SpeechlessError:"),
        (RuntimeError("long " * 1000), "RuntimeError: long"),
    ],
)
@pytest.mark.parametrize("where", ["load", "recognise", "read"])
def test_a_reader_that_ends_the_process_or_speaks_in_lines_is_told_in_one(install, file, where, error, words):
    def fail(*args):
        raise error

    if where == "load":
        install(theirs=fail)
        (told,) = installed_readers(READERS).broken
        assert told.startswith(f"the reader theirs of theirs-package cannot be loaded ({words}")
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            read_checkpoint(file)
    else:
        install(theirs=Reader(**{"project": "theirs", "recognise": always, "read": refuse} | {where: fail}))
        with pytest.raises(CheckpointError) as raised:
            read_checkpoint(file)
        told = str(raised.value)
        assert f"failed on this file ({words}" in told
    assert "\n" not in told
    assert len(told) < 400


def test_ctrl_c_in_a_reader_passes_through(install, file):
    def stop(*args):
        raise KeyboardInterrupt

    install(theirs=Reader(project="theirs", recognise=stop, read=refuse))
    with pytest.raises(KeyboardInterrupt):
        read_checkpoint(file)


def test_what_a_reader_refuses_is_its_own_word(install, file):
    install(theirs=Reader(project="theirs", recognise=always, read=refuse))
    with pytest.raises(CheckpointError, match=r"other\.pt: has no weights"):
        read_checkpoint(file)


def test_a_file_that_two_readers_take_for_theirs_is_refused(install, file):
    readers = {name: Reader(project=name, recognise=always, read=refuse) for name in ("one", "two")}
    install(**readers, other=Reader(project="other", recognise=never, read=refuse))
    with pytest.raises(CheckpointError, match="two installed readers take this file for theirs, of one and two"):
        read_checkpoint(file)
