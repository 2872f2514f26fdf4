"""Who vouches for a bundle: a signature over every file of it, in the format of the OpenSSF model signing standard.

The package model-signing makes and checks the signatures; it comes with the extra `sign` and is loaded when it is
first used. What a signature says can be read without it, and proves nothing then.
"""

from __future__ import annotations

from pathlib import Path

from .settings import SignSettings, Trust
from .statement import Statement, read_statement
from .uncovered import hash_folder, is_stale, uncovered

__all__ = [
    "SignSettings",
    "Statement",
    "Trust",
    "check_signature",
    "hash_folder",
    "is_stale",
    "read_statement",
    "sign",
    "uncovered",
]


def sign(
    bundle: str | Path,
    *,
    key: str | Path | None = None,
    certificate: str | Path | None = None,
    sigstore: bool = False,
    passphrase: str | None = None,
    force: bool = False,
) -> Statement:
    """Sign every file of a bundle: graphs, manifest, golden vectors, plans, sidecars, and whatever else is in it.

    The signature is written into the bundle as `model.sig`. A bundle that is compiled or exported again has to be
    signed again.

    Args:
        bundle: the folder that `export` wrote.
        key: private key in PEM, of one of the elliptic curves P-256, P-384 and P-521.
        certificate: certificates in PEM, that of `key` first, then those between it and the root.
        sigstore: sign as oneself, with an identity that Sigstore asks for. Needs the network and no key.
        passphrase: of `key`; None takes it from the environment variable `GLOW_DEPLOY_KEY_PASSPHRASE`.
        force: replace an earlier signature.

    Returns:
        What the signature says.

    Raises:
        UsageError: no key, a key or certificate of another kind, or an earlier signature and no `force`.
        BundleError: the bundle is damaged, or changed while it was signed.
        SignatureError: Sigstore cannot be reached.
        MissingDependencyError: the extra `sign` is not installed.
    """
    from .signer import sign_bundle

    settings = SignSettings(
        key=None if key is None else Path(key),
        certificate=None if certificate is None else Path(certificate),
        sigstore=sigstore,
        passphrase=passphrase,
    )
    return sign_bundle(Path(bundle), settings=settings, force=force)


def check_signature(bundle: str | Path, trust: Trust) -> Statement:
    """Check that a bundle is, file for file, what somebody who is trusted signed.

    Args:
        bundle: the folder.
        trust: who is.

    Returns:
        What the signature says. Hold the files to `signed` when they are read.

    Raises:
        SignatureError: no signature, a damaged one, one by somebody else, or one that does not cover the bundle as it
            is.
        UsageError: the public key or the root certificate cannot be read.
        MissingDependencyError: the extra `sign` is not installed.
    """
    from .checker import check_bundle

    return check_bundle(Path(bundle), trust)
