"""A stored JSON report of `verify`, read as untrusted input."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from glow_deploy.artifact.bundle import Manifest
from glow_deploy.artifact.files import open_regular
from glow_deploy.errors import UsageError
from glow_deploy.verify.report.verification import SCHEMA_VERSION

from .fields import Fields
from .rows import Row, read_rows

__all__ = ["Baseline", "Identity", "ImageSet", "Machine", "parse_report", "read_baseline"]

_LIMIT = 16 << 20  # bytes; six backends on two sets of images take half a million
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PRECISION = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which trained model, in which form: figures of another say nothing about this one.

    Attributes:
        model_id: sha256 over the model's config and weights.
        weights: `ema` or `raw`.
        precision: of the graphs.
        n_bits: of the pixels.
    """

    model_id: str
    weights: str
    precision: str
    n_bits: int

    @classmethod
    def of(cls, manifest: Manifest) -> Identity:
        """That of a bundle."""
        return cls(
            model_id=manifest.model_id,
            weights=manifest.weights,
            precision=manifest.precision,
            n_bits=manifest.n_bits,
        )

    def differences(self, other: Identity) -> tuple[str, ...]:
        """What differs, each as `precision fp32, not mixed` with the value of `self` first."""
        names = ("model_id", "weights", "precision", "n_bits")
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        return tuple(f"{name} {str(a)[:12]}, not {str(b)[:12]}" for name, (a, b) in pairs.items() if a != b)


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images that figures were measured on: how many, from where in words."""

    source: str
    n: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a backend ran on.

    Attributes:
        used: it took part.
        reason: why it did not, else empty.
        provider: of its decoder; empty where it did not take part.
        device: likewise.
        versions: package -> version, likewise.
    """

    used: bool
    reason: str = ""
    provider: str = ""
    device: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The figures of one verification.

    Attributes:
        file: where they were read, for messages.
        identity: of the bundle that was verified.
        image_sets: by name.
        files: sha256 of the bundle's files, by name.
        machines: what every backend ran on, by backend.
        rows: by name.
    """

    file: str
    identity: Identity
    image_sets: Mapping[str, ImageSet]
    files: Mapping[str, str]
    machines: Mapping[str, Machine]
    rows: Mapping[str, Row]

    def require(self, identity: Identity) -> None:
        """Refuse a bundle of another model.

        Raises:
            UsageError: it differs in the weights, their kind, the precision or the pixel depth.
        """
        differences = self.identity.differences(identity)
        if differences:
            raise UsageError(
                f"{self.file} is no baseline of this bundle: it is of {'; '.join(differences)}: verify the bundle it "
                "was written for, or write a new baseline once you know why they differ"
            )


def read_baseline(path: str | Path) -> Baseline:
    """Read a report that `verify --json` wrote.

    Args:
        path: the file.

    Raises:
        UsageError: it cannot be read, is no such report, or is damaged.
    """
    path = Path(path)
    try:
        with open_regular(path, error=UsageError) as handle:
            data = handle.read(_LIMIT + 1)
    except UsageError as error:
        raise UsageError(f"baseline {error}") from error
    except OSError as error:
        raise UsageError(f"baseline {path} cannot be read: {error.strerror or error}") from error
    if len(data) > _LIMIT:
        raise UsageError(f"baseline {path} is larger than {_LIMIT >> 20} MiB: it is no report of `verify --json`")
    try:
        values = json.loads(data, parse_constant=_refuse_constant)
        return parse_report(values, file=str(path))
    except (ValueError, RecursionError) as error:
        reason = "its lists are nested too deeply" if isinstance(error, RecursionError) else str(error)
        if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)):
            reason = "it is no JSON"
        raise UsageError(
            f"baseline {path} is no report of `verify --json`, or damaged: {reason[:300]}; write it again with "
            "`glow-deploy verify BUNDLE --json FILE`"
        ) from error


def parse_report(values: object, *, file: str) -> Baseline:
    """Take the figures out of a parsed JSON report.

    Args:
        values: of `VerifyReport.to_dict`, or parsed from its JSON.
        file: where they come from, for messages.

    Raises:
        ValueError: an entry is missing or malformed; the message names it.
    """
    report = Fields(values)
    if report.text("schema") != "glow_deploy.verify":
        raise ValueError("schema is not glow_deploy.verify")
    version = report.count("schema_version")
    if not 1 <= version <= SCHEMA_VERSION:
        raise ValueError(f"schema_version is {version}, and this release reads 1 to {SCHEMA_VERSION}")
    sets: dict[str, ImageSet] = {}
    for images in report.children("image_sets"):
        if images.text("name") in sets:
            raise ValueError(f"{images.place('name')} is there twice")
        sets[images.text("name")] = ImageSet(source=images.text("source"), n=images.count("n", least=1))
    if not sets:
        raise ValueError("image_sets is empty")
    rows = read_rows(report, first_images=next(iter(sets)))
    for row in rows.values():
        if row.images not in sets:
            raise ValueError(f"{row.name} is of images that image_sets does not list")
        if row.exact is not None and row.exact.images != sets[row.images].n:
            raise ValueError(f"{row.name} counts {row.exact.images} images, and image_sets {sets[row.images].n}")
    files = report.child("bundle").child("files")
    return Baseline(
        file=file,
        identity=_identity(report),
        image_sets=sets,
        files={name: files.text(name) for name in files.names()},
        machines={backend.text("name"): _machine(backend) for backend in report.children("backends")},
        rows=rows,
    )


def _identity(report: Fields) -> Identity:
    bundle = report.child("bundle")
    identity = Identity(
        model_id=bundle.text("model_id"),
        weights=bundle.text("weights"),
        precision=bundle.text("precision"),
        n_bits=report.count("n_bits", least=1, most=8),
    )
    if not _SHA256.fullmatch(identity.model_id):
        raise ValueError("bundle.model_id is no sha256")
    if identity.weights not in ("ema", "raw"):
        raise ValueError("bundle.weights is neither ema nor raw")
    if not _PRECISION.fullmatch(identity.precision):
        raise ValueError("bundle.precision is no name of a precision")
    return identity


def _machine(backend: Fields) -> Machine:
    if not backend.flag("used"):
        return Machine(used=False, reason=backend.text("reason"))
    facts = backend.child("decoder")
    versions = facts.child("versions")
    return Machine(
        used=True,
        provider=facts.text("provider"),
        device=facts.text("device"),
        versions={name: versions.text(name) for name in versions.names()},
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which JSON does not have")
