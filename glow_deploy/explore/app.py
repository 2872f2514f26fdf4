"""The web application: the page's files, and what its script asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from glow_deploy.errors import MissingDependencyError
from glow_deploy.page import INDEX, page_files

from .endpoints import Endpoints, answered, error_answer
from .guard import Guard
from .settings import ExploreSettings
from .workbench import Workbench

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["create_app"]

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def create_app(bundle: str | Path, *, settings: ExploreSettings | None = None) -> Starlette:
    """Open a bundle's engines and make the application that serves them; any ASGI server runs it, once.

    The engines are closed when the server shuts it down. Tabs keep the settings of their own sliders.

    Args:
        bundle: the folder that `export` wrote.
        settings: how to serve it; None for the defaults.

    Raises:
        MissingDependencyError: Starlette is not installed.
        GlowDeployError: the bundle, an engine of it or the file of directions cannot be used.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.routing import Route
    except ImportError as error:
        raise MissingDependencyError(
            "the page needs starlette: install it with `pip install 'glow-deploy[explore]'`"
        ) from error
    settings = settings or ExploreSettings()
    files = {**page_files(), "transport.js": resources.files(__package__).joinpath("page", "transport.js").read_bytes()}
    bench = Workbench(bundle, settings=settings)
    endpoints = Endpoints(bench)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        endpoints.start()
        try:
            yield
        finally:
            bench.close()

    async def page(request: Request) -> Response:
        from starlette.responses import Response

        name = request.url.path.removeprefix("/") or INDEX
        return Response(files[name], media_type=_KINDS[Path(name).suffix])

    return Starlette(
        routes=[
            *(Route("/" if name == INDEX else f"/{name}", page) for name in files),
            Route("/golden/{index}.png", answered(endpoints.golden_picture)),
            Route("/api/model", answered(endpoints.model)),
            Route("/api/image", answered(endpoints.upload), methods=["POST"]),
            Route("/api/golden", answered(endpoints.golden), methods=["POST"]),
            Route("/api/sample", answered(endpoints.sample), methods=["POST"]),
            Route("/api/decode", answered(endpoints.decode), methods=["POST"]),
            Route("/api/latents", answered(endpoints.latents), methods=["POST"]),
        ],
        middleware=[Middleware(Guard, hosts=settings.hosts)],
        exception_handlers={404: _not_there, 405: _not_there},
        lifespan=lifespan,
    )


async def _not_there(request: Request, error: Exception) -> Response:
    return error_answer(f"there is no {request.method} {request.url.path[:60]} here", status=404)
