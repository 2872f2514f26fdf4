"""Running the page on a port of this machine."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from glow_deploy.errors import MissingDependencyError, UsageError

from .connections import Limits, limited_protocol

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["bind", "need_uvicorn", "page_hosts", "page_url", "serve"]

_LINGER = 2  # seconds that answers under way are waited for at the end
_CONNECTIONS = 256


def bind(host: str, port: int) -> socket.socket:
    """Take a port, so that it is known and ours before anything is said about it.

    Args:
        host: a name or an address of this machine.
        port: 0 takes any that is free.

    Returns:
        A listening socket; what connects from now on waits.

    Raises:
        UsageError: the port is taken or not allowed, or the host is not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise UsageError(f'host="{host}" is not known; give a name or an address of this machine') from None
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} is taken; give another port=, or port=0 for any free one") from None
        if error.errno == errno.EACCES:
            raise UsageError(f"port {port} is not allowed; give a port= of 1024 or more") from None
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return found


def page_url(listening: socket.socket) -> str:
    """The address to open in a browser on this machine.

    Examples:
        >>> with bind("127.0.0.1", 0) as listening:
        ...     page_url(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}/"
        True
    """
    host, port = listening.getsockname()[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def page_hosts(host: str, listening: socket.socket) -> tuple[str, ...]:
    """Under which names and addresses the page may be asked for: see `ExploreSettings.hosts`.

    Empty for an address of this machine alone, which nobody else can reach.
    """
    address = ipaddress.ip_address(listening.getsockname()[0].partition("%")[0])
    if address.is_loopback:
        return ()
    return tuple(dict.fromkeys(("*", host.lower(), socket.gethostname().lower(), socket.getfqdn().lower())))


def serve(
    app: Starlette,
    listening: socket.socket,
    *,
    started: Callable[[], Any] | None = None,
    limits: Limits | None = None,
    linger: int = _LINGER,
) -> None:
    """Serve until Ctrl-C, which is raised as `KeyboardInterrupt` once everything is closed.

    Args:
        app: see `create_app`.
        listening: see `bind`; closed at the end.
        started: called once before the first request.
        limits: of a connection; None for the defaults.
        linger: seconds that answers under way are waited for at the end.

    Raises:
        MissingDependencyError: uvicorn is not installed.
    """
    uvicorn = need_uvicorn()
    limits = limits or Limits()
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",  # every error is told on the page
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=limited_protocol(limits),
        ws="none",
        loop="asyncio",
        lifespan="on",
        limit_concurrency=_CONNECTIONS if limits.total is None else None,
        timeout_graceful_shutdown=linger,
    )
    if started is not None:
        started()
    uvicorn.Server(config).run(sockets=[listening])


def need_uvicorn(*, extra: str = "explore") -> Any:
    """Import uvicorn, which the named extra brings.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingDependencyError(
            f"serving needs uvicorn: install it with `pip install 'glow-deploy[{extra}]'`"
        ) from error
    return uvicorn
