"""Signature files are untrusted input: two programs that read one must not see two things in it."""

from __future__ import annotations

import base64
import json
import os

import pytest

from glow_deploy.errors import SignatureError
from glow_deploy.signing import read_statement

CONTENT = {
    "predicateType": "https://model_signing/signature/v1.0",
    "predicate": {
        "serialization": {"method": "files"},
        "resources": [{"name": "a", "algorithm": "sha256", "digest": "0" * 64}],
    },
}


def document(content=CONTENT, **changes):
    payload = content if isinstance(content, str) else base64.b64encode(json.dumps(content).encode()).decode()
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": "1" * 64}, "tlogEntries": []},
        "dsseEnvelope": {"payload": payload, "payloadType": "x", "signatures": [{"sig": "", "keyid": ""}]},
        **changes,
    }


def read(folder, text):
    (folder / "model.sig").write_text(text if isinstance(text, str) else json.dumps(text))
    return read_statement(folder)


def content(**changes):
    predicate = CONTENT["predicate"] | changes
    return CONTENT | {"predicate": predicate}


def test_what_it_says(tmp_path):
    assert read_statement(tmp_path) is None
    found = read(tmp_path, document())
    assert (found.kind, found.fingerprint, dict(found.digests)) == ("key", "1" * 64, {"a": "0" * 64})
    assert found.signer == "key " + "1" * 16


ENVELOPE = document()["dsseEnvelope"]
ENTRY = {"name": "a", "algorithm": "sha256", "digest": "0" * 64}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "[" * 100_000,
        "{}",
        document(dsse_envelope=ENVELOPE),
        document(more=1),
        document(dsseEnvelope=ENVELOPE | {"Payload": ""}),
        document(dsseEnvelope=ENVELOPE | {"signatures": []}),
        document(dsseEnvelope=ENVELOPE | {"signatures": ENVELOPE["signatures"] * 2}),
        document(dsseEnvelope=ENVELOPE | {"payload": ENVELOPE["payload"] + "*"}),
        json.dumps(document()).replace('"payloadType"', '"payload": "", "payloadType"'),
        document(verificationMaterial={}),
        document(verificationMaterial={"publicKey": {}}),
        document(verificationMaterial={"publicKey": {"hint": None}}),
        document(verificationMaterial={"x509CertificateChain": {"certificates": []}}),
        document("bm8="),
        document(CONTENT | {"predicateType": "https://model_signing/Digests/v0.1"}),
        document(content(serialization={"method": "shards"})),
        document(content(resources=[ENTRY, ENTRY])),
        document(content(resources=[ENTRY | {"algorithm": "blake2"}])),
        document(content(resources=[ENTRY | {"digest": "0"}])),
        document(content(resources=[ENTRY | {"name": "./a"}])),
        document(content(resources=[ENTRY | {"name": 3}])),
        document(content(resources=3)),
    ],
)
def test_anything_else_is_refused_in_one_line(tmp_path, text):
    with pytest.raises(SignatureError, match=r"model\.sig") as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_folder_or_a_giant_in_its_place(tmp_path):
    (tmp_path / "model.sig").mkdir()
    with pytest.raises(SignatureError, match="is a folder"):
        read_statement(tmp_path)
    (tmp_path / "model.sig").rmdir()
    os.mkfifo(tmp_path / "model.sig")
    with pytest.raises(SignatureError, match="is a pipe"):
        read_statement(tmp_path)
    (tmp_path / "model.sig").unlink()
    (tmp_path / "model.sig").symlink_to("nowhere")
    with pytest.raises(SignatureError, match="no such file"):
        read_statement(tmp_path)
    (tmp_path / "model.sig").unlink()
    with (tmp_path / "model.sig").open("wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(SignatureError, match="accepted"):
        read_statement(tmp_path)
