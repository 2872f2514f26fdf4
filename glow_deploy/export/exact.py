"""Making and examining exact graphs: ranges, widths, proof, and a run against the reference, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from glow_deploy.artifact.exact_figures import ExactFigures
from glow_deploy.errors import UnsoundModelError, UsageError
from glow_deploy.exact.build import BITS, LEAST_BITS, MOST_BITS, Built, build_exact
from glow_deploy.exact.interpret import ExactLatents, ExactModel
from glow_deploy.exact.linear import linear_steps
from glow_deploy.exact.narrow import FORMATS, NarrowNumber
from glow_deploy.exact.proof import prove
from glow_deploy.images import bits_per_dim
from glow_deploy.numerics.statistics import mean_bound
from glow_deploy.protocol import Engine, Role

from .coded import Coded
from .examine import Findings, Report, measure_yardstick
from .products import convolve_by_torch
from .selfcheck import SelfCheck, batch_sizes
from .settings import TYPED, ExportSettings

if TYPE_CHECKING:
    from glow_core import GlowConfig
    from glow_deploy.artifact.bundle_writer import BundleWriter
    from glow_deploy.folding import FoldedGlow

    from .build import WrittenGraph
    from .images import GoldenImages
    from .reference import TrainedReference

__all__ = ["BAND", "Prepared", "examine_exact", "images_wanted", "prepare_exact", "write_exact"]

_MOST_IMAGES, _LEAST_IMAGES = 256, 64
_MOST_WORK = 2e11  # multiplications of all images together, for one way through the model

BAND = 0.005
"""bits/dim that `--bits auto` may cost by default."""

_MOST_OUTSIDE = 0.05
"""Share of images, other than those of the calibration, that may leave the range."""

_CHECKED = 6  # images for the run in ONNX Runtime: batches of 1, 2 and 3
_PIECE = 32
_SEED = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """An exact model and what it costs.

    Attributes:
        built: the integers.
        bits: of the conditioners.
        figures: for the manifest.
    """

    built: Built
    bits: int
    figures: ExactFigures


def images_wanted(config: GlowConfig) -> int:
    """Count the images to ask for: ranges come from the first half, the change of bits/dim from the second.

    There are 256, and for a model that takes long to run on one fewer, down to 64.
    """
    work = 0
    for level in range(1, config.levels + 1):
        height, width = (size >> level for size in config.image_size)
        kept = config.channels << level  # half of the level's channels
        work += config.steps * height * width * config.width * (18 * kept + config.width)
    return max(_LEAST_IMAGES, min(_MOST_IMAGES, int(_MOST_WORK / work)))


def prepare_exact(
    folded: FoldedGlow,
    images: GoldenImages,
    reference: TrainedReference,
    settings: ExportSettings,
    report: Report,
) -> Prepared:
    """Choose ranges and widths on images, prove the bounds, and measure what the integers cost in likelihood.

    Args:
        folded: the trained model.
        images: the first half gives the ranges, the second tells what they cost. With `bits` `auto` the second half
            also chooses the bits, so what it tells is a little too good.
        reference: the trained model, for the float64 likelihood.
        settings: `bits` and `band`.
        report: told the stages.

    Raises:
        UsageError: the model is affine or has no exact graphs, or no width keeps the band.
        UnsoundModelError: a bound does not hold, or too many images leave the range.
    """
    half = max(1, len(images.x) // 2)
    x, y = images.x[half:], None if images.y is None else images.y[half:]
    held_out = len(x)
    if not held_out:
        x, y = images.x, images.y
    noisy = _noisy(x, folded.n_bits)
    report("float64 likelihood")
    trained = reference.code("fp64", noisy, y).log_prob
    report("factoring 1x1 convolutions")
    levels = linear_steps(folded, progress=lambda done, total: report("factoring 1x1 convolutions", done, total))
    automatic = settings.bits == "auto"
    band = BAND if settings.band is None else settings.band
    narrow: NarrowNumber | None = None
    if settings.native is not None:
        narrow = "bf16" if settings.native.startswith("bf16") else "fp16"
    for bits in (
        range(LEAST_BITS, (FORMATS[narrow].bits if narrow else MOST_BITS) + 1) if automatic else (_bits(settings),)
    ):
        stage = f"integers of {bits} bits"
        report(stage)
        built = build_exact(
            folded,
            images.x[:half],
            bits=bits,
            narrow=narrow,
            levels=levels,
            progress=partial(report, stage),
            convolve=convolve_by_torch,
        )
        mean, width, outside = _change(folded, built, noisy, y, trained)
        if not automatic or mean + width <= band:
            break
    else:
        raise UsageError(
            f"with {bits} bits this model still changes by {mean:+.4f} bits/dim (95 % within {width:.4f}), more "
            f"than the band of {band:g}: give a wider band, or export with another precision"
        )
    model = built.model
    if outside > _MOST_OUTSIDE * len(x):
        raise UnsoundModelError(
            f"{outside} of {len(x)} images leave the range in which the integers are proven, which {built.images} "
            "calibration images chose: name more, and more varied, images with data="
        )
    return Prepared(
        built=built,
        bits=bits,
        figures=ExactFigures(
            proof=prove(model),
            bits=bits,
            fraction_bits=model.fraction_bits,
            spacings=model.spacings,
            images=built.images,
            largest=built.largest,
            bits_per_dim_change=mean,
            change_band=width,
            change_images=held_out,
            outside=outside,
        ),
    )


def _bits(settings: ExportSettings) -> int:
    return settings.bits if isinstance(settings.bits, int) else BITS


def _change(
    folded: FoldedGlow, built: Built, x: np.ndarray, y: np.ndarray | None, trained: np.ndarray
) -> tuple[float, float, int]:
    """Return how bits/dim changes on average, within what that is known, and how many images leave the range."""
    run = ExactModel(built.model, convolve=convolve_by_torch)
    parts = [run.encode(x[rows], None if y is None else y[rows]) for rows in _pieces(len(x))]
    found = np.concatenate([part.log_prob for part in parts])
    outside = sum(int((~part.in_range).sum()) for part in parts)
    bits = [bits_per_dim(values, dims=folded.dims, n_bits=folded.n_bits) for values in (found, trained)]
    change = bits[0] - bits[1]
    mean, rms = float(change.mean()), float(np.sqrt((change**2).mean()))
    return mean, mean_bound(mean=mean, rms=rms, n=len(change)) - abs(mean), outside


def write_exact(
    folded: FoldedGlow, prepared: Prepared, writer: BundleWriter, settings: ExportSettings
) -> Mapping[Role, WrittenGraph]:
    """Build both exact graphs and write them.

    Args:
        folded: the trained model.
        prepared: the integers.
        writer: of the bundle.
        settings: how hidden convolutions are typed, what the graphs are written in, and whether graphs of 8-bit
            pictures are written besides.

    Raises:
        UsageError: a graph would not fit in one ONNX file, or cannot be written.
    """
    from glow_deploy.artifact.manifest import DECODER, ENCODER, PICTURE_GRAPHS
    from glow_deploy.artifact.signature import EXACT
    from glow_deploy.exact.decoder import build_exact_decoder
    from glow_deploy.exact.encoder import build_exact_encoder
    from glow_deploy.graphs.describe import describe
    from glow_deploy.graphs.pictures import picture_graph

    from .build import write_one

    model, model_id = prepared.built.model, folded.model_id()
    written: dict[Role, WrittenGraph] = {}
    roles: tuple[Role, ...] = ("encoder", "decoder")
    builders = (build_exact_encoder, build_exact_decoder)
    for role, name, build in zip(roles, (ENCODER, DECODER), builders, strict=True):
        facts = describe(folded, role=role, precision=EXACT, model_id=model_id)
        graph = build(model, metadata=facts, native=settings.native in TYPED, target=settings.target())
        written[role] = write_one(graph, name, writer)
        if settings.io != "float32":
            pictures = picture_graph(graph.to_model(), settings.io)
            writer.write(PICTURE_GRAPHS[roles.index(role)], pictures.SerializeToString(deterministic=True))
    return written


def examine_exact(
    images: GoldenImages,
    reference: TrainedReference,
    graphs: Callable[[], Mapping[Role, WrittenGraph]],
    prepared: Prepared,
    settings: ExportSettings,
    report: Report,
) -> Findings:
    """Run the reference on the golden images, and hold the graphs in ONNX Runtime against it, bit for bit.

    Args:
        images: the golden ones are taken of those that the ranges were not made from, as far as there are so many.
        reference: the trained model, for the yardstick.
        graphs: gives them once they are written.
        prepared: the integers.
        settings: for the number of golden images.
        report: told the stages.

    Raises:
        EngineError: ONNX Runtime cannot run a graph.
    """
    run = ExactModel(prepared.built.model, convolve=convolve_by_torch)
    rows = _golden_rows(run, images, prepared.built.images, max(settings.golden or 0, _CHECKED))
    x, y = images.x[rows], None if images.y is None else images.y[rows]
    report("float32 yardstick")
    double, single = reference.code("fp64", x, y), reference.code("fp32", x, y)
    report("integers of the golden images")
    found = run.encode(x, y)
    x_hat, _ = run.decode(found.z, y)
    problems = []
    outside = int((~found.in_range).sum())
    if outside:
        problems.append(f"{outside} of {len(x)} images leave the range that the integers are proven in")
    elif not np.array_equal(x_hat, x):
        problems.append("the integers do not come back")
    report("checking the graphs in ONNX Runtime")
    engines = _carried(graphs(), prepared) if settings.native in TYPED else graphs()
    check = _check(engines, run, x, y, n_bits=prepared.built.model.n_bits)
    problems += [
        f"{name}: {int(count)} values differ from the integers" for name, count in check.max_errors.items() if count
    ]
    golden = Coded(x=x, z=found.normal, log_prob=found.log_prob, x_hat=x_hat, y=y, integers=found.z)
    return Findings(
        golden=golden,
        yardstick=measure_yardstick(reference, double, single),
        source=images.source,
        check=check,
        exact=prepared.figures,
        problems=problems,
    )


def _golden_rows(run: ExactModel, images: GoldenImages, calibration: int, count: int) -> np.ndarray:
    """Choose images in range, first of those that the ranges were not made from."""
    order = np.concatenate((np.arange(calibration, len(images.x)), np.arange(calibration)))
    order = order[order < len(images.x)][: count + int(_MOST_OUTSIDE * len(images.x))]
    inside = run.encode(images.x[order], None if images.y is None else images.y[order]).in_range
    chosen: np.ndarray = order[inside][:count]
    return chosen if len(chosen) else order[:count]


class _Opens(Protocol):
    def open(self) -> Engine: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class _Twin:
    data: bytes

    def open(self) -> Engine:
        from glow_deploy.artifact.graph_file import read_graph
        from glow_deploy.engines.device import Device
        from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine

        source = "the carried twin"
        graph = read_graph(self.data, source=source)
        return OnnxRuntimeEngine(self.data, graph=graph, device=Device("cpu"), source=source)


def _carried(graphs: Mapping[Role, WrittenGraph], prepared: Prepared) -> Mapping[Role, _Twin]:
    """Build the graphs that give the same integers in float32: ONNX Runtime's CPU has no 16-bit convolution."""
    from glow_deploy.exact.decoder import build_exact_decoder
    from glow_deploy.exact.encoder import build_exact_encoder
    from glow_deploy.graphs.serialize import serialize

    model = prepared.built.model
    return {
        "encoder": _Twin(data=serialize(build_exact_encoder(model, metadata=graphs["encoder"].facts.facts))),
        "decoder": _Twin(data=serialize(build_exact_decoder(model, metadata=graphs["decoder"].facts.facts))),
    }


