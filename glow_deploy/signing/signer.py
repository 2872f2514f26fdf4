"""Signing a bundle that is in order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.files import atomic_write, refuse_folder, refuse_overwrite
from glow_deploy.artifact.sidecar import read_sidecar, sidecar_path
from glow_deploy.artifact.signed import SIGNATURE
from glow_deploy.errors import BundleError, SignatureError, UsageError
from glow_deploy.printable import one_line

from .library import load, quiet, whole_folder
from .pem import check_private_key, passphrase_for, signing_certificates
from .settings import SignSettings
from .statement import Statement, parse_statement
from .uncovered import hash_folder, uncovered

__all__ = ["sign_bundle"]


def sign_bundle(path: Path, *, settings: SignSettings, force: bool) -> Statement:
    """Do what `glow_deploy.sign` says."""
    bundle = Bundle.open(path)
    target = path / SIGNATURE
    refuse_folder(target)
    refuse_overwrite(target, force=force)
    before = hash_folder(path)
    _need_order(bundle, before)
    model_signing = load("model_signing")
    with tempfile.TemporaryDirectory(prefix="glow-deploy-") as name:
        # Not beside the bundle's files, for model-signing would find it there; and not written in place.
        made = Path(name) / SIGNATURE
        config = model_signing.signing.Config().set_hashing_config(whole_folder(model_signing))
        if settings.sigstore:
            _sign_as_oneself(config, path, made)
        else:
            _use_key(config, settings, Path(name))
            with quiet():
                # model-signing opens no link to a folder; the bundle itself may be one.
                config.sign(path.resolve(), made)
        statement = parse_statement(made.read_bytes(), path=target)
    # What was found in order above is what must have been signed.
    if difference := uncovered(statement.digests, before):
        raise BundleError(f"{path} changed while it was signed ({difference}); sign it again")
    atomic_write(target, statement.data)
    return statement


def _need_order(bundle: Bundle, digests: dict[str, str]) -> None:
    """Refuse to vouch for a bundle with files that its own digests do not describe.

    Raises:
        BundleError: a file is missing or changed, a plan has no sidecar, or a sidecar no plan.
    """
    for name in bundle.manifest.files:
        if name not in digests:
            raise BundleError(f"{bundle.path / name} is missing, so the bundle is not signed; export it again")
        if digests[name] != bundle.manifest.files[name]:
            raise BundleError(
                f"{bundle.path / name} changed since the export (sha256 differs from the manifest), so the bundle is "
                "not signed; export it again"
            )
    for name, digest in digests.items():
        plan = bundle.path / name
        if plan.suffix == ".trt":
            sidecar = read_sidecar(plan)
            if sidecar is None or sidecar.sha256 != digest:
                what = (
                    f"has no sidecar {sidecar_path(plan).name}" if sidecar is None else "is not what its sidecar says"
                )
                raise BundleError(f"{plan} {what}, so the bundle is not signed; compile it again or remove it")
        elif name.endswith(".trt.json") and name.removesuffix(".json") not in digests:
            raise BundleError(f"{plan} is the sidecar of a plan that is not there; remove it")


def _use_key(config: Any, settings: SignSettings, folder: Path) -> None:
    """Set up signing with a key, and with its certificate where one is given.

    Raises:
        UsageError: the key or the certificate cannot be used.
    """
    assert settings.key is not None
    passphrase = passphrase_for(settings.key) if settings.passphrase is None else settings.passphrase
    key = check_private_key(settings.key, passphrase)
    if settings.certificate is None:
        # Bytes, whatever model-signing's types say: it hands them on to a function that takes nothing else.
        password: Any = None if passphrase is None else passphrase.encode()
        config.use_elliptic_key_signer(private_key=settings.key, password=password)
        return
    if passphrase is not None:
        raise UsageError(
            f"{settings.key} is protected by a passphrase, which model-signing cannot take for a key with a "
            "certificate; give a key without one: key="
        )
    serialization = load("cryptography.hazmat.primitives.serialization")
    pems = [found.public_bytes(serialization.Encoding.PEM) for found in signing_certificates(settings.certificate, key)]
    first, others = folder / "certificate.pem", folder / "chain.pem"
    first.write_bytes(pems[0])
    others.write_bytes(b"".join(pems[1:] or pems))  # model-signing takes no empty chain
    config.use_certificate_signer(private_key=settings.key, signing_certificate=first, certificate_chain=[others])


def _sign_as_oneself(config: Any, path: Path, made: Path) -> None:
    """Sign with an identity: the one that a CI job has, or the one that a browser is asked for.

    Raises:
        SignatureError: Sigstore cannot be reached, or gives no identity.
    """
    try:
        config.use_sigstore_signer(use_ambient_credentials=True)
        config.sign(path.resolve(), made)
    except Exception as error:  # of sigstore, requests, tuf and their dependencies
        words = one_line(error, longest=200) or type(error).__name__
        raise SignatureError(
            f"{path} was not signed: Sigstore needs the network and an identity ({words}); key= needs neither"
        ) from None
