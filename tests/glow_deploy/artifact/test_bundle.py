from __future__ import annotations

import pytest

from glow_deploy.artifact import bundle as bundle_module
from glow_deploy.artifact.bundle import DECODER, ENCODER, Bundle
from glow_deploy.artifact.lint import parse_model
from glow_deploy.errors import BundleError


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx", "golden.npz"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_every_listed_file_is_checked(bundle, name, damage):
    data = bytearray((bundle / name).read_bytes())
    if damage == "gone":
        (bundle / name).unlink()
    elif damage == "cut":
        (bundle / name).write_bytes(data[:-1])
    else:
        data[len(data) // 2] ^= 1
        (bundle / name).write_bytes(data)
    with pytest.raises(BundleError, match=name):
        Bundle.open(bundle).file(name)


def test_what_is_no_bundle_is_told_apart(bundle, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="not a bundle"):
        Bundle.open(tmp_path / "empty")
    with pytest.raises(BundleError, match="is a file"):
        Bundle.open(bundle / "encoder.onnx")
    with pytest.raises(BundleError, match="no such"):
        Bundle.open(tmp_path / "none")


def test_what_is_parsed_are_the_bytes_that_were_compared(bundle, monkeypatch):
    """A graph that is exchanged right after it was read changes nothing, and is noticed at the next reading."""
    opened = Bundle.open(bundle)
    before = opened.read(ENCODER)
    other = (bundle / DECODER).read_bytes()
    compare = bundle_module.sha256_bytes

    def exchanged(data):
        (bundle / ENCODER).write_bytes(other)
        return compare(data)

    monkeypatch.setattr(bundle_module, "sha256_bytes", exchanged)
    assert opened.graph(ENCODER).SerializeToString() == parse_model(before, source="e").SerializeToString()
    with pytest.raises(BundleError, match="sha256 differs"):
        opened.graph(ENCODER)


def test_a_file_without_end_is_refused_before_it_is_read(bundle):
    with (bundle / ENCODER).open("r+b") as file:
        file.truncate(2**31)  # takes no room on most disks
    with pytest.raises(BundleError, match="larger than 2 GiB"):
        Bundle.open(bundle).read(ENCODER)
