"""How a server is named: `triton=HOST:PORT`, with the models' common name behind a slash where it is another."""

from __future__ import annotations

import re
from dataclasses import dataclass

from glow_deploy.errors import UsageError

__all__ = ["DEFAULT_NAME", "KINDS", "ROLES", "Address", "check_model_name", "is_remote", "model_name", "parse_remote"]

KINDS = ("triton", "kserve")
"""What stands before the `=`. Both speak the same protocol; the word is for whoever reads the report."""

DEFAULT_NAME = "glow"
ROLES = ("encoder", "decoder", "score", "sample", "canary", "integers")
"""Models that a bundle is served as: NAME-encoder, ... The last, the canary of integers, goes with exact ones."""

_HOST = re.compile(r"\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_EXAMPLE = "triton=localhost:8000, or triton=https://HOST:PORT/NAME"


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a model is served.

    Attributes:
        url: `http://HOST:PORT` or `https://HOST:PORT`.
        name: the models are `NAME-encoder`, `NAME-decoder`, ...
    """

    url: str
    name: str = DEFAULT_NAME

    @property
    def host(self) -> str:
        """`HOST:PORT`, for messages."""
        return self.url.partition("://")[2]


def is_remote(backend: str) -> bool:
    """Tell whether a backend's name names a server."""
    return backend.partition("=")[0] in KINDS and "=" in backend


def parse_remote(backend: str) -> Address:
    """Read the name of a backend that is a server.

    Raises:
        UsageError: no host, no port, or a name that no model can have.

    Examples:
        >>> parse_remote("triton=localhost:8000")
        Address(url='http://localhost:8000', name='glow')
        >>> parse_remote("kserve=https://models.example:443/faces").name
        'faces'
    """
    given = backend.partition("=")[2]
    scheme, found, rest = given.partition("://")
    if not found:
        scheme, rest = "http", given
    place, slash, name = rest.partition("/")
    host, _, port = place.rpartition(":")
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else 0
    if scheme not in ("http", "https") or not _HOST.fullmatch(host) or not 1 <= number <= 65535:
        raise UsageError(f"backend {backend[:80]!r} names no server; give it as {_EXAMPLE}")
    return Address(url=f"{scheme}://{host}:{number}", name=check_model_name(name) if slash else DEFAULT_NAME)


def check_model_name(name: str) -> str:
    """Refuse what cannot be the first part of a model's name: it becomes a folder and a part of an address.

    Raises:
        UsageError: something else than letters, digits, `.`, `_` and `-`, or too long.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"name={name[:40]!r} cannot name a model; use letters, digits, '.', '_' and '-', 100 at most")
    return name


def model_name(name: str, role: str) -> str:
    """`glow`, `encoder` -> `glow-encoder`."""
    return f"{name}-{role}"
