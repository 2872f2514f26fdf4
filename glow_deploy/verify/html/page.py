"""The report as one HTML file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from glow_deploy.artifact.files import atomic_write, refuse_folder
from glow_deploy.artifact.folders import check_writable
from glow_deploy.errors import MissingDependencyError, UsageError
from glow_deploy.verify.report.verification import VerifyReport

__all__ = ["check_report_target", "write_html"]


def check_report_target(path: Path) -> None:
    """Find out before minutes of work that the page cannot be made or written.

    Raises:
        UsageError: the name is not that of a page, a folder lies in the way, the folder is missing, or nothing can be
            written there.
        MissingDependencyError: jinja2 is not installed.
    """
    refuse_folder(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{path}: a report is a page; give it a name that ends in .html")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder to put {path.name} in; create it or name another file")
    check_writable(path.parent)
    if importlib.util.find_spec("jinja2") is None:
        raise MissingDependencyError("an HTML report needs jinja2: install it with `pip install 'glow-deploy[report]'`")


def write_html(report: VerifyReport, path: str | Path) -> None:
    """Write a report as one HTML file that needs no other file and no network; an earlier file is replaced whole.

    Args:
        report: of `verify`.
        path: of the file.

    Raises:
        UsageError: it cannot be written.
        MissingDependencyError: jinja2 is not installed.
    """
    from . import render_report

    pictures = [image for cell in report.cells for image in cell.worst]
    atomic_write(Path(path), render_report(report.to_dict(), pictures=pictures).encode())
