"""`glow-deploy sign`, and what `verify`, `inspect` and `compile` say of a signed bundle."""

from __future__ import annotations

import json

import pytest

from glow_deploy.signing.pem import PASSPHRASE_VARIABLE


def error(result):
    """The one line of a refusal."""
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


def test_signed_and_verified(own_model, signing_keys, invoke):
    bundle = own_model.bundle
    assert "; not signed" in invoke("inspect", bundle).stdout
    done = invoke("sign", bundle, "--key", signing_keys / "private.pem")
    assert done.exit_code == 0, done.output
    assert "4 files signed by key " in done.stdout
    assert "not checked: give --public-key" in invoke("inspect", bundle).stdout
    key = ("--public-key", signing_keys / "public.pem")
    assert "signature valid (key " in invoke("inspect", bundle, *key).stdout
    quick = ("--backend", "onnxruntime-cpu", "--random-draws", 0)
    done = invoke("verify", bundle, "--require-signature", *key, *quick)
    assert done.exit_code == 0, done.output
    assert "signature valid" in done.stdout
    (bundle / "golden.npz").write_bytes(b"x")
    assert "is not as it was signed (changed: golden.npz)" in error(invoke("verify", bundle, *key, *quick))
    assert "is not as it was signed (changed: golden.npz)" in error(invoke("inspect", bundle, *key))


def test_with_a_certificate(own_model, signing_keys, invoke):
    words = ("--key", signing_keys / "release.pem", "--certificate", signing_keys / "chain.pem")
    assert invoke("sign", own_model.bundle, *words).exit_code == 0
    good = invoke("inspect", own_model.bundle, "--certificate-root", signing_keys / "root.pem")
    assert "signature valid (certificate " in good.stdout
    assert "not a valid signature" in error(
        invoke("inspect", own_model.bundle, "--certificate-root", signing_keys / "other-root.pem")
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--key"),
        (["--certificate", "chain.pem"], "--key"),
        (["--key", "private.pem", "--sigstore"], "--sigstore signs with an identity"),
        (["--key", "public.pem"], "is a public key; signing takes the private one: --key"),
        (["--key", "rsa.pem"], "an EC key of curve P-256, P-384 or P-521 is needed"),
        (["--key", "protected.pem"], PASSPHRASE_VARIABLE),
        (["--key", "nowhere.pem"], "cannot be read"),
    ],
)
def test_refusals_are_one_line_in_the_words_of_the_command(own_model, signing_keys, invoke, words, said, monkeypatch):
    monkeypatch.chdir(signing_keys)
    line = error(invoke("sign", own_model.bundle, *words))
    assert said in line
    assert not any(f"{name}=" in line for name in ("key", "certificate", "sigstore", "passphrase"))
    assert not (own_model.bundle / "model.sig").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--require-signature"], "--public-key, --certificate-root, or --identity with --issuer"),
        (["--identity", "a@example.org"], "both --identity and --issuer"),
        (["--public-key", "private.pem"], "is a private key; checking takes the public one: --public-key"),
        (["--public-key", "public.pem"], "is not signed"),
        (["--certificate-root", "nowhere.pem"], "cannot be read"),
    ],
)
def test_refusals_of_verify(model, signing_keys, invoke, words, said, monkeypatch):
    monkeypatch.chdir(signing_keys)
    assert said in error(invoke("verify", model.bundle, *words))


def test_the_remedy_of_an_unsigned_bundle_works(own_model, signing_keys, invoke):
    line = error(invoke("verify", own_model.bundle, "--public-key", signing_keys / "public.pem"))
    assert f"`glow-deploy sign {own_model.bundle} --key KEY` signs it" in line
    assert invoke("sign", own_model.bundle, "--key", signing_keys / "private.pem").exit_code == 0


def test_the_passphrase_comes_from_the_environment(own_model, signing_keys, invoke, monkeypatch):
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "open sesame")
    assert invoke("sign", own_model.bundle, "--key", signing_keys / "protected.pem").exit_code == 0
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "sesame")
    assert invoke("sign", own_model.bundle, "--key", signing_keys / "private.pem", "--force").exit_code == 0
    line = error(invoke("sign", own_model.bundle, "--key", signing_keys / "protected.pem", "--force"))
    assert "passphrase is wrong" in line
    assert "sesame" not in line


def test_compiling_says_that_the_signature_is_stale(own_model, signing_keys, invoke):
    pytest.importorskip("tensorrt_rtx", reason="compiling needs tensorrt-rtx")
    said = "the signature no longer covers the bundle: sign it again"
    first = invoke("compile", own_model.bundle)
    assert said not in first.stdout
    assert invoke("sign", own_model.bundle, "--key", signing_keys / "private.pem").exit_code == 0
    (own_model.bundle / "encoder.rtx.trt").unlink()
    (own_model.bundle / "encoder.rtx.trt.json").unlink()
    again = invoke("compile", own_model.bundle, "--force", "--max-batch", 8)
    assert again.exit_code == 0, again.output
    assert said in again.stdout
    assert "WARNING: the signature" in invoke("inspect", own_model.bundle).stdout
    again = invoke("compile", own_model.encoder, "--force", "--json", "-")  # one graph of a signed bundle
    assert json.loads(again.stdout)["signature_stale"] is True
    assert invoke("sign", own_model.bundle, "--key", signing_keys / "private.pem", "--force").exit_code == 0
    assert "signature valid" in invoke("inspect", own_model.bundle, "--public-key", signing_keys / "public.pem").stdout


def test_without_the_extra_it_is_named(model, own_model, run_process):
    for words in (["sign", own_model.bundle, "--key", "k.pem"], ["verify", model.bundle, "--public-key", "k.pem"]):
        done = run_process(*words, without=["model_signing", "cryptography"])
        assert done.returncode == 2, done.stderr
        (line,) = done.stderr.strip().splitlines()
        assert "pip install 'glow-deploy[sign]'" in line
    done = run_process("inspect", model.bundle, without=["model_signing", "cryptography"])
    assert done.returncode == 0, done.stderr
    assert "checksums match; not signed" in done.stdout
