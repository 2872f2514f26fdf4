"""Options that more than one command has, spelt once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from glow_core import ImportOptions

__all__ = [
    "SIGNATURE_PANEL",
    "Backends",
    "Batch",
    "CertificateRoot",
    "Checkpoint",
    "Data",
    "Device",
    "Force",
    "Identity",
    "ImageSize",
    "InputRange",
    "Issuer",
    "Json",
    "NBits",
    "PublicKey",
    "Quiet",
    "Resize",
    "ScaleMap",
    "Seed",
    "SkipUnreadable",
    "Threads",
    "TrustEngine",
    "import_options",
    "parse_size",
]

_OTHERS = "Another project's checkpoint: what it does not say"

Backends = Annotated[
    list[str] | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="pytorch-fp64, pytorch-fp32, onnxruntime-cpu, onnxruntime-cuda, tensorrt, tensorrt-rtx, openvino-cpu "
        "(-gpu, -npu, -cpu-default), onnxruntime-web (-node) or simulated; may be repeated. Without it, every one "
        "usable here but OpenVINO and onnxruntime-web.",
    ),
]
Checkpoint = Annotated[
    Path | None, typer.Option("--ckpt", metavar="CKPT", help="The checkpoint the bundle was exported from.")
]
Batch = Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Images run at once; changes no result.")]
Device = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda[:N]", help="Where to run; never a silent fall-back.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there already.")]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="Also write the result as JSON; - for stdout alone.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only, and no progress.")]
Resize = Annotated[
    bool,
    typer.Option(
        "--resize",
        help="Crop, resample and convert what does not fit, and lay transparency over white, instead of refusing it.",
    ),
]
SkipUnreadable = Annotated[
    bool,
    typer.Option("--skip-unreadable", help="Leave out picture files that cannot be read, count them, and list them."),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Sample i depends on (seed, i) alone.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", min=1, help="CPU threads; without it, as many as there are cores."),
]
TrustEngine = Annotated[
    bool,
    typer.Option(
        "--trust-engine", help="Run a plan without a sidecar or with another sha256. A plan is executable code."
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SPEC",
        help="Images: a folder, an .npz, an IDX folder, [b]faces[/b], or [b]hf:OWNER/NAME[/b].",
    ),
]
SIGNATURE_PANEL = "Whose signature the bundle must have"
PublicKey = Annotated[
    Path | None,
    typer.Option("--public-key", metavar="FILE.pem", help="One made with this key.", rich_help_panel=SIGNATURE_PANEL),
]
CertificateRoot = Annotated[
    Path | None,
    typer.Option(
        "--certificate-root",
        metavar="FILE.pem",
        help="One made with a certificate below this one.",
        rich_help_panel=SIGNATURE_PANEL,
    ),
]
Identity = Annotated[
    str | None,
    typer.Option(
        "--identity", metavar="NAME", help="One made with this Sigstore identity.", rich_help_panel=SIGNATURE_PANEL
    ),
]
Issuer = Annotated[
    str | None,
    typer.Option(
        "--issuer", metavar="URL", help="Who vouched for --identity, an OpenID issuer.", rich_help_panel=SIGNATURE_PANEL
    ),
]
ImageSize = Annotated[
    str | None, typer.Option("--image-size", metavar="N|HxW", help="Of its images.", rich_help_panel=_OTHERS)
]
NBits = Annotated[
    int | None,
    typer.Option("--n-bits", metavar="N", min=1, max=8, help="Depth of its pixels.", rich_help_panel=_OTHERS),
]
InputRange = Annotated[
    Literal["unit", "centred"] | None,
    typer.Option("--input-range", help="It was fed images in [0,1), or the same minus 0.5.", rich_help_panel=_OTHERS),
]
ScaleMap = Annotated[
    Literal["sigmoid", "sigmoid_plain", "exp", "sigmoid_inv"] | None,
    typer.Option(
        "--scale-map",
        help="Of its affine couplings: sigmoid(h + 2), or sigmoid(h) for sigmoid_plain; others cannot be taken.",
        rich_help_panel=_OTHERS,
    ),
]


def import_options(
    *,
    image_size: str | None,
    n_bits: int | None,
    input_range: Literal["unit", "centred"] | None,
    scale_map: Literal["sigmoid", "sigmoid_plain", "exp", "sigmoid_inv"] | None,
) -> ImportOptions:
    """Gather what was told about another project's checkpoint.

    Raises:
        UsageError: a size that is none.
    """
    from glow_core import ImportOptions

    return ImportOptions(
        image_size=None if image_size is None else parse_size(image_size),
        n_bits=n_bits,
        input_range=input_range,
        scale_map=scale_map,
    )


def parse_size(text: str) -> tuple[int, int]:
    """Parse `--image-size 32` or `--image-size 48x32` (height x width).

    Raises:
        UsageError: neither.
    """
    from glow_deploy.errors import UsageError

    parts = text.lower().split("x")
    numbers = [part.isascii() and part.isdecimal() and len(part) <= 6 and int(part) > 0 for part in parts]
    if len(parts) > 2 or not all(numbers):
        raise UsageError(f"--image-size is {text[:32]!r}; give a side, such as 32, or height x width, such as 48x32")
    return int(parts[0]), int(parts[-1])
