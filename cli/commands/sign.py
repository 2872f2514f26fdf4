"""`glow-deploy sign`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..common.console import Output
from ..common.options import Force, Json, Quiet


def sign(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder that `export` wrote.")],
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE.pem", help="Private key: PEM, of elliptic curve P-256, P-384 or P-521."),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.pem", help="Certificates in PEM: that of --key, then those between it and the root."
        ),
    ] = None,
    sigstore: Annotated[
        bool,
        typer.Option(
            "--sigstore", help="Sign with your identity instead of a key. Needs the network; in CI the job's identity."
        ),
    ] = False,
    force: Force = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Sign every file of a bundle, plans included, so that nobody else can change one unnoticed.

    The signature is model.sig in the bundle, in the format of the OpenSSF model signing standard. The passphrase of a
    protected key is taken from the environment variable GLOW_DEPLOY_KEY_PASSPHRASE.

    After a later `compile` or `export` the bundle has to be signed again.
    """
    import glow_deploy

    output = Output(quiet=quiet, json=json)
    found = glow_deploy.sign(bundle, key=key, certificate=certificate, sigstore=sigstore, force=force)
    document = {"path": str(found.path), "signed_by": found.to_dict(), "files": dict(found.digests)}
    output.write_json(document, schema="sign")
    output.say(f"wrote {found.path}: {len(found.digests)} files signed by {found.signer}")
