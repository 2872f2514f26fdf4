"""What a file is and what is in it, told from its content alone. Nothing in the file is run.

Light to import, because `glow_deploy` itself imports it: what reads files is loaded when it is first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from glow_deploy.arguments import as_path

from .inspection import Inspection

if TYPE_CHECKING:
    from .file import recognise

__all__ = ["Inspection", "inspect", "inspect_file", "recognise"]


def inspect_file(
    path: str | Path,
    *,
    public_key: str | Path | None = None,
    certificate_root: str | Path | None = None,
    identity: str | None = None,
    issuer: str | None = None,
) -> Inspection:
    """Describe a bundle, an ONNX graph, a TensorRT plan or an .npz archive; checkpoints are glow_core's business.

    Args:
        path: the file or folder.
        public_key: check that a bundle is signed by the holder of this key, a PEM file. Without this or one of the next
            two it is only told who claims to have signed it.
        certificate_root: likewise, by a holder of a certificate below this one.
        identity: likewise, by this Sigstore identity.
        issuer: who vouched for the identity.

    Raises:
        GlowDeployError: the file is missing, damaged or of an unknown kind.
        SignatureError: the bundle is not signed as asked for, or is not as it was signed.
    """
    from glow_deploy.signing import Trust

    from .file import run_inspect

    trust = Trust.of(public_key=public_key, certificate_root=certificate_root, identity=identity, issuer=issuer)
    return run_inspect(as_path("path", path), trust=trust)


inspect = inspect_file


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__"])


def __getattr__(name: str) -> object:
    if name == "recognise":
        from .file import recognise

        return recognise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