def _check(
    graphs: Mapping[Role, _Opens], run: ExactModel, x: np.ndarray, y: np.ndarray | None, *, n_bits: int
) -> SelfCheck:
    """Count values that differ, over batches of 1, 2 and 3, noisy images and noise among them."""
    generator = np.random.default_rng(_SEED)
    chosen = np.arange(_CHECKED) % len(x)
    images = x[chosen]
    images[1::3] = _noisy(images[1::3], n_bits)
    images[2] = np.floor(generator.random(images[2].shape) * 2.0**n_bits) / 2.0**n_bits
    labels = None if y is None else y[chosen]
    expected = run.encode(images, labels)
    differing: dict[str, float] = {}
    sizes = batch_sizes(len(images))
    with graphs["encoder"].open() as encoder, graphs["decoder"].open() as decoder:
        first = 0
        for size in sizes:
            part = slice(first, first + size)
            first += size
            batch = _run_encoder(encoder, images[part], None if labels is None else labels[part])
            rows = _rows(expected, part)
            inside = rows.in_range
            for level, (got, want) in enumerate(zip(batch, rows.z, strict=True), start=1):
                name = f"z{level}"
                differing[name] = differing.get(name, 0) + int((got[inside] != want[inside]).sum())
            latents = (("integers", batch, 0.0), ("normal", rows.normal, 1.0))
            for name, z, normal in latents:
                named = {f"z{level}": np.asarray(values, np.float32) for level, values in enumerate(z, start=1)}
                named["as_normal"] = np.full((size, 1, 1, 1), normal, np.float32)
                if labels is not None:
                    named["y"] = labels[part]
                back = decoder.run(named)["x"]
                want = (run.pixels(images[part]) + 2 ** (run.grid_bits - 1)) / 2.0**run.grid_bits
                differing[name] = differing.get(name, 0) + int((back[inside] != want[inside]).sum())
    return SelfCheck(batches=sizes, gates=(), max_errors=differing)


def _run_encoder(engine: Engine, x: np.ndarray, y: np.ndarray | None) -> tuple[np.ndarray, ...]:
    found = engine.run({"x": x} if y is None else {"x": x, "y": y})
    return tuple(found[f"z{level}"] for level in range(1, sum(name[:1] == "z" for name in found) + 1))


def _rows(latents: ExactLatents, rows: slice) -> ExactLatents:
    return ExactLatents(
        z=tuple(part[rows] for part in latents.z),
        normal=tuple(part[rows] for part in latents.normal),
        log_prob=latents.log_prob[rows],
        in_range=latents.in_range[rows],
    )


def _pieces(count: int) -> list[slice]:
    return [slice(first, min(first + _PIECE, count)) for first in range(0, count, _PIECE)]


def _noisy(x: np.ndarray, n_bits: int) -> np.ndarray:
    """Move every value to anywhere in its bin."""
    bins = 2.0**n_bits
    noise = np.random.default_rng(_SEED).random(x.shape)
    moved: np.ndarray = np.minimum((np.floor(x * bins) + noise) / bins, 1 - 2.0**-24).astype(np.float32)
    return moved
