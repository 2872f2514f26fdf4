"""With what a bundle is signed, and whose signature is trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from glow_deploy.arguments import as_flag, as_path, as_text, settle
from glow_deploy.errors import UsageError

__all__ = ["SignSettings", "Trust"]


@dataclass(frozen=True, kw_only=True)
class SignSettings:
    """With what a bundle is signed.

    Attributes:
        key: private key in PEM, of an elliptic curve.
        certificate: certificates in PEM, that of the key first; None to sign with the key alone.
        sigstore: with an identity instead of a key.
        passphrase: of the key; None takes it from the environment.

    Raises:
        UsageError: neither a key nor `sigstore`, or both.
    """

    key: Path | None = None
    certificate: Path | None = None
    sigstore: bool = False
    passphrase: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        settle(self, as_path, "key", "certificate", optional=True)
        settle(self, as_flag, "sigstore")
        settle(self, as_text, "passphrase", optional=True)
        if self.sigstore and (self.key or self.certificate):
            raise UsageError("sigstore=True signs with an identity and takes neither key= nor certificate=")
        if not self.sigstore and self.key is None:
            with_it = " with certificate=" if self.certificate else ""
            raise UsageError(f"give the private key{with_it}: key=; or sigstore=True to sign with an identity")


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whose signature is trusted: one of a key, a root certificate and an identity.

    Attributes:
        public_key: in PEM; that of the key which signed.
        certificate_root: certificates in PEM. Whoever holds a certificate that one of them issued is trusted, if it is
            for signing.
        identity: of Sigstore, such as an e-mail address.
        issuer: who vouched for the identity, a URL.

    Raises:
        UsageError: none of them, more than one, or half an identity.
    """

    public_key: Path | None = None
    certificate_root: Path | None = None
    identity: str | None = None
    issuer: str | None = None

    def __post_init__(self) -> None:
        settle(self, as_path, "public_key", "certificate_root", optional=True)
        settle(self, as_text, "identity", "issuer", optional=True)
        if (self.identity is None) != (self.issuer is None):
            raise UsageError("an identity is trusted as its issuer knows it: give both identity= and issuer=")
        ways = sum(way is not None for way in (self.public_key, self.certificate_root, self.identity))
        if ways == 0:
            raise UsageError(
                "a signature proves nothing without whose it must be: give public_key=, certificate_root=, or "
                "identity= with issuer="
            )
        if ways > 1:
            raise UsageError("give one of public_key=, certificate_root= and identity= with issuer=, not several")

    @classmethod
    def of(
        cls,
        *,
        public_key: str | Path | None = None,
        certificate_root: str | Path | None = None,
        identity: str | None = None,
        issuer: str | None = None,
        required: bool = False,
    ) -> Trust | None:
        """What was given; None where nothing was, unless a signature is required.

        Raises:
            UsageError: see the class.
        """
        given = (public_key, certificate_root, identity, issuer)
        if not required and all(part is None for part in given):
            return None
        return cls(
            public_key=None if public_key is None else Path(public_key),
            certificate_root=None if certificate_root is None else Path(certificate_root),
            identity=identity,
            issuer=issuer,
        )
