from __future__ import annotations

import struct

import pytest

from glow_deploy.artifact.plan_header import read_header
from glow_deploy.errors import BundleError


def _plan(flavor="rtx", *, version=(1, 7, 1, 116), mask=0b001100, size=400) -> bytes:
    """Bytes with the header of a plan (as tensorrt_rtx 1.7.1 writes it) and nothing runnable behind."""
    magic = {"rtx": b"vtrt", "tensorrt": b"ftrt"}[flavor]
    head = magic + bytes(12) + struct.pack("<Q", size) + bytes(version) + bytes(4) + struct.pack("<I", mask)
    return head.ljust(size, b"\x5a")


def test_the_header_says_flavour_version_and_targets():
    header = read_header(_plan(mask=0b111111), source="p")
    assert (header.flavor, header.version) == ("rtx", "1.7.1.116")
    assert header.targets == ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
    header = read_header(_plan("tensorrt", version=(11, 4, 0, 106)), source="p")
    assert (header.flavor, header.version, header.targets) == ("tensorrt", "11.4.0.106", None)


def test_an_unknown_release_leaves_the_targets_unknown():
    assert read_header(_plan(version=(9, 0, 0, 0)), source="p").targets is None


@pytest.mark.parametrize("data", [_plan()[:-1], _plan() + b"x", _plan()[:40], b"vtrt", b"ftrt", b"", b"ptrt" * 100])
def test_cut_or_foreign_plans_are_refused(data):
    with pytest.raises(BundleError):
        read_header(data, source="p")
