"""Checking that a bundle is what somebody who is trusted signed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.signed import SIGNATURE
from glow_deploy.errors import SignatureError
from glow_deploy.printable import one_line

from .library import load, quiet, whole_folder
from .pem import check_public_key, read_certificates
from .settings import Trust
from .statement import Statement, read_statement
from .uncovered import hash_folder, uncovered

__all__ = ["check_bundle"]

_WAYS = {"key": "public_key=", "certificate": "certificate_root=", "sigstore": "identity= and issuer="}


def check_bundle(path: Path, trust: Trust) -> Statement:
    """Do what `glow_deploy.signing.check_signature` says."""
    model_signing = load("model_signing")
    fingerprint = None if trust.public_key is None else check_public_key(trust.public_key)
    if trust.certificate_root is not None:
        read_certificates(trust.certificate_root, option="certificate_root=")
    Bundle.open(path)  # says in its own words that there is no bundle
    statement = read_statement(path)
    if statement is None:
        raise SignatureError(
            f"{path} is not signed: no {SIGNATURE} in it; `glow-deploy sign {path} --key KEY` signs it"
        )
    given = "key" if trust.public_key else "certificate" if trust.certificate_root else "sigstore"
    if statement.kind != given:
        raise SignatureError(
            f"{path} is signed by a {statement.signer}, which {_WAYS[given]} cannot check; give {_WAYS[statement.kind]}"
        )
    if fingerprint is not None and fingerprint != statement.fingerprint:
        raise SignatureError(
            f"{path} is signed by {statement.signer}, not by key {fingerprint[:16]} of {trust.public_key}: it comes "
            "from somebody else, or this is another public_key="
        )
    if difference := uncovered(statement.digests, hash_folder(path)):
        raise SignatureError(
            f"{path} is not as it was signed ({difference}); get it again, or look at it and sign it again"
        )
    _need_valid(model_signing, path, trust, statement)
    return statement


def _need_valid(model_signing: ModuleType, path: Path, trust: Trust, statement: Statement) -> None:
    """Have model-signing check the bytes that were read, not the file, which may be another one by now.

    Raises:
        SignatureError: it is not a signature of whoever is trusted.
    """
    with tempfile.TemporaryDirectory(prefix="glow-deploy-") as name, quiet():
        copy = Path(name) / SIGNATURE
        copy.write_bytes(statement.data)
        try:
            config = _trusting(model_signing, trust)
            config.set_hashing_config(whole_folder(model_signing)).verify(path.resolve(), copy)
        except Exception as error:  # of cryptography, OpenSSL, pydantic, sigstore: of a dozen kinds on damaged input
            words = one_line(error, longest=160) or type(error).__name__
            raise SignatureError(
                f"{statement.path} is not a valid signature of the one you trust ({words}); get the bundle again, or "
                "sign it again"
            ) from None


def _trusting(model_signing: ModuleType, trust: Trust) -> Any:
    config = model_signing.verifying.Config()
    if trust.public_key is not None:
        return config.use_elliptic_key_verifier(public_key=trust.public_key)
    if trust.certificate_root is not None:
        # Never without a root: model-signing would trust every authority of the web.
        return config.use_certificate_verifier(certificate_chain=[trust.certificate_root])
    return config.use_sigstore_verifier(identity=trust.identity, oidc_issuer=trust.issuer)
