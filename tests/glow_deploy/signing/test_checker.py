"""A signed bundle passes untouched; whatever is changed about it, it does not."""

from __future__ import annotations

import base64
import json
import shutil

import pytest

from glow_deploy.errors import BundleError, SignatureError, UsageError
from glow_deploy.signing import Trust, check_signature, sign

FILES = (
    *("manifest.json", "encoder.onnx", "decoder.onnx", "golden.npz"),
    *(
        f"{role}{kind}"
        for role in ("encoder", "decoder")
        for kind in (".trt", ".trt.json", ".rtx.trt", ".rtx.trt.json")
    ),
)


def test_the_untouched_bundle_passes_and_every_file_of_it_is_covered(signed, trust):
    assert {path.name for path in signed.iterdir()} == {*FILES, "model.sig"}
    statement = check_signature(signed, trust)
    assert set(statement.digests) == set(FILES)
    assert statement.signer.startswith("key ")


def test_it_passes_elsewhere_and_through_a_link(signed, trust, tmp_path):
    moved = signed.rename(tmp_path / "another name")
    check_signature(moved, trust)
    (tmp_path / "link").symlink_to(moved)
    check_signature(tmp_path / "link", trust)


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("name", [*FILES, "model.sig"])
def test_one_bit_of_any_file_is_noticed(signed, trust, name, place):
    data = bytearray((signed / name).read_bytes())
    data[{"first": 0, "middle": len(data) // 2, "last": len(data) - 1}[place]] ^= 1
    (signed / name).write_bytes(data)
    # A manifest that is no manifest any more is refused in the words of that.
    kind = BundleError if name == "manifest.json" else SignatureError
    # The middle of the signature is the list of files, which differ from it then.
    with pytest.raises(kind, match="bundle" if name == "model.sig" else name.replace(".", r"\.")):
        check_signature(signed, trust)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_noticed(signed, trust, name):
    (signed / name).unlink()
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        check_signature(signed, trust)


@pytest.mark.parametrize(
    "name", ["notes.txt", ".hidden", ".git/config", "encoder.trt.bak", "sub/folder/x", "model.sig2"]
)
def test_an_added_file_is_noticed(signed, trust, name):
    (signed / name).parent.mkdir(parents=True, exist_ok=True)
    (signed / name).write_text("")
    with pytest.raises(SignatureError, match=rf"added: {name}".replace(".", r"\.")):
        check_signature(signed, trust)


def test_a_link_to_a_folder_is_refused(signed, trust, tmp_path):
    (signed / "sub").symlink_to(tmp_path)
    with pytest.raises(BundleError, match="link to a folder"):
        check_signature(signed, trust)


@pytest.mark.parametrize(
    ("one", "other"),
    [("encoder.trt", "decoder.trt"), ("encoder.trt", "encoder.rtx.trt"), ("encoder.onnx", "decoder.onnx")],
)
def test_swapped_plans_are_noticed_although_each_has_its_own_sidecar(signed, trust, one, other):
    for suffix in ("", ".json") if one.endswith(".trt") else ("",):
        first, second = signed / f"{one}{suffix}", signed / f"{other}{suffix}"
        held = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(held)
    with pytest.raises(SignatureError, match=f"changed: .*{one}".replace(".trt", r"\.trt")):
        check_signature(signed, trust)


def test_a_plan_changed_together_with_its_sidecar_is_noticed(signed, trust):
    """What the sidecar's own digest cannot notice."""
    import hashlib

    plan = signed / "encoder.trt"
    plan.write_bytes(b"other code")
    side = json.loads((signed / "encoder.trt.json").read_text())
    side["sha256"] = hashlib.sha256(b"other code").hexdigest()
    (signed / "encoder.trt.json").write_text(json.dumps(side))
    with pytest.raises(SignatureError, match=r"changed: encoder\.trt, encoder\.trt\.json"):
        check_signature(signed, trust)


def test_the_signature_of_another_bundle_is_refused(signed, trust, two_bundles, signing_keys, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(two_bundles[1], other)
    sign(other, key=signing_keys / "private.pem")
    check_signature(other, trust)
    shutil.copy(signed / "model.sig", other / "model.sig")
    with pytest.raises(SignatureError, match="changed: "):
        check_signature(other, trust)


def test_a_statement_that_was_adapted_to_a_changed_bundle_is_refused(signed, trust):
    """The digests fit, the signature of them does not: what the cryptography is for."""
    from glow_deploy.signing import hash_folder

    (signed / "encoder.trt").write_bytes(b"other code")
    document = json.loads((signed / "model.sig").read_text())
    content = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    found = hash_folder(signed)
    for entry in content["predicate"]["resources"]:
        entry["digest"] = found[entry["name"]]
    document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(content).encode()).decode()
    (signed / "model.sig").write_text(json.dumps(document))
    with pytest.raises(SignatureError, match="not a valid signature"):
        check_signature(signed, trust)


def test_a_signature_by_another_key_that_claims_this_one_is_refused(signed, trust, signing_keys):
    hint = json.loads((signed / "model.sig").read_text())["verificationMaterial"]["publicKey"]["hint"]
    sign(signed, key=signing_keys / "other.pem", force=True)
    with pytest.raises(SignatureError, match=f"not by key {hint[:16]}"):
        check_signature(signed, trust)
    document = json.loads((signed / "model.sig").read_text())
    document["verificationMaterial"]["publicKey"]["hint"] = hint
    (signed / "model.sig").write_text(json.dumps(document))
    with pytest.raises(SignatureError, match="not a valid signature"):
        check_signature(signed, trust)


def test_no_signature(bundle, trust):
    with pytest.raises(SignatureError, match="is not signed"):
        check_signature(bundle, trust)


def test_no_bundle(tmp_path, trust):
    with pytest.raises(BundleError, match="no manifest"):
        check_signature(tmp_path, trust)


@pytest.mark.parametrize("name", ["p384", "p521"])
def test_larger_curves(bundle, signing_keys, name):
    sign(bundle, key=signing_keys / f"{name}.pem")
    check_signature(bundle, Trust(public_key=signing_keys / f"{name}-public.pem"))


def test_certificates(bundle, signing_keys):
    statement = sign(bundle, key=signing_keys / "release.pem", certificate=signing_keys / "chain.pem")
    assert statement.kind == "certificate"
    assert check_signature(bundle, Trust(certificate_root=signing_keys / "root.pem")).digests == statement.digests
    with pytest.raises(SignatureError, match="not a valid signature"):
        check_signature(bundle, Trust(certificate_root=signing_keys / "other-root.pem"))
    (bundle / "golden.npz").write_bytes(b"x")
    with pytest.raises(SignatureError, match=r"changed: golden\.npz"):
        check_signature(bundle, Trust(certificate_root=signing_keys / "root.pem"))


def test_a_certificate_that_was_put_in_place_of_the_signers_is_refused(bundle, signing_keys):
    sign(bundle, key=signing_keys / "other.pem")
    document = json.loads((bundle / "model.sig").read_text())
    sign(bundle, key=signing_keys / "release.pem", certificate=signing_keys / "chain.pem", force=True)
    document["verificationMaterial"] = json.loads((bundle / "model.sig").read_text())["verificationMaterial"]
    (bundle / "model.sig").write_text(json.dumps(document))
    with pytest.raises(SignatureError, match="not a valid signature"):
        check_signature(bundle, Trust(certificate_root=signing_keys / "root.pem"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"certificate_root": "root.pem"}, r"certificate_root= cannot check; give public_key="),
        ({"identity": "a@example.org", "issuer": "https://example.org"}, r"give public_key="),
    ],
)
def test_another_kind_of_signature_than_asked_for(signed, signing_keys, given, words):
    given = {name: signing_keys / value if value.endswith(".pem") else value for name, value in given.items()}
    with pytest.raises(SignatureError, match=words):
        check_signature(signed, Trust(**given))


