"""`glow-deploy serve`."""

from __future__ import annotations

import math
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..common.console import Output
from ..common.engines import Flavor
from ..common.options import Device, Json, Quiet, Threads, TrustEngine
from ..common.signals import received_signal

_PORT = 8000
_EACH, _CONNECTIONS, _SPARE = (
    128,
    512,
    16,
)  # connections of one client, of all, and beyond those for questions of health
_READY = "/v2/health/ready"


def serve(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="As `export` writes it.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="The models are NAME-encoder, NAME-decoder, ...")] = "glow",
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Where to listen; anything but this machine's own is open to others.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 takes any that is free.")] = _PORT,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST", help="Another name that requests may be addressed to, without port. May be repeated."
        ),
    ] = None,
    max_batch: Annotated[int, typer.Option(metavar="N", min=1, help="Rows that requests are joined to.")] = 64,
    delay: Annotated[
        float, typer.Option(metavar="MS", min=0, help="Milliseconds that a batch waits for requests on their way.")
    ] = 2.0,
    queue: Annotated[
        int, typer.Option(metavar="N", min=1, help="Waiting requests of one model; more are refused.")
    ] = 256,
    deadline: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.001, help="A request that takes longer is refused.")
    ] = 30.0,
    max_body: Annotated[float, typer.Option(metavar="MIB", min=0.01, help="The largest request.")] = 64.0,
    flavor: Flavor = "onnx",
    device: Device = "auto",
    threads: Threads = None,
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Serve a bundle over the Open Inference Protocol (KServe v2): encoder, decoder, scoring, sampling.

    HTTP with JSON or binary tensors, as Triton speaks it, from one process: requests that wait are run together.
    /metrics is for Prometheus, /v2/health/ready for whoever starts it. It has no password. SIGTERM or Ctrl-C ends it
    once every request that it has taken is answered. Needs the extra `serving`.
    """
    from glow_deploy.explore.connections import Limits
    from glow_deploy.explore.serve import bind, need_uvicorn, page_hosts, page_url
    from glow_deploy.explore.serve import serve as run
    from glow_deploy.serving import ServeSettings
    from glow_deploy.serving.app import create_app, longest_body

    output = Output(quiet=quiet, json=json)
    need_uvicorn(extra="serving")
    with bind(host, port) as listening:
        hosts, url = page_hosts(host, listening), page_url(listening)
        settings = ServeSettings(
            name=name,
            flavor=flavor,
            device=device,
            threads=threads,
            trust_engine=trust_engine,
            max_batch=max_batch,
            delay=delay,
            queue=queue,
            deadline=deadline,
            max_body=round(max_body * (1 << 20)),
            hosts=(*hosts, *(allow_host or ())),
        )
        app = create_app(bundle, settings=settings)
        limits = Limits(
            body=longest_body(settings), each=_EACH, total=_CONNECTIONS, spare=_SPARE, kept=("/v2/health/live", _READY)
        )
        if hosts:
            print(
                f"warning: anyone who can reach this machine on port {listening.getsockname()[1]} can use the server; "
                "it has no password",
                file=sys.stderr,
            )
        output.write_json({"url": url, "bundle": bundle, "name": name, "open_to_others": bool(hosts)}, schema="serve")
        output.say(f"{bundle} is served at {url}v2/models/{name}-encoder and its like (Ctrl-C ends it)")
        try:
            run(app, listening, limits=limits, linger=math.ceil(deadline))
        except KeyboardInterrupt:
            output.say("ended")
            raise typer.Exit(128 + (received_signal() or signal.SIGINT)) from None
