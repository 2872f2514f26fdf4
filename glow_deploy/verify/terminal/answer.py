"""The answer of a verification, before its tables: one line, then what failed, then the four verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from glow_deploy.verify.report.baseline import BaselineReport
from glow_deploy.verify.report.verification import Failure, VerifyReport

from .layout import styled

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["answer", "answer_line"]

_STYLES = {"sound": "bold green", "unsound": "bold red"}


def answer(report: VerifyReport, *, verbose: bool = False) -> Iterator[Text]:
    """Say the answer, line by line.

    Args:
        report: of `verify`.
        verbose: every failure; else those of one cause are told once and counted.
    """
    sound = report.sound and (report.baseline is None or report.baseline.passed)
    yield styled(answer_line(report), "bold green" if sound else "bold red")
    for failures in _by_cause(report):
        shown = failures if verbose else failures[:1]
        for failure in shown:
            yield styled(f"FAIL {failure}", "red")
        if len(failures) > len(shown):
            yield styled(f"     {_counted(len(failures) - 1, 'more failure')} of the same cause", "red")
    for name, value in report.verdicts.to_dict().items():
        yield styled(f"{name.replace('_', ' ')}: {value}", _STYLES.get(value, ""))


def answer_line(report: VerifyReport) -> str:
    """Return the answer as one line that begins with `sound` or `UNSOUND`."""
    if not report.cells:
        return "UNSOUND: nothing was examined"
    verdicts = report.verdicts
    if not report.sound:
        wrong = [name for name in ("likelihood", "samples") if verdicts.to_dict()[name] == "unsound"]
        parts = ["images do not come back right"] if verdicts.round_trip == "unsound" else []
        wrong += ["weights"] if verdicts.weights == "unsound" else []
        parts += [f"{' and '.join(wrong)} {'is' if wrong == ['likelihood'] else 'are'} wrong"] if wrong else []
        return f"UNSOUND: {'; '.join(parts)}"
    if report.baseline is not None and not report.baseline.passed:
        return f"sound, but {_against(report.baseline)}"
    if verdicts.round_trip == "reported":
        return f"sound for decoding: samples are right ({_images(report)}); the round trip is not judged"
    apart = [name.replace("_", " ") for name, value in verdicts.to_dict().items() if value == "not compared"]
    apart = [name for name in apart if name != "weights"]
    golden = report.image_sets[0].n if report.image_sets else 0
    few = report.outputs is not None and report.outputs < golden
    if apart or few:
        judged = f"outputs of {report.outputs} of {_images(report)}" if few else _images(report)
        rest = f"; not judged: {', '.join(apart)}" if apart else ""
        return f"sound as far as outputs were saved ({judged}){rest}"
    exactly = all(cell.exactness.images_exact == cell.exactness.images for cell in report.cells)
    kept = "exactly" if exactly else "within its limits"
    pairs = len({(cell.encode, cell.decode) for cell in report.cells})
    return f"sound: every image comes back {kept} on {_counted(pairs, 'pair')} of backends ({_images(report)})"


def _images(report: VerifyReport) -> str:
    last = report.image_sets[-1].n if report.image_sets else 0
    sets = " and ".join(f"{images.n:,} {images.name}" for images in report.image_sets)
    return f"{sets} image{'' if last == 1 else 's'}"


def _against(baseline: BaselineReport) -> str:
    if baseline.rises:
        return f"{_counted(len(baseline.rises), 'figure')} rose above the baseline"
    if baseline.missing:
        return f"{_counted(len(baseline.missing), 'row')} of the baseline could not be measured"
    return "nothing could be compared with the baseline"


def _by_cause(report: VerifyReport) -> Iterator[tuple[Failure, ...]]:
    found: dict[tuple[int | None, str], list[Failure]] = {}
    for failure in report.failures:
        found.setdefault((failure.level, failure.cause), []).append(failure)
    yield from map(tuple, found.values())


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
