"""Maps of surprise of `glow-deploy score`: what is normal, the pictures, and a table of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import Bars
from .targets import check_target, open_folder, write_whole

if TYPE_CHECKING:
    from glow_deploy.protocol import Engine
    from glow_deploy.scoring.sources import ScoreSource
    from glow_deploy.scoring.threshold import Threshold

__all__ = ["MapOptions", "MapResult", "write_maps"]

_TABLE = "surprise.csv"
_COLUMNS = ("file", "set", "name", "surprise", "strange", "strange_pixels", "row", "column")


@dataclass(frozen=True, kw_only=True)
class MapOptions:
    """What was asked for.

    Attributes:
        folder: of `--map`; None for no maps.
        patch: of `--patch`; None for the default.
        rate: of `--rate`; None for the default.
        threshold: of `--threshold`, a file.
        save: of `--save-threshold`, a file.
    """

    folder: Path | None
    patch: int | None
    rate: float | None
    threshold: Path | None
    save: Path | None

    def check(self, *, best_class: bool) -> None:
        """Refuse options that do not fit each other, and places that cannot be written.

        Raises:
            UsageError: one of them.
        """
        from glow_deploy.errors import UsageError

        others = {
            "--patch": self.patch,
            "--rate": self.rate,
            "--threshold": self.threshold,
            "--save-threshold": self.save,
        }
        given = [name for name, value in others.items() if value is not None]
        if self.folder is None:
            if given:
                raise UsageError(f"{given[0]} is about maps: give --map DIR too")
            return
        if self.threshold is not None and len(given) > 1:
            other = next(name for name in given if name != "--threshold")
            raise UsageError(f"--threshold brings what {other} would learn: leave one of them out")
        if best_class:
            raise UsageError("--map needs a class of each picture: give --class a number or labels")
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"--map {self.folder} is a file; name a folder")
        if self.save is not None:
            check_target(self.save)


@dataclass(frozen=True, kw_only=True)
class MapResult:
    """What was found: the threshold, and for each set its pictures and the strange ones among them."""

    threshold: Threshold
    sets: tuple[tuple[str, int, int], ...]

    def facts(self, options: MapOptions) -> dict[str, Any]:
        """For JSON."""
        known = self.threshold
        return {
            "folder": options.folder,
            "patch": known.patch,
            "rate": known.rate,
            "threshold": known.value,
            "normal": {"source": known.source, "n": known.normal, "calibration": known.calibration},
            "sets": [{"name": name, "n": n, "strange": strange} for name, n, strange in self.sets],
        }

    def lines(self, options: MapOptions) -> Sequence[str]:
        """For people."""
        known = self.threshold
        return (
            f"maps: a picture is strange above {known.value:.2f}, as at most {known.rate:.3g} of normal ones are "
            f"(learnt on {known.normal} and {known.calibration} of {known.source})",
            *(f"  {name}: {strange} of {n} strange" for name, n, strange in self.sets),
            f"wrote {options.folder}/ and {_TABLE} in it" + (f", {options.save}" if options.save else ""),
        )


def write_maps(
    encoder: Engine,
    sources: Sequence[ScoreSource],
    held_out: ScoreSource | None,
    options: MapOptions,
    *,
    model_id: str | None,
    batch: int,
    bars: Bars,
) -> MapResult:
    """Learn what is normal or read it, and draw every picture of every set.

    Raises:
        UsageError: there are no held-out images to learn from, or too few.
        DataError: the threshold's file is none, or of another model; or a picture cannot be read.
    """
    from glow_deploy.artifact.files import atomic_write, sync_folder
    from glow_deploy.errors import UsageError
    from glow_deploy.images import png_bytes
    from glow_deploy.scoring.map_picture import map_picture
    from glow_deploy.scoring.maps import check_threshold, learn_threshold, map_source
    from glow_deploy.scoring.surprise import default_patch
    from glow_deploy.scoring.threshold import load_threshold, save_threshold

    assert options.folder is not None
    if options.threshold is not None:
        known = load_threshold(options.threshold)
        check_threshold(known, model_id=model_id, source=str(options.threshold))
    else:
        if held_out is None:
            raise UsageError(
                "--map needs --reference SPEC, held-out normal images, or the --threshold of an earlier run"
            )
        _, height, width = next(spec.shape for spec in encoder.inputs if spec.name == "x")
        known = learn_threshold(
            encoder,
            held_out,
            patch=options.patch or default_patch(height, width),
            rate=0.05 if options.rate is None else options.rate,
            model_id=model_id or "0" * 64,
            batch=batch,
            progress=bars.counter("learning what is normal"),
        )
        if options.save is not None:
            save_threshold(options.save, known)
    open_folder(options.folder)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(_COLUMNS)
    sets = []
    for source in sources:
        number = strange_ones = 0
        for found, maps, strange in map_source(
            encoder, source, known, batch=batch, progress=bars.counter(f"drawing maps of {source.name}")
        ):
            names = found.names or [str(number + index) for index in range(len(strange))]
            for index, name in enumerate(names):
                file = f"{source.name}-{number:05d}.png"
                drawn = map_picture(found.values[index], maps, index, threshold=known.value)
                write_whole(options.folder / file, png_bytes(drawn))
                both = maps.both[index]
                row, column = divmod(int(both.argmax()), both.shape[1])
                figures = (f"{both.max():.6g}", int(strange[index]), int((both > known.value).sum()), row, column)
                rows.writerow((file, source.name, name, *figures))
                number += 1
            strange_ones += int(strange.sum())
        sets.append((source.name, number, strange_ones))
    atomic_write(options.folder / _TABLE, table.getvalue().encode("utf-8", "backslashreplace"))
    sync_folder(options.folder)
    return MapResult(threshold=known, sets=tuple(sets))
