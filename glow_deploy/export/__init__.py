"""From a trained checkpoint to a bundle. Exporting needs torch.

Light to import, because `glow_deploy` itself imports it: what exports is loaded when it is first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from glow_deploy.arguments import as_path
from glow_deploy.settings import settings_of

from .settings import ExportOptions, ExportSettings, Precision

if TYPE_CHECKING:
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.progress import StageProgress

__all__ = ["ExportOptions", "ExportSettings", "Precision", "default_bundle_path", "export"]


def default_bundle_path(checkpoint: str | Path) -> Path:
    """Return where a checkpoint's bundle goes if nothing else is said: `<stem>-bundle` in the current folder."""
    return Path(f"{Path(checkpoint).stem}-bundle")


def export(
    checkpoint: str | Path,
    *,
    out: str | Path | None = None,
    settings: ExportSettings | None = None,
    progress: StageProgress | None = None,
    **options: Unpack[ExportOptions],
) -> Bundle:
    """Export a trained Glow as encoder and decoder graphs, with golden vectors and a manifest.

    The graphs are run in ONNX Runtime at batch 1, 2 and 3 and on perturbed images, and compared with the float64 model,
    before anything is written.

    Args:
        checkpoint: a file, as training or `glow_core.save_checkpoint` writes it; or one of another project that there
            is a reader for, built in or installed as a plug-in.
        out: the bundle folder; by default `<checkpoint's stem>-bundle` in the current folder.
        settings: what to export and how; or the same as keyword arguments.
        progress: told the stages.
        **options: see below.

    Options:
        precision="fp32": of the graphs: `fp32`, `mixed` (the conditioners' convolutions in float16), `bf16-mixed` (in
            bfloat16), `auto` (in float16 as many as keep the round trip within `tolerance`), `fp16` (all, for decoding
            only) or `exact` (integers, the same bits on every backend, for additive models).
        tolerance=None: with `auto`: the largest error of x -> z -> x in pixel steps; None is 0.5.
        images=None: with `auto`: calibration images, at least 256, which None stands for.
        confidence=None: with `auto`: how sure the bound is that they give, from 0.5 to below 1; None is 0.95.
        io="float32": `uint8` also writes graphs that take and give 8-bit pictures [N,C,H,W]; `uint8-nhwc` [N,H,W,C].
            With `exact`, `uint8-int32` and `uint8-nhwc-int32`: their latents are int32 as well.
        opset=None: operator set of the graphs, 13 to 20, for older runtimes; None is 20, or 22 with bfloat16.
        ir_version=None: version of the files, 7 to 10, likewise; None is that of the ONNX release of `opset`.
        bits=None: with `exact`: bits of the conditioners' weights and activations, 4 to 11, or "auto"; None is 8.
        band=None: with `bits="auto"`: what bits/dim may grow by; None is 0.005.
        native=None: with `exact`: `bf16` or `fp16` for hidden convolutions in 16 bit, `bf16-carried` or `fp16-carried`
            for the same integers in float32; None is float32 throughout.
        data=None: where golden images come from: a folder, an .npz file, `faces`, ...; None takes those that the
            checkpoint carries, or the model's own samples.
        golden=64: golden images at most; None for none.
        resize=False: crop and resample images of `data` that are of another size, and lay transparency over white.
        skip_unreadable=False: leave out pictures of `data` that cannot be read.
        reading=None: what the files of `data` do not say about their values, a `Reading`.
        weights="ema": `ema`, the averaged weights where there are any; or `raw`, as trained.
        options=None: `glow_core.ImportOptions`: what another project's checkpoint does not say of its model.
        force=False: replace a bundle that is there, and write one even if the model was judged not to be invertible.

    Returns:
        The bundle written.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        UnsoundModelError: the graphs or the model itself do not round-trip; nothing is written unless `force` is on.
        UsageError: the target folder cannot be used, or an option is unknown, of the wrong kind or out of range.
        DataError: the golden images do not fit the model.
        MissingDependencyError: torch is not installed.
    """
    from .run import run_export

    chosen = settings_of(settings, options, ExportSettings, caller="export", others=("out", "progress"))
    path = as_path("checkpoint", checkpoint)
    target = default_bundle_path(path) if out is None else as_path("out", out)
    return run_export(path, target, settings=chosen, progress=progress)
