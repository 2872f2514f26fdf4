"""How far a bundle can be trusted, told without the key and with it."""

from __future__ import annotations

import shutil

import pytest

import glow_deploy
from glow_deploy.errors import SignatureError, UsageError


@pytest.fixture(scope="module")
def exported(perturbed_glow, tmp_path_factory):
    from glow_core import GlowConfig, save_checkpoint

    folder = tmp_path_factory.mktemp("inspect")
    save_checkpoint(perturbed_glow(GlowConfig(image_size=(4, 4), levels=1, steps=1, width=4)), folder / "c.pt")
    return glow_deploy.export(folder / "c.pt", out=folder / "b", golden=3).path


@pytest.fixture
def bundle(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "b")
    return tmp_path / "b"


def look(bundle, **trust):
    facts = glow_deploy.inspect(bundle, **trust).facts
    return facts["integrity"], facts["signature_state"], facts["checksums_match"], facts["signed_by"]


def test_not_signed(bundle):
    assert look(bundle) == ("checksums match; not signed", "none", True, None)
    (bundle / "golden.npz").write_bytes(b"x")
    assert look(bundle) == ("checksums DO NOT match; not signed", "none", False, None)


def test_signed(bundle, signing_keys):
    found = glow_deploy.sign(bundle, key=signing_keys / "private.pem")
    by = {"kind": "key", "fingerprint": found.fingerprint}
    short = found.fingerprint[:16]
    words = f"checksums match; signed (key {short}; not checked: give --public-key)"
    assert look(bundle) == (words, "not checked", True, by)
    valid = f"checksums match; signature valid (key {short})"
    assert look(bundle, public_key=signing_keys / "public.pem") == (valid, "valid", True, by)
    with pytest.raises(SignatureError, match="not by key"):
        look(bundle, public_key=signing_keys / "other-public.pem")


def test_by_a_certificate(bundle, signing_keys):
    glow_deploy.sign(bundle, key=signing_keys / "release.pem", certificate=signing_keys / "chain.pem")
    assert "not checked: give --certificate-root" in look(bundle)[0]
    assert look(bundle, certificate_root=signing_keys / "root.pem")[1] == "valid"


def test_stale_and_damaged(bundle, signing_keys):
    glow_deploy.sign(bundle, key=signing_keys / "private.pem")
    (bundle / "notes.txt").write_text("")
    words, state, match, by = look(bundle)
    assert (state, match, by["kind"]) == ("stale", True, "key")
    assert "does not cover the bundle as it is (added: notes.txt)" in words
    (bundle / "model.sig").write_text("{}")
    words, state, _, by = look(bundle)
    assert (state, by) == ("damaged", None)
    assert "signature damaged" in words


def test_only_bundles_are_signed(bundle, signing_keys):
    with pytest.raises(UsageError, match="only bundles are signed"):
        look(bundle / "encoder.onnx", public_key=signing_keys / "public.pem")
