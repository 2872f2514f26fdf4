"""The Open Inference Protocol (KServe v2) over HTTP, as a web application."""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from glow_deploy.errors import DataError, GlowDeployError, MissingDependencyError
from glow_deploy.explore.guard import Guard
from glow_deploy.kserve import pack, unpack
from glow_deploy.kserve.tensors import HEADER
from glow_deploy.printable import one_line, shown

from .answers import Answers
from .metrics import Metrics
from .service import Service, deadline, server_metadata, trouble_status
from .settings import MOST_JSON, ServeSettings

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["create_app", "longest_body"]

T = TypeVar("T")

_LARGE = 256 << 10  # bytes of a body that is read and written in a thread, where it keeps nobody waiting
_BODIES = 8  # times the largest body: what all requests together may hold
_ANSWERS = 512 << 20  # bytes of answers that all together may hold at least
_PARSED = 24  # times its size: what JSON takes in memory at most, which is a list of empty lists
_PATIENCE, _LEAST_RATE = 10.0, 1 << 16  # seconds after which a body must have come at so many bytes a second
_SLACK = 20.0  # seconds, for a busy machine


class _RefusedError(Exception):
    """An answer with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def create_app(bundle: str | Path, *, settings: ServeSettings | None = None) -> Starlette:
    """Open a bundle's engines and make the application that serves them; any ASGI server runs it, once.

    Args:
        bundle: the folder that `export` wrote.
        settings: how to serve it; None for the defaults.

    Raises:
        MissingDependencyError: a package of the extra `serving` is not installed.
        GlowDeployError: the bundle or an engine of it cannot be used.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.routing import Route
    except ImportError as error:
        raise MissingDependencyError(
            "serving needs starlette: install it with `pip install 'glow-deploy[serving]'`"
        ) from error
    settings = settings or ServeSettings()
    service = Service(bundle, settings=settings, metrics=Metrics())
    service.metrics.watch(service.waiting)
    points = _Endpoints(service)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await service.stop()

    model = "/v2/models/{name}"
    routes = [
        Route("/v2", _answered(points.server)),
        Route("/v2/health/live", _answered(points.alive)),
        Route("/v2/health/ready", _answered(points.ready)),
        Route("/metrics", _answered(points.metrics)),
    ]
    for place in (model, f"{model}/versions/{{version}}"):
        routes += [
            Route(place, _answered(points.model)),
            Route(f"{place}/ready", _answered(points.model_ready)),
            Route(f"{place}/config", _answered(points.config)),
            Route(f"{place}/infer", points.infer, methods=["POST"]),
        ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=settings.hosts, remedy="start it with --allow-host to allow it")],
        exception_handlers={404: _not_there, 405: _other_method},
        lifespan=lifespan,
    )
    app.state.service = service
    return app


def longest_body(settings: ServeSettings) -> float:
    """Seconds after which every body has come, or has been refused with 408."""
    return _PATIENCE + settings.max_body / _LEAST_RATE + _SLACK