def test_a_certificate_given_as_a_key_and_the_reverse(signed, signing_keys):
    with pytest.raises(UsageError, match="not a public key"):
        check_signature(signed, Trust(public_key=signing_keys / "root.pem"))
    with pytest.raises(UsageError, match="not a certificate"):
        check_signature(signed, Trust(certificate_root=signing_keys / "public.pem"))


def test_sigstore_is_asked_about_the_identity_and_the_issuer(bundle, signing_keys, monkeypatch):
    """Without its network: the rest of the way is the same."""
    import model_signing.verifying

    sign(bundle, key=signing_keys / "release.pem", certificate=signing_keys / "chain.pem")
    document = json.loads((bundle / "model.sig").read_text())
    chain = document["verificationMaterial"].pop("x509CertificateChain")
    document["verificationMaterial"]["certificate"] = chain["certificates"][0]
    (bundle / "model.sig").write_text(json.dumps(document))
    asked = []

    def use(self, **given):
        asked.append(given)
        raise ConnectionError("no network")

    monkeypatch.setattr(model_signing.verifying.Config, "use_sigstore_verifier", use)
    with pytest.raises(SignatureError, match="no network"):
        check_signature(bundle, Trust(identity="a@example.org", issuer="https://example.org"))
    assert asked == [{"identity": "a@example.org", "oidc_issuer": "https://example.org"}]


def test_the_standards_own_tool_accepts_the_signature(signed, signing_keys):
    import subprocess
    import sys

    command = [sys.executable, "-m", "model_signing", "verify", "key", str(signed)]
    command += ["--signature", str(signed / "model.sig"), "--public_key", str(signing_keys / "public.pem")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_printed(signed, trust, capfd):
    check_signature(signed, trust)
    assert capfd.readouterr() == ("", "")
