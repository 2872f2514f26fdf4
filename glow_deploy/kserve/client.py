"""A client of the Open Inference Protocol over HTTP: bounded in time and size, and every trouble one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np

from glow_deploy.errors import DataError, EngineError, MissingDependencyError
from glow_deploy.printable import one_line

from .address import Address
from .tensors import HEADER, pack, unpack
from .whole_time import timed_pool

__all__ = ["KServeClient"]

_CONNECT = 5.0  # seconds
_MOST_DESCRIPTION = 4 << 20  # bytes of an answer that is no inference
_MOST_ANSWER = 2 << 30
_LONGEST_NUMBER = 32  # bytes, in JSON
_PIECE = 1 << 20


class KServeClient:
    """Connections to one server, which are kept. May be used by several threads; a context manager.

    Args:
        address: of the server.
        timeout: seconds for a whole answer, from the connection to the last byte.

    Raises:
        MissingDependencyError: urllib3 is not installed.
    """

    def __init__(self, address: Address, *, timeout: float = 60.0) -> None:
        try:
            self._pool = timed_pool(maxsize=64, retries=False)
        except ImportError as error:
            raise MissingDependencyError(
                f"asking {address.host} needs urllib3: install it with `pip install 'glow-deploy[serving]'`"
            ) from error
        self._address = address
        self._timeout = timeout
        self._binary: bool | None = None

    def server(self) -> dict[str, Any]:
        """What the server says about itself: `name`, `version`, `extensions`."""
        return self._get("/v2") or {}

    def model(self, name: str) -> dict[str, Any] | None:
        """What the server says about a model: `inputs`, `outputs`, `platform`; None where it has no such model."""
        return self._get(f"/v2/models/{quote(name, safe='')}", missing=True)

    def config(self, name: str) -> dict[str, Any] | None:
        """A model's configuration, from servers with Triton's extension for it; None from others."""
        return self._get(f"/v2/models/{quote(name, safe='')}/config", missing=True)

    def ready(self) -> bool:
        """Tell whether the server answers requests; one that cannot be reached is an error."""
        status, _, _ = self._ask("GET", "/v2/health/ready", most=_MOST_DESCRIPTION)
        return bool(status == 200)

    def infer(
        self,
        name: str,
        tensors: Mapping[str, np.ndarray],
        *,
        parameters: Mapping[str, Any] | None = None,
        values: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Run a model.

        Tensors travel as bytes where the server has the extension for that, else as JSON.

        Args:
            name: of the model.
            tensors: its inputs.
            parameters: of the request.
            values: numbers that the answer holds at most, which bounds what is read; None for any that memory may hold.

        Returns:
            Its outputs by name.

        Raises:
            EngineError: the server is gone, took too long, refused the request, or its answer is none.
        """
        if self._binary is None:
            told = self.server().get("extensions", [])
            self._binary = isinstance(told, list) and "binary_tensor_data" in told
        given = {"binary_data_output": True} if self._binary else {}
        given |= parameters or {}
        others = {"parameters": given} if given else {}
        body, length = pack(tensors, side="inputs", binary=self._binary, **others)
        headers = {"Content-Type": "application/json" if length is None else "application/octet-stream"}
        if length is not None:
            headers[HEADER] = str(length)
        path = f"/v2/models/{quote(name, safe='')}/infer"
        most = _MOST_ANSWER if values is None else min(_MOST_ANSWER, _MOST_DESCRIPTION + values * _LONGEST_NUMBER)
        status, told_length, data = self._ask("POST", path, most=most, body=body, headers=headers)
        if status != 200:
            raise EngineError(f"{self._where(name)} refused the request: {_reason(status, data)}")
        try:
            return unpack(data, told_length, side="outputs").tensors
        except DataError as error:
            raise EngineError(f"{self._where(name)} answered what the protocol does not allow: {error}") from None

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def __enter__(self) -> KServeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _where(self, name: str) -> str:
        return f"{name} at {self._address.host}"

    def _get(self, path: str, *, missing: bool = False) -> dict[str, Any] | None:
        status, _, data = self._ask("GET", path, most=_MOST_DESCRIPTION)
        # Triton says 400 of a model that it does not have, others 404.
        if missing and status in (400, 404, 405, 501):
            return None
        if status != 200:
            raise EngineError(f"{self._address.host}{path} answers {_reason(status, data)}")
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise EngineError(
                f"{self._address.host} does not speak the Open Inference Protocol: {path} is no JSON object; is this "
                "the port for HTTP?"
            )
        return found

    def _ask(
        self, method: str, path: str, *, most: int, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, int | None, bytes]:
        """Ask, and return the status, the length of the JSON where bytes follow it, and the body."""
        import urllib3

        host = self._address.host
        late = EngineError(f"{host} did not answer within {self._timeout:g} seconds ({method} {path})")
        with self._pool.within(self._timeout) as time:
            try:
                status, told, data = self._exchange(method, path, most, body, headers)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise late if time.over else self._trouble(error, late, f"({method} {path})") from None
            if time.over:  # an answer without a length ends where the connection does
                raise late
        length = int(told) if told.isascii() and told.isdecimal() and len(told) <= 12 else None
        return status, length, data

    def _exchange(
        self, method: str, path: str, most: int, body: bytes | None, headers: dict[str, str] | None
    ) -> tuple[int, str, bytes]:
        import urllib3

        answer = self._pool.request(
            method,
            self._address.url + path,
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(connect=min(_CONNECT, self._timeout), read=self._timeout),
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        data = bytearray()
        try:
            for piece in answer.stream(_PIECE):
                data += piece
                if len(data) > most:
                    raise EngineError(f"{self._address.host}{path} answers more than {max(1, most >> 20)} MiB")
        except BaseException:
            answer.close()  # what is left of it would be taken for the next answer
            raise
        answer.release_conn()
        return answer.status, answer.headers.get(HEADER, ""), bytes(data)

    def _trouble(self, error: Exception, late: EngineError, asked: str) -> EngineError:
        import urllib3

        host = self._address.host
        match error:
            case urllib3.exceptions.NewConnectionError():  # urllib3 counts refused connections as timeouts
                return EngineError(f"{host} cannot be reached: {_kind(error)}; is a server running there?")
            case urllib3.exceptions.TimeoutError() | TimeoutError():
                return late
            case urllib3.exceptions.ProtocolError() if "BadStatusLine" in repr(error):
                return EngineError(f"{host} does not speak HTTP; is this the port for it, 8000 of Triton?")
            case urllib3.exceptions.ProtocolError():
                return EngineError(f"{host} broke off: {_kind(error)} {asked}")
        return EngineError(f"{host} cannot be reached: {_kind(error)}; is a server running there?")


def _kind(error: BaseException) -> str:
    """What the system says, without the objects that urllib3 wraps it in."""
    inner: Any = error
    for _ in range(4):
        behind = [part for part in inner.args if isinstance(part, BaseException)]
        inner = getattr(inner, "reason", None) or inner.__cause__ or next(iter(behind), inner)
        if isinstance(inner, str):
            return one_line(inner, longest=160)
    words = getattr(inner, "strerror", None) or str(inner)
    return one_line(words, longest=160)


def _reason(status: int, data: bytes) -> str:
    try:
        found = json.loads(data[:_MOST_DESCRIPTION])
        words = found["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"HTTP {status}"
    return f"{one_line(str(words), longest=300)} (HTTP {status})"
