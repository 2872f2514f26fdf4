"""What the page's script asks for: each answer is JSON, an error `{"error": one line}` with a status of 400 or more."""

from __future__ import annotations

import json
import os
import tempfile
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import DataError, GlowDeployError, UsageError
from glow_deploy.images import png_bytes
from glow_deploy.latents import Latents, save_latents

from .answers import describe_image, describe_model, describe_shown
from .changes import Change, number
from .commands import Source, equivalent_command
from .connections import client_of
from .store import Store
from .uploads import clean_name, read_upload
from .workbench import Opened, Shown, Workbench

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["Endpoints", "answered", "error_answer"]

T = TypeVar("T")
Kept = tuple[Opened, Source]

_MOST_JSON = 64 << 10  # bytes of a request that is no picture
_MOST_WAITING = 64  # requests for the engines; a page has one or two at a time
_UPLOADS = 16  # pictures read into memory at once
_UPLOADS_EACH = 2  # of them, of one client: whoever sends slowly waits for nobody but itself
_SLOWEST = 120.0  # seconds that a picture may take to arrive: a place in memory is not held for ever
_SLOWEST_JSON = 10.0
_PATIENCE = 10.0  # seconds after which a body must have come at this rate, in bytes a second
_LEAST_RATE = 4096
_FORGOTTEN = "the server has forgotten this image, for it keeps only the latest; open it again"


class _RefusedError(Exception):
    """An answer with an error."""

    def __init__(self, status: int, message: str, *, kind: str = "") -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


class Endpoints:
    """The answers, one method each.

    One request at a time runs on the engines. Tabs share the images that were opened last, which only the tab that
    opened one can name.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._images = Store[Kept](items=bench.settings.kept_images, size=bench.settings.kept_bytes)
        self._turn: Any = None
        self._reading: Any = None
        self._uploads: Any = None
        self._uploads_each: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def start(self) -> None:
        """Make the locks, which belong to the event loop that is running."""
        import anyio

        self._turn, self._reading, self._uploads = anyio.Lock(), anyio.Lock(), anyio.Semaphore(_UPLOADS)

    async def model(self, request: Request) -> Response:
        """Tell what is served."""
        return _json(describe_model(self._bench))

    async def golden_picture(self, request: Request) -> Response:
        """One golden image as a PNG file."""
        from starlette.responses import Response

        values = self._bench.golden_values(_whole(request.path_params["index"], "index") or 0)
        return Response(png_bytes(values), media_type="image/png")

    async def upload(self, request: Request) -> Response:
        """Open a picture: the file itself is the body, its name and class are in the address."""
        name = clean_name(request.query_params.get("name", ""))
        label = _whole(request.query_params.get("class"), "class")
        values, notes = await self._read(request, name)

        def work() -> Response:
            return self._open(values, name=name, file=name, label=label, notes=notes)

        return await self._run(request, work, turn=self._turn)

    async def golden(self, request: Request) -> Response:
        """Open one of the bundle's golden images."""
        asked = await _object(request)
        index, label = _whole(asked.get("index"), "index"), _whole(asked.get("class"), "class")
        if index is None:
            raise UsageError("say which golden image: index")

        def work() -> Response:
            values = self._bench.golden_values(index)
            own = self._bench.golden_label(index) if label is None else label
            return self._open(values, name=f"golden image {index}", file=f"golden-{index}.png", label=own)

        return await self._run(request, work, turn=self._turn)

    async def sample(self, request: Request) -> Response:
        """Open what a seed draws, as a picture: its pixels are what is encoded."""
        asked = await _object(request)
        seed, label = _whole(asked.get("seed"), "seed"), _whole(asked.get("class"), "class")
        if seed is None:
            raise UsageError("say which sample: seed")
        temperature = _temperatures(asked.get("temperature", 0.7))
        classes = self._bench.encoder.num_classes
        chosen = seed % classes if label is None and classes is not None else label

        def work() -> Response:
            values = self._bench.sample_values(seed=seed, temperature=temperature, label=chosen)
            return self._open(values, name=f"sample of seed {seed}", file=f"sample-{seed}.png", label=chosen)

        return await self._run(request, work, turn=self._turn)

    async def decode(self, request: Request) -> Response:
        """Decode an image as the sliders stand."""
        (opened, source), change, other = await self._asked(request)

        def work() -> Response:
            shown = self._bench.change(opened, change, other=None if other is None else other[0])
            command = equivalent_command(
                self._bench.path,
                self._bench.settings,
                change,
                image=source,
                other=None if other is None else other[1],
                directions=self._bench.directions,
            )
            return _json(describe_shown(self._bench, opened, shown, change, command=command))

        return await self._run(request, work, turn=self._turn)

    async def latents(self, request: Request) -> Response:
        """Send the latents of what is shown as the .npz file that `glow-deploy decode` takes."""
        from starlette.responses import Response

        (opened, source), change, other = await self._asked(request)

        def work() -> Response:
            shown = self._bench.change(opened, change, other=None if other is None else other[0])
            return Response(_latent_file(shown, source.file), media_type="application/octet-stream")

        return await self._run(request, work, turn=self._turn)

    async def _read(self, request: Request, name: str) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
        """The picture in the body, as the model needs it, and what was done to it.

        Unpacking has a turn of its own: no slider waits for a large picture, and two are never unpacked at once.
        """
        channels, height, width = self._bench.shape
        settings = self._bench.settings
        too_large = f"{name} is larger than {_size(settings.max_upload)}"
        async with self._share(request), self._uploads:
            data = await _body(request, settings.max_upload, too_large, seconds=_SLOWEST)

            def work() -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
                return read_upload(
                    data, name=name, size=(height, width), channels=channels, max_pixels=settings.max_pixels
                )

            return await self._run(request, work, turn=self._reading)

    def _share(self, request: Request) -> Any:
        """The uploads that whoever asks may send at once; forgotten when none is under way."""
        import anyio

        client = client_of(request.client.host if request.client else "")
        share = self._uploads_each.get(client)
        if share is None:
            share = self._uploads_each[client] = anyio.Semaphore(_UPLOADS_EACH)
        return share

    async def _asked(self, request: Request) -> tuple[Kept, Change, Kept | None]:
        """The image, how the sliders stand, and the second image if there is one."""
        asked = await _object(request)
        other = None if asked.get("other") is None else self._kept(asked["other"])
        return self._kept(asked.get("token")), Change.from_json(asked.get("change", {})), other

    def _kept(self, token: Any) -> Kept:
        found = self._images.get(token) if isinstance(token, str) else None
        if found is None:
            raise _RefusedError(410, _FORGOTTEN, kind="forgotten")
        return found

    def _open(
        self,
        values: npt.NDArray[np.uint8],
        *,
        name: str,
        file: str,
        label: int | None,
        notes: tuple[str, ...] = (),
    ) -> Response:
        opened = self._bench.open(values, name=name, label=label)
        source = Source(name=name, file=file, fitted=bool(notes), label=opened.label)
        token = self._images.put((opened, source), size=opened.size)
        return _json(describe_image(self._bench, opened, source, token=token, notes=notes))

    async def _run(self, request: Request, work: Callable[[], T], *, turn: Any) -> T:
        """Run `work` in a thread when its turn comes, unless whoever asked has gone by then."""
        import anyio
        from starlette.requests import ClientDisconnect

        if turn.statistics().tasks_waiting >= _MOST_WAITING:
            raise _RefusedError(503, "too many requests at once; try again in a moment")
        async with turn:
            if await request.is_disconnected():
                raise ClientDisconnect
            return await anyio.to_thread.run_sync(work)


