"""The model card: what the model is, whether it is sound, how to run it, and under which licence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from glow_deploy._version import __version__
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.printable import shown

if TYPE_CHECKING:
    from glow_deploy.verify.report.verification import VerifyReport

__all__ = ["SAMPLES", "model_card"]

SAMPLES = "samples.png"


def model_card(
    bundle: Bundle,
    report: VerifyReport,
    *,
    repo: str,
    license: str,
    license_name: str | None = None,
    license_link: str | None = None,
    temperature: float,
) -> str:
    """Write README.md: fields for the Hub in its head, then what people read.

    Args:
        bundle: that is described.
        report: of a verification of it.
        repo: `OWNER/NAME`.
        license: identifier of the Hub, such as `mit` or `other`.
        license_name: of a licence that is `other`.
        license_link: to its text.
        temperature: that the samples were drawn at.

    Returns:
        Markdown.
    """
    from glow_deploy.verify.terminal.answer import answer_line

    manifest = bundle.manifest
    model = manifest.model
    channels, height, width = manifest.image_shape
    # JSON's strings are YAML's as well, whatever is in them.
    head = {
        "library_name": "glow-deploy",
        "pipeline_tag": "unconditional-image-generation",
        "license": license,
        **({} if license_name is None else {"license_name": license_name}),
        **({} if license_link is None else {"license_link": license_link}),
        "tags": ["glow", "normalizing-flow", "onnx"],
    }
    classes = "" if manifest.num_classes is None else f", {manifest.num_classes} classes"
    facts = {
        "images": f"{height}x{width}, {'grey' if channels == 1 else 'RGB'}, {manifest.n_bits} bits{classes}",
        "model": f"{model['levels']} levels of {model['steps']} steps, width {model['width']}, "
        f"{_plain(model['coupling'])} coupling, {_plain(model['permutation'])} permutation",
        "precision": _plain(manifest.precision),
        "weights": f"{manifest.weights}, `{manifest.model_id[:16]}`",
        "golden images": _plain(manifest.golden_source or "none"),
    }
    verdicts = {name.replace("_", " "): value for name, value in report.verdicts.to_dict().items()}
    lines = [
        "---",
        *(f"{key}: {json.dumps(value)}" for key, value in head.items()),
        "---",
        "",
        f"# {repo.partition('/')[2]}",
        "",
        "A Glow (Kingma & Dhariwal 2018) as ONNX graphs, encoder and decoder, with golden vectors. Written by "
        f"[glow-deploy](https://github.com/glow-deploy/glow-deploy) {__version__}.",
        "",
        f"![16 samples at temperature {temperature:g}]({SAMPLES})",
        "",
        *_table(("what", ""), facts),
        "",
        "## Is it still an invertible flow?",
        "",
        f"**{answer_line(report)}** (on {', '.join(report_backends(report))}; {report.date}).",
        "",
        *_table(("verdict", ""), verdicts),
        "",
        "Round trip x -> z -> x in pixel steps:",
        "",
        "| encode | decode | images | rms | largest | exact |",
        "| --- | --- | --- | --- | --- | --- |",
        *_pairs(report),
        "",
        "## Use",
        "",
        "```sh",
        "pip install 'glow-deploy[cpu,hub]'",
        f"glow-deploy hub pull {repo} bundle",
        "glow-deploy verify bundle",
        "glow-deploy sample bundle",
        "```",
        "",
        "## Files",
        "",
        *_table(("file", "sha256"), {name: f"`{digest}`" for name, digest in sorted(manifest.files.items())}),
        "",
    ]
    return "\n".join(lines)


def report_backends(report: VerifyReport) -> list[str]:
    """The backends that took part."""
    return [backend.name for backend in report.backends if backend.used]


def _pairs(report: VerifyReport) -> list[str]:
    steps = 2**report.n_bits
    return [
        f"| {cell.encode} | {cell.decode} | {cell.exactness.images} | {cell.x_error.rms * steps:.2g} | "
        f"{cell.x_error.max * steps:.2g} | {cell.exactness.images_exact} |"
        for cell in report.cells
    ]


def _table(title: tuple[str, str], rows: dict[str, str]) -> list[str]:
    return [f"| {title[0]} | {title[1]} |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows.items())]


def _plain(text: object) -> str:
    """A word of the manifest that cannot become anything but text."""
    return "".join(letter for letter in shown(text) if letter.isalnum() or letter in " ._-")
