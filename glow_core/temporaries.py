"""Temporary files and folders beside what they become: how they are named, and whose they are.

No torch here: `glow_deploy` names and clears up its own by the same rules.
"""

from __future__ import annotations

import glob
import os
import platform
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

__all__ = ["create_new", "host_name", "is_running", "is_temporary", "left_by_the_dead", "temporary_name", "writer_of"]

_NAME = re.compile(
    r"\.(?P<name>.+)\.(?P<host>[A-Za-z0-9-]+)\.(?P<pid>[0-9]{1,19})\.(?P<token>[0-9A-Za-z]+)\.[a-z]+", re.DOTALL
)


def host_name() -> str:
    """This machine's name, without dots: only its own processes can be asked whether they still run."""
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:40] or "host"


def temporary_name(name: str, *, token: str | None = None, suffix: str = ".tmp") -> str:
    """Name what a process makes on the way to `name`, so that a later one can tell whose it is.

    Args:
        name: of the target.
        token: letters and digits that make it the only one; drawn where none is given.
        suffix: a dot and small letters.
    """
    token = secrets.token_hex(4) if token is None else token
    return f".{name}.{host_name()}.{os.getpid()}.{token}{suffix}"


def is_temporary(path: Path, *, suffix: str = ".tmp") -> bool:
    """Whether the name of a file or folder is a `temporary_name`, of whichever machine and target."""
    return path.suffix == suffix and _NAME.fullmatch(path.name) is not None


def writer_of(path: Path) -> str:
    """The process number in a `temporary_name`; empty where there is none."""
    found = _NAME.fullmatch(path.name)
    return "" if found is None else found["pid"]


def is_running(pid: str) -> bool:
    """False where a process of this machine is known to have ended."""
    # Superscripts are digits too, which no number is made of.
    if not (pid.isascii() and pid.isdecimal() and len(pid) < 20) or os.name != "posix":
        return True
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def left_by_the_dead(
    target: Path, *, place: Path | None = None, suffix: str = ".tmp", own: bool = False
) -> Iterator[Path]:
    """Find what processes of this machine that have ended left on the way to `target`.

    What another machine makes on a shared disk is never among it: nobody here can tell whether it is done.

    Args:
        target: a file or folder; its own folder must exist.
        place: where to look; by default in the target's folder.
        suffix: see `temporary_name`.
        own: count what bears this process's number too. An earlier process had the same number, where the caller
            knows that this one makes nothing of that name yet.
    """
    start = f".{target.name}.{host_name()}."
    for left in sorted((target.parent if place is None else place).glob(f"{glob.escape(start)}*{suffix}")):
        pid = writer_of(left)
        rest = left.name.removeprefix(start)
        if rest.count(".") == 2 and pid and rest.startswith(f"{pid}."):  # not what is on the way to a longer name
            ours = own and pid == str(os.getpid())
            if ours or not is_running(pid):
                yield left


def create_new(path: Path) -> None:
    """Make an empty file where there is nothing, not even a link that somebody left under this name.

    Raises:
        FileExistsError: there is something.
        OSError: it cannot be made.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666))
