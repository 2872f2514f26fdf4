"""`glow-deploy hub`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..common.console import Output
from ..common.options import Force, Json, Quiet


def hub(
    action: Annotated[Literal["push", "pull"], typer.Argument(metavar="push|pull", help="Which way.")],
    source: Annotated[str, typer.Argument(metavar="FROM", help="push: a bundle. pull: OWNER/NAME on the Hub.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="push: OWNER/NAME. pull: the folder to write.")],
    license_: Annotated[
        str | None,
        typer.Option("--license", metavar="ID", help="push: of the weights, as the Hub calls it: mit, cc-by-4.0."),
    ] = None,
    license_name: Annotated[str | None, typer.Option(metavar="NAME", help="push: of --license other.")] = None,
    license_link: Annotated[str | None, typer.Option(metavar="URL", help="push: to the licence's text.")] = None,
    public: Annotated[
        bool, typer.Option("--public", help="push: make a new repository that everybody can see.")
    ] = False,
    message: Annotated[str, typer.Option(metavar="TEXT", help="push: of the commit.")] = "Upload a bundle",
    revision: Annotated[str | None, typer.Option(metavar="COMMIT", help="pull: a commit, a tag or a branch.")] = None,
    force: Force = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Put a bundle on the Hugging Face Hub with a model card, or fetch one and check it.

    push verifies the bundle first, and sends no unsound one. The card has the verdict, samples and the licence. pull
    checks every digest, both graphs and the golden vectors before it writes anything. Plans go neither way. Needs the
    extra `hub`; `hf auth login` or HF_TOKEN says who you are.
    """
    from glow_deploy.errors import UsageError
    from glow_deploy.hub import HubSettings, pull, push

    output = Output(quiet=quiet, json=json)
    if action == "push":
        if license_ is None:
            raise UsageError("say under which licence the weights are: --license mit, or another identifier of the Hub")
        if revision is not None:
            raise UsageError("--revision is for pull; push makes a commit of its own")
        settings = HubSettings(
            license=license_,
            license_name=license_name,
            license_link=license_link,
            public=public,
            message=message,
            force=force,
        )
        with output.progress() as bars:
            done = push(Path(source), target, settings=settings, progress=bars.stage)
        output.write_json(
            {"action": action, "repository": target, "commit": done.commit, "url": done.url, "files": done.files},
            schema="hub",
        )
        output.say(f"pushed {len(done.files)} files to {target}: {done.url}")
        return
    found = pull(source, target, revision=revision, force=force)
    output.write_json(
        {
            "action": action,
            "repository": source,
            "commit": found.commit,
            "bundle": found.bundle.path,
            "model_id": found.bundle.manifest.model_id,
            "signed": found.signed,
        },
        schema="hub",
    )
    output.say(
        f"wrote {target}/ of {source}, commit {found.commit}; its digests fit, its graphs are of kinds that are run"
    )
    if found.signed:
        output.say("note: it brought a signature that nobody has checked: `glow-deploy verify --public-key FILE` does")
