"""`verify` on signed bundles: what is measured is what was signed, on whatever way it is read."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from glow_deploy import signing, verify
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import EngineError, SignatureError, UsageError
from glow_deploy.verify import run
from glow_deploy.verify.stress.determinism import run_afresh
from glow_deploy.verify.stress.settings import Origin

QUICK = {"backends": ["onnxruntime-cpu"], "random_draws": 0}


@pytest.fixture
def signed(exported, signing_keys, tmp_path):
    shutil.copytree(exported().bundle, tmp_path / "bundle")
    signing.sign(tmp_path / "bundle", key=signing_keys / "private.pem")
    return tmp_path / "bundle"


@pytest.fixture
def exchange(exported):
    """Put the files of another sound bundle of the same size in place, the signature left where it is."""
    other = exported(seed=9)

    def put(folder):
        for path in other.bundle.iterdir():
            shutil.copy(path, folder)

    return put


def test_a_signed_bundle_is_measured_and_the_report_says_so(signed, signing_keys):
    report = verify(signed, public_key=signing_keys / "public.pem", require_signature=True, **QUICK)
    assert report.sound
    signer = signing.read_statement(signed).signer
    assert report.to_dict()["bundle"]["signed_by"] == signer
    assert any("signature valid" in note and signer in note for note in report.notes)
    assert "--require-signature" in report.command
    assert f"--public-key {signing_keys / 'public.pem'}" in report.command


def test_without_a_key_nothing_is_claimed(signed):
    report = verify(signed, **QUICK)
    assert report.to_dict()["bundle"]["signed_by"] is None
    assert not any("signature" in note for note in report.notes)


def test_refused_before_anything_is_measured(signed, signing_keys, exported):
    with pytest.raises(UsageError, match="public_key="):
        verify(signed, require_signature=True)
    with pytest.raises(SignatureError, match="not by key"):
        verify(signed, public_key=signing_keys / "other-public.pem")
    with pytest.raises(SignatureError, match="is not signed"):
        verify(exported().bundle, public_key=signing_keys / "public.pem")
    (signed / "golden.npz").write_bytes(b"x")
    with pytest.raises(SignatureError, match="changed"):
        verify(Bundle.open(signed), public_key=signing_keys / "public.pem")


def test_a_bundle_exchanged_right_after_the_check_is_not_measured(signed, signing_keys, exchange, monkeypatch):
    check = run.check_signature

    def check_and_exchange(*given):
        found = check(*given)
        exchange(signed)
        return found

    monkeypatch.setattr(run, "check_signature", check_and_exchange)
    with pytest.raises(SignatureError, match=r"manifest\.json is not the file that was signed"):
        verify(signed, public_key=signing_keys / "public.pem", **QUICK)
    assert verify(signed, **QUICK).sound  # what lies there now is sound, and not what was signed


def test_fresh_processes_are_held_to_the_signature_too(signed, signing_keys, exchange):
    trust = signing.Trust(public_key=signing_keys / "public.pem")
    origin = Origin(bundle=signed, signed=signing.check_signature(signed, trust).signed)
    x = np.full((1, 3, 8, 8), 0.5, np.float32)
    before = run_afresh(origin, "onnxruntime-cpu", x, None)
    exchange(signed)
    with pytest.raises(EngineError, match="not the file that was signed"):
        run_afresh(origin, "onnxruntime-cpu", x, None)
    other = run_afresh(Origin(bundle=signed), "onnxruntime-cpu", x, None)
    assert not np.array_equal(other["z1"], before["z1"])
