"""`glow-deploy project`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..common.console import Output
from ..common.engines import Flavor
from ..common.inverse import (
    BundleOption,
    Ckpt,
    Over,
    PriorWeight,
    Steps,
    Truth,
    Weights,
    check_picture,
    cost,
    deployed_bits_per_dim,
    need_torch,
    one_class,
)
from ..common.memory import keep_freed_memory
from ..common.openmp import wait_briefly
from ..common.options import (
    Device,
    ImageSize,
    InputRange,
    Json,
    NBits,
    Quiet,
    Resize,
    ScaleMap,
    Threads,
    TrustEngine,
    import_options,
)


def project(
    ckpt: Ckpt,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A noisy, damaged or foreign picture.")],
    noise: Annotated[
        float,
        typer.Option(
            metavar="SIGMA",
            min=1e-6,
            max=10.0,
            help="Standard deviation of what is wrong with each value, where 1 is from black to white: the larger, the "
            "farther the result may lie from IMAGE.",
        ),
    ] = 0.05,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.png", help="The result.")] = Path("projected.png"),
    compare: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Also the picture before and after, and the truth, side by side."),
    ] = None,
    over: Over = "latents",
    prior_weight: PriorWeight = 1.0,
    steps: Steps = 200,
    truth: Truth = None,
    bundle: BundleOption = None,
    flavor: Flavor = "onnx",
    classes: Annotated[
        str | None, typer.Option("--class", metavar="Y", help="For class-conditional models: the picture's class.")
    ] = None,
    resize: Resize = False,
    device: Device = "auto",
    weights: Weights = "ema",
    image_size: ImageSize = None,
    n_bits: NBits = None,
    input_range: InputRange = None,
    scale_map: ScaleMap = None,
    threads: Threads = None,
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Bring a noisy, damaged or foreign picture to the nearest one that the model finds likely.

    Needs torch, for the model's gradient. The likeliest latent (or, with --over pixels, the likeliest image) is sought
    whose picture differs from IMAGE by noise of the size told.
    """
    wait_briefly()
    keep_freed_memory()
    need_torch()
    import numpy as np

    from glow_deploy.engines.pytorch_gradient import open_model_gradient
    from glow_deploy.images import caption_columns, grid, read_picture, write_png
    from glow_deploy.inverse import ProjectSettings, psnr
    from glow_deploy.inverse import project as bring

    output = Output(quiet=quiet, json=json)
    check_picture("--out", out)
    if compare is not None:
        check_picture("--compare", compare)
    chosen = one_class(classes, 1)
    settings = ProjectSettings(noise=noise, prior=prior_weight, over=over, steps=steps)
    model = open_model_gradient(
        ckpt,
        device=device,
        threads=threads,
        weights=weights,
        options=import_options(
            image_size=image_size, n_bits=n_bits, input_range=input_range, scale_map=scale_map
        ).to_dict(),
    )
    channels, height, width = next(spec.shape for spec in model.encoder.inputs if spec.name == "x")
    size = (height, width)
    values = read_picture(image, size=size, channels=channels, resize=resize)
    true = None if truth is None else read_picture(truth, size=size, channels=channels, resize=resize)
    with output.progress() as bars:
        found = bring(model, values[None], settings=settings, labels=chosen, progress=bars.counter("optimising"))
        deployed, engine = None, ""
        if bundle is not None:
            deployed, engine = deployed_bits_per_dim(
                bundle,
                model,
                found.values,
                labels=chosen,
                draws=settings.draws,
                seed=settings.seed,
                flavor=flavor,
                device=device,
                threads=threads,
                trust_engine=trust_engine,
            )
    write_png(out, found.values[0])
    if compare is not None:
        cells = [values, found.values[0], *([] if true is None else [true])]
        words = ["given", "projected", "truth"][: len(cells)]
        write_png(compare, caption_columns(grid(np.stack(cells), columns=len(cells)), words))
    ratios = None if true is None else (float(psnr(values, true)), float(psnr(found.values[0], true)))
    details = model.encoder.details
    output.write_json(
        {
            "out": out,
            "image": image,
            "noise": noise,
            "over": over,
            "class": None if chosen is None else chosen[0],
            "backend": details.backend,
            "device": details.device,
            "distance": float(found.distance[0]),
            "bits_per_dim_before": float(found.before[0]),
            "bits_per_dim_after": float(found.after[0]),
            "bits_per_dim_deployed": None if deployed is None else float(deployed[0]),
            "psnr_before": None if ratios is None else ratios[0],
            "psnr_after": None if ratios is None else ratios[1],
            "iterations": int(found.steps[0]),
            "converged": bool(found.converged[0]),
            "evaluations": int(found.evaluations[0]),
            "nonfinite": int(found.nonfinite[0]),
            "seconds": found.seconds,
        },
        schema="project",
    )
    output.say(
        f"{image}, over {over}, noise {noise:g}, on {details.backend} ({details.provider}, {details.device}): "
        f"{found.steps[0]} iterations{'' if found.converged[0] else ', all it was given'}"
    )
    output.say(f"bits/dim: {found.before[0]:.4f} before, {found.after[0]:.4f} after")
    if deployed is not None:
        output.say(f"deployed: {deployed[0]:.4f} bits/dim after, on {engine}")
    output.say(f"distance: {found.distance[0]:.4f} rms, where 1 is from black to white")
    if ratios is not None:
        output.say(f"against the truth: {ratios[0]:.2f} dB before, {ratios[1]:.2f} dB after")
    output.say(cost(found.seconds, int(found.evaluations[0]), int(found.nonfinite[0])))
    output.say(f"wrote {out}" + ("" if compare is None else f" and {compare}"))
