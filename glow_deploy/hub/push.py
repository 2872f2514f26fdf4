"""A bundle to the Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.arguments import as_flag, as_text, settle
from glow_deploy.artifact.bundle import Bundle, while_unchanged
from glow_deploy.artifact.files import read_regular
from glow_deploy.artifact.limits import SIZE_LIMIT
from glow_deploy.artifact.manifest import MANIFEST
from glow_deploy.artifact.signed import SIGNATURE
from glow_deploy.errors import BundleError, UnsoundModelError, UsageError
from glow_deploy.progress import StageProgress

from .card import SAMPLES, model_card
from .client import hub_api, hub_errors, need_hub, repo_name

if TYPE_CHECKING:
    from glow_deploy.verify.report.verification import VerifyReport

__all__ = ["HubSettings", "Pushed", "push"]

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,39}")
_TEMPERATURE = 0.7
_COUNT = 16


@dataclass(frozen=True, kw_only=True)
class HubSettings:
    """Options of `push`.

    Attributes:
        license: identifier of the Hub for the licence of the weights, such as `mit`, `cc-by-4.0` or `other`.
        license_name: of a licence that is `other`.
        license_link: to its text.
        public: a repository that is made now can be seen by everybody; one that is there stays as it is.
        message: of the commit.
        force: push a model that was judged unsound.

    Raises:
        UsageError: a value cannot be used.
    """

    license: str
    license_name: str | None = None
    license_link: str | None = None
    public: bool = False
    message: str = "Upload a bundle"
    force: bool = False

    def __post_init__(self) -> None:
        settle(self, as_text, "license", such_as="mit")
        settle(self, as_text, "license_name", "license_link", optional=True)
        settle(self, as_text, "message")
        settle(self, as_flag, "public", "force")
        if not _LICENSE.fullmatch(self.license):
            raise UsageError(f"license={self.license[:40]!r} is no identifier of the Hub, such as mit or cc-by-4.0")
        if (self.license == "other") is (self.license_name is None):
            raise UsageError("license_name= goes with license=other, and with no other")


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What was pushed.

    Attributes:
        url: of the commit.
        commit: its number.
        files: names of the files in it.
        report: of the verification that its card tells of.
    """

    url: str
    commit: str
    files: tuple[str, ...]
    report: VerifyReport


def push(bundle: str | Path, repo: str, *, settings: HubSettings, progress: StageProgress | None = None) -> Pushed:
    """Verify a bundle here, and put it on the Hub in one commit with a model card and samples.

    Args:
        bundle: the folder.
        repo: `OWNER/NAME`; made if it is not there.
        settings: licence, and who may see it.
        progress: of the verification.

    Raises:
        UnsoundModelError: the bundle is unsound, and `force` is off. Nothing was sent.
        BundleError: it is damaged.
        DataError: the Hub refuses it or cannot be reached.
        UsageError: `repo` is no name of a repository.
        MissingDependencyError: huggingface_hub is not installed.
    """
    name = repo_name(repo)
    need_hub()

    def gather(opened: Bundle) -> tuple[dict[str, bytes], VerifyReport]:
        return _gather(opened, name, settings, progress)

    files, report = while_unchanged(bundle, gather)
    return _send(name, files, report, settings)


def _gather(
    bundle: Bundle, repo: str, settings: HubSettings, progress: StageProgress | None
) -> tuple[dict[str, bytes], VerifyReport]:
    from glow_deploy.verify import verify
    from glow_deploy.verify.terminal.answer import answer_line

    report = verify(bundle, backends=("onnxruntime-cpu",), progress=progress)
    if not report.sound and not settings.force:
        raise UnsoundModelError(f"{bundle.path} is not pushed: {answer_line(report)}; give force=True to push it so")
    files = {MANIFEST: read_regular(bundle.path / MANIFEST, most=SIZE_LIMIT, error=BundleError)}
    files |= {name: bundle.read(name) for name in bundle.manifest.files}
    signature = bundle.path / SIGNATURE
    if signature.is_file():
        files[SIGNATURE] = read_regular(signature, most=1 << 24, error=BundleError)
    files[SAMPLES] = _samples(bundle)
    card = model_card(
        bundle,
        report,
        repo=repo,
        license=settings.license,
        license_name=settings.license_name,
        license_link=settings.license_link,
        temperature=_TEMPERATURE,
    )
    files["README.md"] = card.encode()
    bundle.check_unchanged()
    return files, report


def _send(repo: str, files: dict[str, bytes], report: VerifyReport, settings: HubSettings) -> Pushed:
    from huggingface_hub import CommitOperationAdd

    api = hub_api()
    with hub_errors(f"pushing to {repo}"):
        api.create_repo(repo, private=not settings.public, exist_ok=True)
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
        done = api.create_commit(repo, operations, commit_message=settings.message)
    return Pushed(url=str(done.commit_url), commit=str(done.oid), files=tuple(files), report=report)


def _samples(bundle: Bundle) -> bytes:
    """A grid of samples; of a class-conditional model, its classes in turn."""
    from glow_deploy.engines.open import open_engine
    from glow_deploy.images import grid, png_bytes, x_to_values
    from glow_deploy.latents import concatenate_samples, sample

    classes = bundle.manifest.num_classes
    labels = None if classes is None else tuple(np.arange(min(classes, _COUNT)).tolist())
    with open_engine(bundle.path / "decoder.onnx", device="cpu") as decoder:
        drawn = concatenate_samples(sample(decoder, count=_COUNT, temperature=_TEMPERATURE, labels=labels))
    return png_bytes(grid(x_to_values(drawn.x, bundle.manifest.n_bits)))
