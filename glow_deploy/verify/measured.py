"""Everything that `verify` measures by running images: the matrix, batch sizes and random latents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.signature import EXACT
from glow_deploy.numerics.gates import Rules
from glow_deploy.numerics.yardstick import Yardstick
from glow_deploy.progress import CountProgress, StageProgress
from glow_deploy.verify.backends.backend import REFERENCE, SIMULATED, YARDSTICK, BackendSet
from glow_deploy.verify.matrix.cells import measure_matrix
from glow_deploy.verify.matrix.consistency import SizesToTry, measure_decoder, measure_encoder, used_sizes
from glow_deploy.verify.matrix.images import Images
from glow_deploy.verify.matrix.judge import (
    exactness_expected,
    judge_batches,
    judge_cell,
    judge_reference,
    standard_for,
    without_yardstick,
)
from glow_deploy.verify.matrix.precision import PrecisionRecord
from glow_deploy.verify.matrix.random_latents import measure_random
from glow_deploy.verify.matrix.saved import judge_saved
from glow_deploy.verify.report.rows import BatchReport, CellReport, RandomReport, ReferenceReport
from glow_deploy.verify.report.verification import GOLDEN_SET, ImageSetReport

from .settings import VerifySettings

if TYPE_CHECKING:
    from glow_deploy.offline import SavedOutputs

__all__ = ["Measured"]

_CONSISTENCY_IMAGES = 8


class Measured:
    """What the matrix has measured of a bundle so far, judged.

    Attributes:
        image_sets: those that were run, in order.
        references: each backend against the float64 reference.
        cells: each pair of backends.
        batches: each engine against itself, at other batch sizes.
        random: decodes of latents drawn at random.
        notes: what is reported and not gated, and why.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: VerifySettings,
        backends: BackendSet,
        rules: Rules,
        precision: PrecisionRecord | None,
        saved: SavedOutputs | None,
        progress: StageProgress | None,
    ) -> None:
        self._precision = precision
        self._saved = saved
        self._manifest = bundle.manifest
        self._settings = settings
        self._backends = backends
        self._rules = rules
        self._progress = progress
        self._n_bits = bundle.manifest.n_bits
        self.image_sets: list[ImageSetReport] = []
        self.references: list[ReferenceReport] = []
        self.cells: list[CellReport] = []
        self.batches: list[BatchReport] = []
        self.random: tuple[RandomReport, ...] = ()
        self._used: set[int] = set()  # batch sizes
        self.notes: list[str] = []

    def measure(self, source: Images) -> None:
        """Run the matrix over one set of images and judge it."""
        channels, height, width = self._manifest.image_shape
        # The golden images are judged by what the manifest says, whatever checkpoint is given: that of another model
        # would measure a yardstick as long as its own distance from the references.
        golden = source.name == GOLDEN_SET
        self._used |= set(used_sizes(len(source), batch=self._settings.batch))
        tolerance = None if self._precision is None else self._precision.tolerance
        figures = measure_matrix(
            source,
            self._backends.matrix,
            n_bits=self._n_bits,
            dims=channels * height * width,
            batch=self._settings.batch,
            reference=self._backends.reference,
            yardstick=None if golden else self._backends.yardstick,
            tolerance=tolerance,
            progress=self._stage(f"{len(source)} {source.name} images"),
        )
        yardstick = figures.yardstick or self._stored_yardstick()
        images = ImageSetReport(
            name=source.name,
            source=source.description,
            n=len(source),
            yardstick=yardstick,
            paired=figures.yardstick is not None or (golden and self._kept_all(yardstick, len(source))),
            reference=bool(figures.references),
            own=None if self._precision is None else self._precision.own,
            on_cpu=None if self._precision is None else self._precision.on_cpu,
            tolerance=tolerance,
            beyond=None if self._precision is None or golden else self._precision.beyond,
        )
        self.image_sets.append(images)
        self.references += [
            judge_reference(found, images=images, backend=name, rules=self._rules, n_bits=self._n_bits)
            for name, found in figures.references.items()
        ]
        known = {(cell.encode, cell.decode): cell for cell in self.cells if cell.images == GOLDEN_SET}
        rules, n_bits = self._rules, self._n_bits
        cells = [
            without_yardstick(
                judge_cell(found, images=images, encode=encode, decode=decode, rules=rules, n_bits=n_bits),
                known.get((encode, decode)),
                images=images,
                rules=rules,
                n_bits=n_bits,
            )
            for (encode, decode), found in figures.cells.items()
        ]
        if golden and self._saved is not None and self._saved.images:
            more, references = judge_saved(
                source,
                self._saved,
                self._backends.matrix,
                report=images,
                rules=rules,
                n_bits=n_bits,
                dims=channels * height * width,
                batch=self._settings.batch,
            )
            cells += more
            self.references += references
        self.cells += cells
        self._note_exactness(images)
        if unjudged := sum(cell.unjudged for cell in cells):
            self.notes.append(
                f"{images.name}: {unjudged} of {len(cells)} pairs not judged: every image comes back exactly, but "
                "errors lie beyond what the golden images allow; give --ckpt to measure what the trained model itself "
                "does on these images"
            )
        if self._rules.decode_only:
            self.notes.append(
                f"{images.name}: {self._manifest.precision} graphs are for decoding: round trip and likelihood are "
                "reported, not gated"
            )
        if not images.reference:
            advice = "" if self._manifest.precision == EXACT else " (give --ckpt)"
            self.notes.append(
                f"{images.name}: latents and bits/dim have no float64 reference here{advice}; they were judged on the "
                "golden images"
            )

    def measure_batches(self, source: Images) -> None:
        """Check every engine against itself on the first images of a set."""
        rows = next(source.batches(_CONSISTENCY_IMAGES))
        if self._settings.random_draws:
            self._used |= set(used_sizes(self._settings.random_draws, batch=self._settings.batch))
        step = self._stage("batch sizes")
        backends = self._backends.matrix
        for done, backend in enumerate(backends, 1):
            # PyTorch is what the others are measured with: the small sizes are enough there, and float64 is slow. So
            # is what 16 bit does, simulated: no engine is deployed in it.
            few = backend.name in (REFERENCE, YARDSTICK, SIMULATED)
            used = tuple(sorted(self._used)) if backend.name not in (REFERENCE, YARDSTICK) else ()
            sizes = SizesToTry(used=used, largest=self._settings.largest_batch, few=few)
            encoded = measure_encoder(backend, rows.x, rows.y, sizes=sizes, n_bits=self._n_bits)
            z = backend.encode(rows.x, rows.y).z
            decoded = measure_decoder(backend, z, rows.y, sizes=sizes)
            for role, found in (("encoder", encoded), ("decoder", decoded)):
                self.batches.append(
                    judge_batches(
                        found,
                        backend=backend.name,
                        role=role,
                        images=self.image_sets[0],
                        rules=self._rules,
                        n_bits=self._n_bits,
                    )
                )
            if step is not None:
                step(done, len(backends))

    def measure_random(self) -> None:
        """Decode latents drawn at random."""
        settings = self._settings
        if settings.random_draws == 0:
            return
        self.random = measure_random(
            self._backends.matrix,
            temperatures=settings.temperatures,
            n=settings.random_draws,
            seed=settings.seed,
            batch=settings.batch,
            num_classes=self._manifest.num_classes,
            progress=self._stage("random latents"),
        )

    def _note_exactness(self, images: ImageSetReport) -> None:
        """Say where exact images are not gated, and why."""
        standard = standard_for(images, "simulated" if images.own else "onnxruntime-cpu", rules=self._rules)
        largest = standard.yardstick.x_hat.max
        if self._rules.decode_only or not math.isfinite(largest):
            return
        if exactness_expected(images, standard, n_bits=self._n_bits) is None:
            reason = (
                f"{self._manifest.precision} does not promise them"
                if images.own is not None
                else f"the trained model's own float32 error reaches {largest * 2 ** (self._n_bits + 1):.1%} of half a "
                f"bin on {standard.yardstick.n} images"
            )
            self.notes.append(f"{images.name}: exact images are reported, not gated: {reason}")

    def _kept_all(self, yardstick: Yardstick, n: int) -> bool:
        """The stored yardstick is of the golden images alone; 16-bit exports look at more where few are kept."""
        return self._precision is None or yardstick.n == n

    def _stored_yardstick(self) -> Yardstick:
        levels = len(self._manifest.latent_shapes)
        figures = self._manifest.numerics.yardstick
        return Yardstick.missing(levels=levels) if figures is None else Yardstick.stored(figures)

    def _stage(self, what: str) -> CountProgress | None:
        progress = self._progress
        if progress is None:
            return None
        return lambda done, total: progress(what, done, total)
