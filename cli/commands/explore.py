"""`glow-deploy explore`."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from ..common.console import Output
from ..common.engines import Flavor
from ..common.options import Device, Json, Quiet, Threads, TrustEngine
from ..common.signals import received_signal

_PORT = 8421


def explore(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="As `export` writes it.")],
    directions: Annotated[
        Path | None,
        typer.Option("--directions", metavar="FILE", help="Of `glow-deploy directions`: sliders for attributes."),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Where to listen; anything but this machine's own is open to others.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 takes any that is free.")] = _PORT,
    open_browser: Annotated[bool, typer.Option("--open", help="Also open the page in a browser.")] = False,
    draws: Annotated[
        int, typer.Option(metavar="N", min=1, help="Dequantisation draws that bits/dim is averaged over.")
    ] = 8,
    flavor: Flavor = "onnx",
    device: Device = "auto",
    threads: Threads = None,
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Serve a local page that shows what a bundle makes of a picture, and decodes live while its latents are changed.

    Without --host pictures stay on this machine; nothing is loaded from elsewhere. Ctrl-C ends it. Needs the extra
    `explore`.
    """
    from glow_deploy.explore import ExploreSettings, create_app
    from glow_deploy.explore.serve import bind, need_uvicorn, page_hosts, page_url, serve

    output = Output(quiet=quiet, json=json)
    need_uvicorn()
    with bind(host, port) as listening:
        hosts, url = page_hosts(host, listening), page_url(listening)
        settings = ExploreSettings(
            flavor=flavor,
            device=device,
            threads=threads,
            trust_engine=trust_engine,
            directions=directions,
            draws=draws,
            hosts=hosts,
        )
        app = create_app(bundle, settings=settings)
        if hosts:
            print(
                f"warning: anyone who can reach this machine on port {listening.getsockname()[1]} can use the page; "
                "it has no password",
                file=sys.stderr,
            )
        output.write_json(
            {"url": url, "bundle": bundle, "directions": directions, "open_to_others": bool(hosts)}, schema="explore"
        )
        output.say(f"{bundle} is at {url} (Ctrl-C ends it)")
        try:
            serve(app, listening, started=(lambda: _open(url)) if open_browser else None)
        except KeyboardInterrupt:
            output.say("ended")
            raise typer.Exit(128 + (received_signal() or signal.SIGINT)) from None


def _open(url: str) -> None:
    """Open a browser, which may take its time or have none to open."""
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
