"""Keys and certificates in PEM, looked at before they are used so that what is wrong with one can be said."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glow_deploy.artifact.files import sha256_bytes
from glow_deploy.errors import UsageError
from glow_deploy.printable import one_line

from .library import load

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = [
    "PASSPHRASE_VARIABLE",
    "check_private_key",
    "check_public_key",
    "passphrase_for",
    "read_certificates",
    "signing_certificates",
]

PASSPHRASE_VARIABLE = "GLOW_DEPLOY_KEY_PASSPHRASE"

_LIMIT = 1 << 20  # bytes
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_NEEDED = "an EC key of curve P-256, P-384 or P-521 is needed"
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----")


def passphrase_for(path: Path) -> str | None:
    """The passphrase in the environment, where the key needs one."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    return given if given and b"ENCRYPTED" in _read(path, "key=") else None


def check_private_key(path: Path, passphrase: str | None) -> Any:
    """Read a private key that model-signing can sign with.

    Raises:
        UsageError: the file cannot be read or is something else, the passphrase is missing or wrong, or the key is of
            another type.
    """
    serialization = load("cryptography.hazmat.primitives.serialization")
    data = _read(path, "key=")
    label = _label(data, path, "private key")
    if "PUBLIC KEY" in label:
        raise UsageError(f"{path} is a public key; signing takes the private one: key=")
    if "PRIVATE KEY" not in label:
        raise UsageError(f"{path} holds a {label.lower()}, not a private key; give the private key: key=")
    try:
        key = serialization.load_pem_private_key(data, None if passphrase is None else passphrase.encode())
    except TypeError:
        if passphrase is None:
            raise UsageError(
                f"{path} is protected by a passphrase; put it into the environment variable {PASSPHRASE_VARIABLE}"
            ) from None
        raise UsageError(f"{path} is not protected by a passphrase, and one was given; leave it out") from None
    except ValueError:
        reason = "the passphrase is wrong, or the file is damaged" if passphrase is not None else "it is damaged"
        raise UsageError(f"{path} cannot be read as a private key: {reason}; give another key=") from None
    except Exception as error:  # `UnsupportedAlgorithm` and the like
        raise UsageError(f"{path} cannot be used: {_words(error)}; {_NEEDED}") from None
    _need_curve(key, path)
    return key


def check_public_key(path: Path) -> str:
    """Read a public key that model-signing can check with, and return its fingerprint.

    Raises:
        UsageError: the file cannot be read or is something else, or the key is of another type.
    """
    serialization = load("cryptography.hazmat.primitives.serialization")
    data = _read(path, "public_key=")
    label = _label(data, path, "public key")
    if "PRIVATE KEY" in label:
        raise UsageError(
            f"{path} is a private key; checking takes the public one: public_key= "
            f"(openssl pkey -in {path} -pubout makes it)"
        )
    if "PUBLIC KEY" not in label:
        raise UsageError(f"{path} holds a {label.lower()}, not a public key; give the public key: public_key=")
    try:
        key = serialization.load_pem_public_key(data)
    except Exception as error:  # `UnsupportedAlgorithm` and the like
        raise UsageError(f"{path} cannot be read as a public key: {_words(error)}; {_NEEDED}") from None
    _need_curve(key, path)
    return fingerprint(key)


def fingerprint(public_key: Any) -> str:
    """The sha256 of a public key in PEM, which is how signatures name keys; `sha256sum public.pem` gives the same."""
    serialization = load("cryptography.hazmat.primitives.serialization")
    pem = public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return sha256_bytes(bytes(pem))


def read_certificates(path: Path, *, option: str) -> list[Certificate]:
    """Read every certificate of a file.

    Raises:
        UsageError: it cannot be read or holds something else.
    """
    x509 = load("cryptography.x509")
    data = _read(path, option)
    label = _label(data, path, "certificate")
    if label != "CERTIFICATE":
        raise UsageError(f"{path} holds a {label.lower()}, not a certificate; give a certificate: {option}")
    try:
        return list(x509.load_pem_x509_certificates(data))
    except Exception as error:
        raise UsageError(f"{path} cannot be read as certificates: {_words(error)}; give another {option}") from None


def signing_certificates(path: Path, key: Any) -> list[Certificate]:
    """Read the certificate of a key and those above it, and refuse one whose signatures nobody would accept.

    Raises:
        UsageError: it belongs to another key, is not valid now, or is not for signing.
    """
    x509 = load("cryptography.x509")
    found = read_certificates(path, option="certificate=")
    first = found[0]
    if first.public_key() != key.public_key():
        raise UsageError(f"the first certificate of {path} is not that of the key; give another certificate= or key=")
    if not first.not_valid_before_utc <= datetime.now(UTC) <= first.not_valid_after_utc:
        raise UsageError(
            f"{path} is valid from {first.not_valid_before_utc:%Y-%m-%d} to {first.not_valid_after_utc:%Y-%m-%d}, not "
            "today; give another certificate="
        )

    def extension(kind: Any) -> Any:
        try:
            return first.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    usage, extended = extension(x509.KeyUsage), extension(x509.ExtendedKeyUsage)
    signs = usage is not None and usage.digital_signature
    if not signs and x509.ExtendedKeyUsageOID.CODE_SIGNING not in (extended or ()):
        raise UsageError(
            f"{path} is not for signing: it needs the key usage digitalSignature or the extended key usage "
            "codeSigning; give another certificate="
        )
    return found


def _read(path: Path, option: str) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is not a file; give another {option}")
        if path.stat().st_size > _LIMIT:
            raise UsageError(f"{path} is far too large for a key or certificate; give another {option}")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; give another {option}") from None


def _label(data: bytes, path: Path, wanted: str) -> str:
    """What the first block of a PEM file is, after the parameters of a curve that openssl may put before a key."""
    labels: list[str] = [label.decode() for label in _BEGIN.findall(data)]
    label: str | None = next((label for label in labels if label != "EC PARAMETERS"), None)
    if label is None:
        raise UsageError(f"{path} is not a PEM file; a {wanted} in PEM is needed")
    return label


def _need_curve(key: Any, path: Path) -> None:
    curve = getattr(key, "curve", None)
    if curve is None:
        kind = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey").strip("_")
        raise UsageError(f"{path} is a key of type {kind}; {_NEEDED}")
    if curve.name not in _CURVES:
        raise UsageError(f"{path} is a key of curve {curve.name}; {_NEEDED}")


def _words(error: BaseException) -> str:
    return one_line(error, longest=200).partition(" See https")[0] or type(error).__name__
