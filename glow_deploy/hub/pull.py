"""A bundle from the Hub: files of a stranger until they have been checked."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glow_deploy.arguments import as_path
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.files import read_regular
from glow_deploy.artifact.limits import SIZE_LIMIT
from glow_deploy.artifact.manifest import DECODER, ENCODER, GOLDEN, MANIFEST
from glow_deploy.artifact.signed import SIGNATURE
from glow_deploy.artifact.whole_folder import check_folder_target, write_folder
from glow_deploy.errors import BundleError, DataError

from .client import FILES, hub_api, hub_errors, need_hub, repo_name

__all__ = ["Pulled", "pull"]

_MOST = {MANIFEST: 4 << 20, SIGNATURE: 16 << 20}  # bytes; of the others what any file of a bundle may have


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """What was pulled.

    Attributes:
        bundle: as it lies here.
        commit: the number of the commit that it is of.
        signed: whether it brought a signature, which nobody has checked.
    """

    bundle: Bundle
    commit: str
    signed: bool


def pull(repo: str, out: str | Path, *, revision: str | None = None, force: bool = False) -> Pulled:
    """Fetch a bundle and check it: every digest, both graphs, the golden vectors. Plans are never fetched.

    The digests say that the files are those of the manifest. Whose manifest it is they cannot say: name a `revision`, a
    commit that you know, or have its signature checked (`glow-deploy verify --public-key`).

    Args:
        repo: `OWNER/NAME`.
        out: the folder to write; its parent must exist.
        revision: a branch, a tag or a commit; None for the newest of the main branch.
        force: replace a bundle that holds nothing else.

    Raises:
        UsageError: `repo` is no name of a repository, or `out` holds something.
        DataError: the Hub cannot be reached, or has no such repository, revision or file.
        BundleError: what came is no sound bundle; nothing is written.
        MissingDependencyError: huggingface_hub is not installed.
    """
    name, place = repo_name(repo), as_path("out", out)
    need_hub()
    check_folder_target(place, ours=set(FILES), force=force)
    what = f"pulling {name}"
    commit, there = _look(name, revision, what)
    with tempfile.TemporaryDirectory(prefix="glow-deploy-") as folder:
        files: dict[str, bytes] = {}
        for file in FILES:
            if there is not None and file not in there:
                if file in (MANIFEST, ENCODER, DECODER):
                    raise DataError(f"{what}: it holds no {file}, so it is no bundle")
                continue
            data = _fetch(name, file, commit, what, needed=file in (MANIFEST, ENCODER, DECODER))
            if data is not None:
                files[file] = data
                (Path(folder) / file).write_bytes(data)
        try:
            _check(Path(folder))
        except BundleError as error:  # the name of a passing folder says nothing
            raise BundleError(f"{what}: {str(error).replace(f'{folder}/', '')}") from None
        write_folder(place, files)
    return Pulled(bundle=Bundle.open(place), commit=commit or "as kept here", signed=SIGNATURE in files)


def _look(name: str, revision: str | None, what: str) -> tuple[str | None, set[str] | None]:
    """Which commit it is and which files it has; (revision, None) where the client is told to stay offline."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return revision, None
    with hub_errors(what):
        info: Any = hub_api().model_info(name, revision=revision, files_metadata=True)
    there = set()
    for entry in info.siblings or ():
        if entry.rfilename in FILES:
            most = _MOST.get(entry.rfilename, SIZE_LIMIT)
            if entry.size is not None and entry.size > most:
                raise BundleError(f"{what}: {entry.rfilename} has {entry.size} bytes, {most} are accepted")
            there.add(entry.rfilename)
    return str(info.sha), there


def _fetch(name: str, file: str, commit: str | None, what: str, *, needed: bool) -> bytes | None:
    """A file of one commit, through the client's cache."""
    from huggingface_hub.errors import EntryNotFoundError

    try:
        with hub_errors(f"{what}, {file}"):
            try:
                path = hub_api().hf_hub_download(name, file, revision=commit)
            except EntryNotFoundError:
                if needed:
                    raise
                return None
    except DataError:
        if needed:
            raise
        return None
    return read_regular(Path(path), most=_MOST.get(file, SIZE_LIMIT), error=BundleError)


def _check(folder: Path) -> None:
    """Read all of it as a stranger's: digests, graphs, golden vectors.

    Raises:
        BundleError: something is not what the manifest says, or is never run.
    """
    bundle = Bundle.open(folder)
    for graph in (ENCODER, DECODER):
        bundle.graph(graph)
    if GOLDEN in bundle.manifest.files:
        bundle.golden()
