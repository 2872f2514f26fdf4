"""Exactly one way to sign, and exactly one way to trust."""

from __future__ import annotations

from pathlib import Path

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.signing import SignSettings, Trust


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"certificate": Path("c")},
        {"key": Path("k"), "sigstore": True},
        {"certificate": Path("c"), "sigstore": True},
    ],
)
def test_no_way_to_sign_or_two(given):
    with pytest.raises(UsageError, match="key="):
        SignSettings(**given)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"identity": "a"},
        {"issuer": "b"},
        {"public_key": Path("k"), "certificate_root": Path("c")},
        {"public_key": Path("k"), "identity": "a", "issuer": "b"},
    ],
)
def test_nobody_is_trusted_or_two_are(given):
    with pytest.raises(UsageError):
        Trust(**given)


def test_nothing_given_is_no_trust_unless_a_signature_is_required():
    assert Trust.of() is None
    with pytest.raises(UsageError, match="public_key="):
        Trust.of(required=True)
    assert Trust.of(public_key="k", required=True) == Trust(public_key=Path("k"))


def test_a_passphrase_is_not_shown():
    assert "sesame" not in repr(SignSettings(key=Path("k"), passphrase="open sesame"))
