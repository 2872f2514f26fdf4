"""Describing how far a bundle can be trusted: its checksums, and its signature."""

from __future__ import annotations

from pathlib import Path

from glow_deploy.errors import SignatureError
from glow_deploy.signing import Trust, check_signature, hash_folder, read_statement, uncovered

__all__ = ["inspect_signature"]

_OPTIONS = {
    "key": "--public-key",
    "certificate": "--certificate-root",
    "sigstore": "--identity and --issuer",
}


def inspect_signature(path: Path, *, checksums_match: bool, trust: Trust | None) -> dict[str, object]:
    """The facts `integrity` (in words), `checksums_match`, `signature_state` and `signed_by`.

    `signature_state` is `none`, `damaged`, `stale` (the bundle is not as it was signed), `not checked` or `valid`. Only
    the last one proves anything.

    Raises:
        SignatureError: it is said whose signature it must be, and it is not.
    """
    checksums = "checksums match" if checksums_match else "checksums DO NOT match"

    def facts(state: str, words: str, signed_by: object = None) -> dict[str, object]:
        return {
            "integrity": f"{checksums}; {words}",
            "checksums_match": checksums_match,
            "signature_state": state,
            "signed_by": signed_by,
        }

    if trust is not None:
        statement = check_signature(path, trust)
        return facts("valid", f"signature valid ({statement.signer})", statement.to_dict())
    try:
        found = read_statement(path)
    except SignatureError as error:
        return facts("damaged", f"signature damaged: {error}")
    if found is None:
        return facts("none", "not signed")
    if difference := uncovered(found.digests, hash_folder(path)):
        words = f"signed ({found.signer}), but the signature does not cover the bundle as it is ({difference})"
        return facts("stale", words, found.to_dict())
    words = f"signed ({found.signer}; not checked: give {_OPTIONS[found.kind]})"
    return facts("not checked", words, found.to_dict())