def answered(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Turn whatever an answer raises into one line."""

    async def endpoint(request: Request) -> Response:
        from starlette.requests import ClientDisconnect
        from starlette.responses import Response

        try:
            return await answer(request)
        except _RefusedError as refused:
            return error_answer(str(refused), status=refused.status, kind=refused.kind)
        except GlowDeployError as error:
            status = 400 if isinstance(error, (DataError, UsageError)) else 422
            return error_answer(str(error), status=status)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except MemoryError:
            return error_answer("not enough memory for this", status=500)
        except Exception as error:
            if os.environ.get("GLOW_DEPLOY_DEBUG"):
                traceback.print_exc()
            line = f"{type(error).__name__}: {error}"[:300]
            return error_answer(f"a bug in glow-deploy, please report it: {line}", status=500)

    return endpoint


def error_answer(message: str, *, status: int, kind: str = "") -> Response:
    """Tell what is wrong in one line."""
    line = " ".join(message.split())
    line = line.encode("utf-8", "replace").decode("utf-8")  # it may repeat half a character that JSON asked for
    return _json({"error": line, "kind": kind}, status=status)


def _json(value: dict[str, Any], *, status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(value, status_code=status)


async def _body(request: Request, most: int, message: str, *, seconds: float) -> bytes:
    """Read a body, no farther than `most` bytes and no longer than `seconds`.

    Raises:
        _RefusedError: there is more, or it does not arrive.
    """
    import anyio

    claimed = request.headers.get("content-length", "")
    if claimed.isascii() and claimed.isdecimal() and int(claimed[:20]) > most:
        raise _RefusedError(413, message)
    data = bytearray()
    stream, begun = request.stream(), anyio.current_time()
    try:
        while True:
            # What has come pays for the time that the rest may take.
            allowed = min(seconds, _PATIENCE + len(data) / _LEAST_RATE)
            with anyio.fail_after(begun + allowed - anyio.current_time()):
                chunk = await anext(stream, None)
            if chunk is None:
                break
            data += chunk
            if len(data) > most:
                raise _RefusedError(413, message)
    except TimeoutError:
        raise _RefusedError(408, f"the request did not arrive within {allowed:.0f} seconds; send it again") from None
    return bytes(data)


async def _object(request: Request) -> dict[str, Any]:
    """Read a body that must be a JSON object."""
    try:
        found = json.loads(await _body(request, _MOST_JSON, "the request is too large", seconds=_SLOWEST_JSON))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError("the request must be a JSON object")
    return found


def _whole(value: Any, what: str) -> int | None:
    """A whole number of 0 or more, or None where nothing is given."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
        value = int(value)
    if type(value) is not int or not 0 <= value < 2**63:
        raise UsageError(f"{what} must be a whole number of 0 or more")
    return value


def _temperatures(value: Any) -> float | tuple[float, ...]:
    """A temperature, or one for each level, z1 first."""
    if isinstance(value, list):
        return tuple(number(item, "a temperature") for item in value)
    return number(value, "temperature")


def _size(count: int) -> str:
    return f"{count / (1 << 20):.4g} MB" if count >= 1 << 20 else f"{count / (1 << 10):.4g} kB"


def _latent_file(shown: Shown, file: str) -> bytes:
    latents = Latents(
        z=tuple(z[None] for z in shown.z),
        names=(file,),
        labels=None if shown.label is None else np.array([shown.label], np.int64),
    )
    with tempfile.TemporaryDirectory(prefix="glow-deploy-") as folder:
        path = Path(folder) / "latents.npz"
        save_latents(path, latents)
        return path.read_bytes()
