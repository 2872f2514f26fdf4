"""What a valid signature says about a bundle: the sha256 of every file in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from glow_deploy.errors import SignatureError

from .files import sha256_bytes

__all__ = ["SIGNATURE", "SignedFiles"]

SIGNATURE = "model.sig"
"""Name of the signature's file in a bundle, the one that the OpenSSF standard gives it."""


@dataclass(frozen=True, kw_only=True)
class SignedFiles:
    """The digests of a signature that was checked. Files are held to them at the moment they are read.

    A folder that was in order when its signature was checked may be another one a moment later. So whoever reads a
    file of it hands the very bytes to `check`, and uses those bytes.

    Attributes:
        signer: who signed, in words.
        digests: name of a file, relative to the bundle -> sha256; every file but the signature.
    """

    signer: str
    digests: Mapping[str, str]

    def check(self, path: Path, data: bytes) -> None:
        """Compare the bytes that were read from a file of the bundle with what was signed.

        Raises:
            SignatureError: the signature does not cover a file of this name, or covers other bytes.
        """
        wanted = self.digests.get(path.name)
        if wanted is None:
            raise SignatureError(f"{path} is not covered by the signature of its bundle; sign the bundle again")
        if sha256_bytes(data) != wanted:
            raise SignatureError(f"{path} is not the file that was signed; it changed after the signature was checked")
