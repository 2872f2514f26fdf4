"""From a report to the page."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from importlib import resources
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from glow_deploy.errors import MissingDependencyError, UsageError
from glow_deploy.numerics.worst import WorstImage

from .facts import identity_rows
from .numerics import CellKey
from .regression import baseline_card
from .sections import sections_of
from .verdicts import verdict_cards

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["render_report"]

_FIGURE = re.compile(r"-?\b\d[\d.]*e-\d+\b", re.ASCII)


def render_report(
    report: Mapping[str, Any],
    *,
    pictures: Sequence[WorstImage] = (),
    histograms: Mapping[CellKey, Mapping[str, Any]] | None = None,
    date: str | None = None,
) -> str:
    """Turn the JSON report of a verification into one HTML file that needs no other file and no network.

    Everything in the report is untrusted text and is escaped. The page forbids itself every connection and every
    script but its own (Content-Security-Policy), is whole without scripts, and follows light and dark.

    Args:
        report: as `VerifyReport.to_dict()` gives it; sections that are absent are left out or said to be unmeasured.
        pictures: the worst images of any number of cells.
        histograms: `ErrorHistogram.to_dict()` by (image set, encoder's backend, decoder's backend), for cells whose
            entry in the report carries no `histogram`.
        date: of the run, as it is to be printed; None takes `date` of the report.

    Returns:
        The text of the file; the same arguments give the same text.

    Raises:
        UsageError: the mapping is not a report of a verification.
        MissingDependencyError: jinja2 is not installed.
    """
    if report.get("schema") != "glow_deploy.verify" or not isinstance(report.get("verdicts"), Mapping):
        raise UsageError("this is not a report of `glow-deploy verify --json`; its schema must be glow_deploy.verify")
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingDependencyError(
            "an HTML report needs jinja2: install it with `pip install 'glow-deploy[report]'`"
        ) from error
    environment = Environment(
        loader=PackageLoader("glow_deploy.verify.html", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figures"] = _keep_figures_whole
    style, script = _asset("page.css"), _asset("page.js")
    bundle = report.get("bundle") or {}
    path = str(bundle.get("path") or "")
    text = environment.get_template("page.html").render(
        name=PurePath(path).name or "bundle",
        sound=bool(report.get("sound")),
        cards=(*verdict_cards(report), *([card] if (card := baseline_card(report)) else [])),
        identity=identity_rows(report, date=date if date is not None else _readable(str(report.get("date") or ""))),
        sections=sections_of(report, pictures=pictures, histograms=histograms or {}),
        command=str(report.get("command") or ""),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )
    return text if text.endswith("\n") else text + "\n"


def _keep_figures_whole(text: str) -> Markup:
    """Escape a sentence, and let no line end within `4.0e-7`."""
    from markupsafe import Markup, escape

    return Markup(_FIGURE.sub(r'<span class="whole">\g<0></span>', str(escape(text))))


def _readable(date: str) -> str:
    """Write an ISO 8601 time in UTC shorter; anything else stays as it is."""
    try:
        time = datetime.fromisoformat(date)
    except ValueError:
        return date
    return f"{time:%Y-%m-%d %H:%M} UTC" if time.utcoffset() == timedelta(0) else date


def _asset(name: str) -> str:
    """Read a file that goes into the page as it is."""
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    """Digest by which a Content-Security-Policy names what it allows."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
