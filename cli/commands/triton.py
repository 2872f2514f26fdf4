"""`glow-deploy triton`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..common.console import Output
from ..common.options import Force, Json, Quiet


def triton(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder that `export` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The model repository to write.")] = Path(
        "repository"
    ),
    name: Annotated[str, typer.Option(metavar="NAME", help="The models are NAME-encoder, NAME-decoder, ...")] = "glow",
    backend: Annotated[
        Literal["onnxruntime", "tensorrt", "openvino", "python"],
        typer.Option(
            help="Of Triton, for encoder and decoder. tensorrt takes the plans of --flavor tensorrt; python runs "
            "this tool's own engine."
        ),
    ] = "onnxruntime",
    device: Annotated[
        Literal["auto", "cpu", "gpu"], typer.Option(help="auto: GPUs where the server has some.")
    ] = "auto",
    instances: Annotated[int, typer.Option(metavar="N", min=1, help="Of each model, running at the same time.")] = 1,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="CPU threads of an instance.")] = None,
    max_batch: Annotated[int, typer.Option(metavar="N", min=1, help="Rows that requests are joined to.")] = 64,
    delay: Annotated[
        float, typer.Option(metavar="MS", min=0, help="Milliseconds that a request waits for others.")
    ] = 2.0,
    queue: Annotated[int, typer.Option(metavar="N", min=1, help="Waiting requests; more are refused.")] = 4096,
    deadline: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.001, help="A request that waits longer is refused.")
    ] = 30.0,
    force: Force = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Write a bundle as a model repository for Triton Inference Server.

    Five models: NAME-encoder and NAME-decoder with dynamic batching, warmed up with golden inputs; NAME-score and
    NAME-sample, which give the numbers of `score` and `sample` and need this package in Triton's Python; NAME-canary,
    which shows what the server computes in; and for an exact bundle NAME-integers. `verify --backend triton=HOST:PORT`
    judges the running server.
    """
    from glow_deploy.serving import TritonSettings, write_repository

    output = Output(quiet=quiet, json=json)
    settings = TritonSettings(
        name=name,
        backend=backend,
        device=device,
        instances=instances,
        threads=threads,
        max_batch=max_batch,
        delay=delay,
        queue=queue,
        deadline=deadline,
        force=force,
    )
    files = write_repository(bundle, out, settings=settings)
    models = sorted({file.partition("/")[0] for file in files})
    output.write_json(
        {"repository": out, "bundle": bundle, "backend": backend, "models": models, "files": files}, schema="triton"
    )
    output.say(f"wrote {out}/: {', '.join(models)}")
    if backend == "openvino":
        output.say(
            "note: this repository has been run by no Triton with the OpenVINO backend, which fills every batch up to "
            "the largest, 8 rows here at most. It cannot be told to compute in float32, and takes bfloat16 on CPUs "
            "that have it: verify the server before you trust it"
        )
    output.say(f"start it with: tritonserver --model-repository={out.resolve()}")
    output.say(
        f"then: glow-deploy verify {bundle} --backend triton=localhost:8000{'' if name == 'glow' else '/' + name}"
    )
