"""What a signature file says: which files have which digests, and who claims to have signed that.

It is read without any cryptography, as untrusted input. The file is a Sigstore bundle around a DSSE envelope around an
in-toto statement, as model-signing writes it. Two programs that read one file must not see two things in it: repeated
keys, other spellings and anything unknown around the statement are refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from glow_deploy.artifact.files import read_regular
from glow_deploy.artifact.signed import SIGNATURE, SignedFiles
from glow_deploy.errors import SignatureError
from glow_deploy.printable import one_line

__all__ = ["Statement", "read_statement"]

_LIMIT = 4 << 20  # bytes; a real one has a few thousand
_PREDICATE = "https://model_signing/signature/v1.0"
_SHA256 = re.compile(r"[0-9a-f]{64}")

Kind = Literal["key", "certificate", "sigstore"]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What a signature says.

    Attributes:
        path: of the signature file.
        kind: what signed: `key`, `certificate` or `sigstore`.
        fingerprint: sha256 of the public key in PEM, or of the certificate in DER; 64 hexadecimal digits.
        digests: name of a file, relative to the bundle -> its sha256.
        data: the file's bytes.
    """

    path: Path
    kind: Kind
    fingerprint: str
    digests: Mapping[str, str]
    data: bytes = field(repr=False)

    @property
    def signer(self) -> str:
        """Who signed, in a few words."""
        names = {"key": "key", "certificate": "certificate", "sigstore": "Sigstore certificate"}
        return f"{names[self.kind]} {self.fingerprint[:16]}"

    @property
    def signed(self) -> SignedFiles:
        """What the files of the bundle are held to when they are read, once the signature was checked."""
        return SignedFiles(signer=self.signer, digests=self.digests)

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {"kind": self.kind, "fingerprint": self.fingerprint}


def read_statement(bundle: Path) -> Statement | None:
    """Read the signature file of a bundle; None if there is none.

    Raises:
        SignatureError: it cannot be read, is damaged, or of another format.
    """
    path = bundle / SIGNATURE
    if not path.exists() and not path.is_symlink():
        return None
    return parse_statement(read_regular(path, most=_LIMIT, error=SignatureError), path=path)


def parse_statement(data: bytes, *, path: Path) -> Statement:
    """Read the bytes of a signature file.

    Raises:
        SignatureError: damaged, or of another format.
    """
    try:
        outer = _object(json.loads(data, object_pairs_hook=_once), "mediaType", "verificationMaterial", "dsseEnvelope")
        envelope = _object(outer["dsseEnvelope"], "payload", "payloadType", "signatures")
        if len(envelope["signatures"]) != 1:
            raise ValueError("there must be one signature")
        kind, fingerprint = _signer(outer["verificationMaterial"])
        content = json.loads(base64.b64decode(envelope["payload"], validate=True), object_pairs_hook=_once)
        digests = _digests(content)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, binascii.Error) as error:
        words = one_line(error, longest=120) or type(error).__name__
        raise SignatureError(
            f"{path} is damaged, or no signature of a model ({words}); sign the bundle again"
        ) from None
    return Statement(path=path, kind=kind, fingerprint=fingerprint, digests=digests, data=data)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _object(value: Any, *keys: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(keys):
        raise ValueError(f"{', '.join(keys)} expected")
    return value


def _signer(material: Any) -> tuple[Kind, str]:
    """The kind of a signature, and the fingerprint of what made it."""
    if "publicKey" in material:
        hint = material["publicKey"]["hint"]
        if not _SHA256.fullmatch(hint):
            raise ValueError("publicKey.hint")
        return "key", hint
    if "x509CertificateChain" in material:
        return "certificate", _of_certificate(material["x509CertificateChain"]["certificates"][0])
    return "sigstore", _of_certificate(material["certificate"])


def _of_certificate(entry: Any) -> str:
    return hashlib.sha256(base64.b64decode(entry["rawBytes"], validate=True)).hexdigest()


def _digests(content: Any) -> dict[str, str]:
    if content["predicateType"] != _PREDICATE:
        raise ValueError(f"predicateType is not {_PREDICATE}")
    method = content["predicate"]["serialization"]["method"]
    if method != "files":
        raise ValueError(f"it covers {method!r:.20}, not whole files")
    digests: dict[str, str] = {}
    for entry in content["predicate"]["resources"]:
        name, digest = entry["name"], entry["digest"]
        if entry["algorithm"] != "sha256" or not _SHA256.fullmatch(digest):
            raise ValueError(f"{name!r:.40} has no sha256")
        if str(PurePosixPath(name)) != name or name in digests:
            raise ValueError(f"{name!r:.40} is no name of a file, or there twice")
        digests[name] = digest
    return digests
