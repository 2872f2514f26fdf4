"""`glow-deploy web`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..common.console import Output
from ..common.options import Force, Json, Quiet

_MIB = 1 << 20
_SOURCES = {
    "data": "{n} pictures of the data given at export",
    "checkpoint": "{n} validation images that the checkpoint carried",
    "samples": "{n} samples of the model that the bundle holds",
}


def web(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="As `export` writes it.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder to write.")],
    directions: Annotated[
        Path | None,
        typer.Option("--directions", metavar="FILE", help="Of `glow-deploy directions`: sliders for attributes."),
    ] = None,
    weights: Annotated[
        Literal["float32", "float16"],
        typer.Option(help="float16 halves the download; computed in float32. What it costs is measured and told."),
    ] = "float32",
    webgpu: Annotated[
        bool, typer.Option("--webgpu/--no-webgpu", help="Files for graphics processors too; loaded only where used.")
    ] = True,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR", help="The package onnxruntime-web; without it the cache, which npm fills once."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Heading; without it, the folder's name.")] = None,
    golden: Annotated[
        int, typer.Option(metavar="N", min=0, help="Golden images shown at most; every visitor can load them.")
    ] = 24,
    draws: Annotated[
        int, typer.Option(metavar="N", min=1, help="Dequantisation draws that bits/dim is averaged over.")
    ] = 8,
    force: Force = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Write a folder of static files that runs a bundle in the visitor's browser, on any web server.

    The page is that of `explore`; no picture leaves the browser. onnxruntime-web runs the graphs, in WebAssembly or on
    WebGPU. The golden images of the bundle are published with the page, which may be your own pictures: `--golden 0`
    leaves them out. The page checks its browser with two samples of the model, and shows nothing where that fails.
    """
    from glow_deploy.web import WebSettings, build_site

    output = Output(quiet=quiet, json=json)
    settings = WebSettings(
        weights=weights,
        webgpu=webgpu,
        runtime=runtime,
        directions=directions,
        title=title,
        golden=golden,
        draws=draws,
        force=force,
    )
    with output.progress() as bars:
        site = build_site(bundle, out=out, settings=settings, progress=bars.stage)
    output.write_json(
        {
            "site": site.path,
            "bytes": site.total,
            "files": len(site.files),
            "loads": {"wasm": site.wasm, "webgpu": site.webgpu, "model": site.model},
            "weights": weights,
            "cost": site.cost,
            "golden": site.golden,
            "golden_source": site.golden_source,
        },
        schema="web",
    )
    on_gpu = "" if site.webgpu is None else f", {site.webgpu / _MIB:.1f} MB on WebGPU"
    output.say(f"wrote {site.path}: {len(site.files)} files, {site.total / _MIB:.1f} MB")
    output.say(
        f"a visitor loads {site.wasm / _MIB:.1f} MB before the first picture{on_gpu}; the model is "
        f"{site.model / _MIB:.2f} MB of it"
    )
    if site.cost is not None:
        cost = site.cost
        output.say(
            f"16-bit weights: {cost.bits_change:+.5f} bits/dim on average over {cost.n} golden images, "
            f"{cost.bits_largest:.5f} at most; {cost.exact_images} of {cost.n} come back exactly, of the bundle's own "
            f"graphs {cost.exact_images_before}"
        )
    if site.golden:
        output.say(
            f"every visitor can load {_SOURCES.get(site.golden_source or '', 'golden images').format(n=site.golden)}; "
            "--golden 0 leaves them out"
        )
    output.say(f"look at it: python -m http.server --directory {site.path}, then http://localhost:8000/")