class _Endpoints:
    """The answers, one method each."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._held = 0  # bytes of bodies in memory
        space = _BODIES * service.settings.max_body
        self._answers = Answers(space=max(space, _ANSWERS), patience=_PATIENCE, least_rate=_LEAST_RATE)

    async def server(self, _: Request) -> Response:
        """Tell what serves."""
        return _json(server_metadata())

    async def alive(self, _: Request) -> Response:
        """Answer at all."""
        return _json({})

    async def ready(self, _: Request) -> Response:
        """Tell that requests are taken: the engines are open before the port is."""
        return self._readiness()

    async def metrics(self, _: Request) -> Response:
        """Give what was counted."""
        from starlette.responses import Response

        body, kind = self._service.metrics.text()
        return Response(body, headers={"content-type": kind})

    async def model(self, request: Request) -> Response:
        """Tell what a model takes and gives."""
        return _json(self._service.describe(self._named(request)))

    async def model_ready(self, request: Request) -> Response:
        """Tell that a model is there, and takes requests."""
        self._named(request)
        return self._readiness()

    async def config(self, request: Request) -> Response:
        """Tell whose model it is, and how many rows it takes."""
        return _json(self._service.configure(self._named(request)))

    async def infer(self, request: Request) -> Response:
        """Run a model."""
        begun = time.monotonic()
        name = ""

        async def answer() -> Response:
            nonlocal name
            name = self._named(request)
            return await self._infer(request, name)

        response = await _guarded(answer)
        self._service.metrics.answered(name, response.status_code, time.monotonic() - begun)
        return response

    async def _infer(self, request: Request, name: str) -> Response:
        service = self._service
        service.comes(name, request)
        held = 0
        try:
            try:
                body = await self._body(request, name)
                held = len(body) * _weight(request)
                length = _length(request.headers.get(HEADER))
                if length is not None and length > MOST_JSON:
                    raise _RefusedError(413, f"the JSON of a request may have {MOST_JSON >> 10} KiB")
                asked = await _threaded(len(body), lambda: unpack(body, length, side="inputs"))
            finally:
                service.came(name, request)
            until = deadline(asked.parameters, service.settings)
            found = await _while_wanted(request, service.infer(name, asked.tensors, until=until))
        finally:
            self._held -= held
        unknown = [output for output in asked.wanted if output not in found]
        if unknown:
            raise DataError(f"{name} gives {', '.join(found)}, not {shown(unknown[0])}")
        chosen = {output: found[output] for output in asked.wanted or found}
        size = sum(array.nbytes for array in chosen.values())
        self._answers.room(size)
        others = {"model_name": name, "model_version": "1", **({"id": asked.id} if asked.id else {})}
        binary = {output: asked.as_bytes(output) for output in chosen}
        data, split = await _threaded(size, lambda: pack(chosen, side="outputs", binary=binary, **others))
        headers = {"content-type": "application/json" if split is None else "application/octet-stream"}
        return self._answers.response(data, headers if split is None else {**headers, HEADER.lower(): str(split)})

    def _named(self, request: Request) -> str:
        name: str = request.path_params["name"]
        if name not in self._service.names:
            raise _RefusedError(404, f"there is no model {shown(name)}; there are {', '.join(self._service.names)}")
        if request.path_params.get("version", "1") != "1":
            raise _RefusedError(404, f"{name} has version 1 alone")
        return name

    def _readiness(self) -> Response:
        return _json({}) if self._service.ready else _error(503, "an engine takes no more requests; start it again")

    async def _body(self, request: Request, name: str) -> bytes:
        """Read a body, no farther than allowed, nor more slowly, nor into more memory than all may take together."""
        weight, most = _weight(request), self._service.settings.max_body
        space = _BODIES * max(most, _PARSED * min(most, MOST_JSON))
        if weight > 1 and most > MOST_JSON:
            most = MOST_JSON
            words = f"the request is larger than {most >> 10} KiB of JSON; send its tensors as binary data"
        else:
            words = f"the request is larger than {most >> 10} KiB; ask for fewer rows at once"
        too_large = _RefusedError(413, words)
        claimed = request.headers.get("content-length", "")
        if claimed.isascii() and claimed.isdecimal() and int(claimed[:20]) > most:
            raise too_large
        data = bytearray()
        begun = time.monotonic()
        stream = request.stream()
        try:
            while True:
                left = begun + _PATIENCE + len(data) / _LEAST_RATE - time.monotonic()
                async with asyncio.timeout(max(0.0, left)):
                    piece = await anext(stream, None)
                if piece is None:
                    break
                data += piece
                self._service.comes(name, request)
                self._held += len(piece) * weight
                if len(data) > most:
                    raise too_large
                if self._held > space:
                    raise _RefusedError(503, "too many large requests at once; try again in a moment")
        except TimeoutError:
            self._held -= len(data) * weight
            raise _RefusedError(408, "the request arrived too slowly; send it again") from None
        except BaseException:
            self._held -= len(data) * weight
            raise
        return bytes(data)


def _answered(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await _guarded(lambda: answer(request))

    return endpoint


async def _guarded(answer: Callable[[], Awaitable[Response]]) -> Response:
    """Turn whatever an answer raises into one line."""
    from starlette.requests import ClientDisconnect
    from starlette.responses import Response

    try:
        return await answer()
    except _RefusedError as refused:
        return _error(refused.status, str(refused))
    except GlowDeployError as error:
        return _error(trouble_status(error), str(error))
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads it
    except MemoryError:
        return _error(500, "not enough memory for this")
    except Exception as error:
        if os.environ.get("GLOW_DEPLOY_DEBUG"):
            traceback.print_exc()
        return _error(500, f"a bug in glow-deploy, please report it: {type(error).__name__}: {error}")


async def _while_wanted(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Wait for work, and give it up if the client goes.

    Raises:
        ClientDisconnect: it is gone.
    """
    from starlette.requests import ClientDisconnect

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, going = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((working, going), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for task in (working, going):
            task.cancel()
        await asyncio.gather(working, going, return_exceptions=True)


async def _not_there(request: Request, _: Exception) -> Response:
    return _error(404, f"there is no {request.method} {shown(request.url.path)} here")


async def _other_method(request: Request, _: Exception) -> Response:
    return _error(405, f"{shown(request.url.path)} takes no {request.method}")


async def _threaded(size: int, work: Callable[[], Any]) -> Any:
    return work() if size < _LARGE else await asyncio.to_thread(work)


def _weight(request: Request) -> int:
    """How much memory a body takes at most, as a multiple of its size."""
    return 1 if HEADER.lower() in request.headers else _PARSED


def _length(header: str | None) -> int | None:
    if header is None:
        return None
    if not (header.isascii() and header.isdecimal() and len(header) <= 12):
        raise DataError(f"{HEADER} must be a whole number")
    return int(header)


def _error(status: int, message: str) -> Response:
    return _json({"error": one_line(message, longest=500)}, status=status)


def _json(value: Any, *, status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(value, status_code=status)
