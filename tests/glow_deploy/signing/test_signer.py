"""What is signed is in order; what cannot be used to sign is refused in one line, and nothing is left behind."""

from __future__ import annotations

import json

import pytest

from glow_deploy.errors import BundleError, SignatureError, UsageError
from glow_deploy.signing import Trust, check_signature, signer
from glow_deploy.signing import sign as sign_


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_earlier_signature_is_replaced_by_force_alone(signed, signing_keys):
    before = (signed / "model.sig").read_bytes()
    with pytest.raises(UsageError, match="force=True"):
        sign_(signed, key=signing_keys / "other.pem")
    assert (signed / "model.sig").read_bytes() == before
    sign_(signed, key=signing_keys / "other.pem", force=True)
    check_signature(signed, Trust(public_key=signing_keys / "other-public.pem"))


def test_the_bundle_is_left_as_it_was_but_for_the_signature(bundle, signing_keys):
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    sign_(bundle, key=signing_keys / "private.pem")
    after = {path.name: path.read_bytes() for path in bundle.iterdir()}
    assert after.pop("model.sig")
    assert after == before


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("public.pem", "is a public key"),
        ("root.pem", "holds a certificate"),
        ("rsa.pem", "type RSA; an EC key"),
        ("ed25519.pem", "type Ed25519; an EC key"),
        ("k1.pem", "secp256k1"),
        ("protected.pem", "GLOW_DEPLOY_KEY_PASSPHRASE"),
        ("missing.pem", "cannot be read"),
        (".", "is not a file"),
    ],
)
def test_keys_that_cannot_sign(bundle, signing_keys, key, words):
    before = names(bundle)
    with pytest.raises(UsageError, match=words):
        sign_(bundle, key=signing_keys / key)
    assert names(bundle) == before


@pytest.mark.parametrize(
    "text", [b"", b"no PEM", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", bytes(2 << 20)]
)
def test_files_that_are_no_keys(bundle, tmp_path, signing_keys, text):
    (tmp_path / "key.pem").write_bytes(text)
    with pytest.raises(UsageError, match=r"key\.pem"):
        sign_(bundle, key=tmp_path / "key.pem")


def test_a_key_with_a_passphrase(bundle, signing_keys):
    key = signing_keys / "protected.pem"
    with pytest.raises(UsageError, match="passphrase is wrong"):
        sign_(bundle, key=key, passphrase="sesame")
    with pytest.raises(UsageError, match="is not protected"):
        sign_(bundle, key=signing_keys / "private.pem", passphrase="open sesame")
    sign_(bundle, key=key, passphrase="open sesame")
    check_signature(bundle, Trust(public_key=signing_keys / "protected-public.pem"))


@pytest.mark.parametrize(
    ("key", "certificate", "words"),
    [
        ("private.pem", "chain.pem", "not that of the key"),
        ("release.pem", "server.pem", "not for signing"),
        ("release.pem", "expired.pem", "not today"),
        ("release.pem", "public.pem", "not a certificate"),
    ],
)
def test_certificates_that_nobody_would_accept(bundle, signing_keys, key, certificate, words):
    with pytest.raises(UsageError, match=words):
        sign_(bundle, key=signing_keys / key, certificate=signing_keys / certificate)
    assert "model.sig" not in names(bundle)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda b: (b / "encoder.onnx").write_bytes(b"x"), "changed since the export"),
        (lambda b: (b / "golden.npz").unlink(), "is missing"),
        (lambda b: (b / "encoder.trt").write_bytes(b"x"), "not what its sidecar says"),
        (lambda b: (b / "encoder.trt.json").unlink(), "has no sidecar"),
        (lambda b: (b / "encoder.trt").unlink(), "a plan that is not there"),
        (lambda b: (b / "encoder.trt.json").write_text("{"), "not JSON"),
        (lambda b: (b / "gone").symlink_to(b / "nowhere"), "is not a file"),
    ],
)
def test_a_bundle_that_is_not_in_order_is_not_signed(bundle, signing_keys, spoil, words):
    spoil(bundle)
    with pytest.raises(BundleError, match=words):
        sign_(bundle, key=signing_keys / "private.pem")
    assert not (bundle / "model.sig").exists()


def test_a_file_that_changes_after_it_was_looked_at_is_not_signed(bundle, signing_keys, monkeypatch):
    check = signer.check_private_key

    def change(*given):
        (bundle / "encoder.trt").write_bytes(b"other code")
        return check(*given)

    monkeypatch.setattr(signer, "check_private_key", change)
    with pytest.raises(BundleError, match=r"changed while it was signed \(changed: encoder\.trt\)"):
        sign_(bundle, key=signing_keys / "private.pem")
    assert not (bundle / "model.sig").exists()


def test_an_interrupted_signing_keeps_the_earlier_signature(signed, signing_keys, monkeypatch):
    before = {path.name: path.read_bytes() for path in signed.iterdir()}

    def stop(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        sign_(signed, key=signing_keys / "other.pem", force=True)
    assert {path.name: path.read_bytes() for path in signed.iterdir()} == before


def test_sigstore_out_of_reach_is_one_line(bundle, signing_keys, monkeypatch):
    import model_signing.signing

    def fail(self, **given):
        assert given == {"use_ambient_credentials": True}
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(model_signing.signing.Config, "use_sigstore_signer", fail)
    with pytest.raises(SignatureError, match="no network") as caught:
        sign_(bundle, sigstore=True)
    assert "\n" not in str(caught.value)
    assert not (bundle / "model.sig").exists()


def test_exporting_over_a_signed_bundle_takes_the_signature_away(signed, two_bundles):
    from glow_deploy.export import ExportSettings, export

    export(two_bundles[0].with_suffix(".pt"), out=signed, settings=ExportSettings(golden=3, force=True))
    assert "model.sig" not in names(signed)


def test_the_document_is_a_sigstore_bundle(signed):
    document = json.loads((signed / "model.sig").read_text())
    assert document["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
