"""What can be chosen at export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

from glow_deploy.arguments import as_choice, as_flag, as_instance, as_real, as_text, as_whole, settle
from glow_deploy.errors import UsageError

if TYPE_CHECKING:
    from glow_core import ImportOptions
    from glow_core.config import Weights
    from glow_deploy.data.reading import Reading
    from glow_deploy.graphs.target import GraphTarget

__all__ = ["CALIBRATION_IMAGES", "TYPED", "ExportOptions", "ExportSettings", "Io", "Precision"]

CALIBRATION_IMAGES = 256
"""Of `auto`, at least and by default."""

Io = Literal["float32", "uint8", "uint8-nhwc", "uint8-int32", "uint8-nhwc-int32"]

Native = Literal["bf16", "bf16-carried", "fp16", "fp16-carried"]

TYPED: tuple[Native, ...] = ("bf16", "fp16")
"""Of these the graphs hold convolutions of 16-bit numbers."""

Precision = Literal["fp32", "mixed", "bf16-mixed", "auto", "fp16", "exact"]


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Options of `export`.

    Attributes:
        precision: of the graphs. `fp32` is float32 throughout; `mixed` runs the conditioners' convolutions in float16
            and `bf16-mixed` in bfloat16, the trunk in float32; `auto` runs in float16 as many conditioners as keep the
            round trip within `tolerance`; `fp16` runs everything in float16, for decoding only; `exact` computes in
            integers that float32 carries, for additive models.
        tolerance: of `auto`: the largest error of x -> z -> x in pixel steps that any calibration image may have. 0.5,
            the default, gives every pixel of those images back exactly.
        images: of `auto`: how many calibration images, 256 by default and at least. With n of them and a confidence p,
            fewer than 1 - (1 - p)^(1/n) of images like them are beyond the tolerance.
        confidence: of `auto`: how sure that bound is, 0.95 by default.
        io: `uint8` writes besides the graphs of a bundle two that take and give 8-bit pictures [N, C, H, W], for
            programs elsewhere; `uint8-nhwc` [N, H, W, C]. With `-int32` the latents of these graphs are int32, for
            `exact`.
        opset: operator set of the graphs, 13 to 20, for runtimes that know no newer; None for 20, or 22 with bfloat16.
        ir_version: version of the files, 7 to 10, likewise; None for that of the ONNX release of `opset`.
        bits: of `exact`: bits of a conditioner's weights and activations, 4 to 11, 8 by default; or `auto`, the fewest
            that keep the likelihood within `band`.
        band: of `exact` with `bits` `auto`: what bits/dim may grow by, 0.005 by default.
        native: of `exact`: `bf16` and `fp16` type the conditioners' hidden convolutions in bfloat16 or float16, which
            their integers allow; `bf16-carried` and `fp16-carried` give the same integers from convolutions in float32,
            for backends without them.
        data: where golden images come from (a folder, an .npz file, `faces`, ...); None takes those the checkpoint
            carries, or the model's own samples if it carries none.
        golden: how many golden images at most; None for a bundle without golden vectors.
        resize: crop and resample images of `data` that are of another size, instead of refusing them.
        skip_unreadable: leave out pictures of `data` that cannot be read, instead of refusing them all.
        reading: what the files of `data` do not say about their values.
        weights: `ema` exports the averaged weights where there are any, `raw` the weights as trained.
        options: what another project's checkpoint does not say of its model.
        force: replace an existing bundle, and write one even if the model was judged not to be invertible; what was
            found is then in the manifest's `numerics.problems`.

    Raises:
        UsageError: a value is out of range.
    """

    precision: Precision = "fp32"
    tolerance: float | None = None
    images: int | None = None
    confidence: float | None = None
    io: Io = "float32"
    opset: int | None = None
    ir_version: int | None = None
    bits: int | Literal["auto"] | None = None
    band: float | None = None
    native: Native | None = None
    data: str | None = None
    golden: int | None = 64
    resize: bool = False
    skip_unreadable: bool = False
    reading: Reading | None = None
    weights: Weights = "ema"
    options: ImportOptions | None = None
    force: bool = False

    def __post_init__(self) -> None:
        settle(self, as_choice, "precision", choices=get_args(Precision))
        settle(self, as_real, "tolerance", optional=True, above=0)
        settle(self, as_whole, "images", optional=True)
        settle(self, as_real, "confidence", optional=True)
        settle(self, as_choice, "io", choices=get_args(Io))
        settle(self, as_whole, "opset", "ir_version", optional=True, least=1)
        if self.opset is not None or self.ir_version is not None:
            # Says what is wrong with them before a checkpoint is read.
            self.target().versions(bfloat16=self.precision == "bf16-mixed" or self.native == "bf16")
        if self.bits != "auto":
            settle(self, as_whole, "bits", optional=True, least=4, most=11)
        settle(self, as_real, "band", optional=True, above=0)
        settle(self, as_text, "data", optional=True, such_as="faces")
        if self.reading is not None:
            from glow_deploy.data.reading import Reading

            settle(self, as_instance, "reading", kind=Reading)
        settle(self, as_whole, "golden", optional=True, least=1)
        settle(self, as_choice, "weights", choices=("ema", "raw"))
        settle(self, as_flag, "resize", "skip_unreadable", "force")
        if self.options is not None:
            from glow_core.import_options import ImportOptions

            settle(self, as_instance, "options", kind=ImportOptions)
        if self.tolerance is not None and self.precision != "auto":
            raise UsageError(f'a tolerance goes with precision="auto", not with precision="{self.precision}"')
        for name in ("images", "confidence"):
            if getattr(self, name) is not None and self.precision != "auto":
                raise UsageError(f'{name}= goes with precision="auto", not with precision="{self.precision}"')
        settle(self, as_choice, "native", choices=get_args(Native), optional=True)
        if self.native is not None and self.precision != "exact":
            raise UsageError(f'native= goes with precision="exact", not with precision="{self.precision}"')
        if self.io.endswith("int32") and self.precision != "exact":
            raise UsageError(f'io="{self.io}" goes with precision="exact", whose latents are integers')
        if self.bits is not None and self.precision != "exact":
            raise UsageError(f'bits= goes with precision="exact", not with precision="{self.precision}"')
        if self.band is not None and self.bits != "auto":
            raise UsageError('a band goes with precision="exact" and bits="auto"')
        if self.images is not None and self.images < CALIBRATION_IMAGES:
            raise UsageError(
                f"images is {self.images}; a 99th percentile of errors takes at least {CALIBRATION_IMAGES} of them"
            )
        if self.confidence is not None and not 0.5 <= self.confidence < 1.0:
            raise UsageError(f"confidence is {self.confidence}; it must be a number from 0.5 to below 1, such as 0.95")
        if self.golden is None and self.data is not None:
            raise UsageError("data= names golden images, so it cannot go with golden=None")

    def target(self) -> GraphTarget:
        """What the graphs are written in."""
        from glow_deploy.graphs.target import GraphTarget

        return GraphTarget(opset=self.opset, ir_version=self.ir_version)


class ExportOptions(TypedDict, total=False):
    """The fields of `ExportSettings` as keyword arguments."""

    precision: Precision
    tolerance: float | None
    images: int | None
    confidence: float | None
    io: Io
    opset: int | None
    ir_version: int | None
    bits: int | Literal["auto"] | None
    band: float | None
    native: Native | None
    data: str | None
    golden: int | None
    resize: bool
    skip_unreadable: bool
    reading: Reading | None
    weights: Weights
    options: ImportOptions | None
    force: bool
