"""The Hub's own client, its errors made one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from glow_deploy._version import __version__
from glow_deploy.artifact.manifest import DECODER, ENCODER, GOLDEN, MANIFEST
from glow_deploy.artifact.signed import SIGNATURE
from glow_deploy.errors import DataError, MissingDependencyError, UsageError
from glow_deploy.printable import one_line

__all__ = ["FILES", "hub_api", "hub_errors", "need_hub", "repo_name"]

FILES = (MANIFEST, ENCODER, DECODER, GOLDEN, SIGNATURE)
"""What of a bundle goes to the Hub and comes from there. Plans do not: they are executable code for one kind of GPU."""

_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def need_hub() -> Any:
    """Import huggingface_hub.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingDependencyError(
            "the Hub needs huggingface_hub: install it with `pip install 'glow-deploy[hub]'`"
        ) from error
    return huggingface_hub


def hub_api() -> Any:
    """The client, which takes its address and its token from the environment (HF_ENDPOINT, HF_TOKEN) or its login."""
    return need_hub().HfApi(library_name="glow-deploy", library_version=__version__)


def repo_name(name: str) -> str:
    """Take the name of a repository.

    Raises:
        UsageError: it is not OWNER/NAME.
    """
    if not _REPO.fullmatch(name) or ".." in name or "--" in name:
        raise UsageError(f"repository {name[:80]!r}: name it as OWNER/NAME")
    return name


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Turn what the client raises into one line.

    Args:
        what: is done, for the message.

    Raises:
        DataError: the Hub refused, has no such repository, or cannot be reached.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.LocalTokenNotFoundError:
        raise DataError(f"{what}: nobody is logged in; run `hf auth login`, or set HF_TOKEN") from None
    except errors.LocalEntryNotFoundError:
        raise DataError(f"{what}: the Hub cannot be reached, and nothing of it was kept here before") from None
    except errors.RepositoryNotFoundError:
        raise DataError(f"{what}: no such repository, or not for you to see; check the name and HF_TOKEN") from None
    except errors.RevisionNotFoundError:
        raise DataError(f"{what}: there is no such revision") from None
    except errors.EntryNotFoundError as error:
        raise DataError(f"{what}: a file is missing ({one_line(error, longest=120)}); it holds no bundle") from None
    except (errors.HfHubHTTPError, OSError) as error:
        raise DataError(f"{what}: {one_line(error, longest=240)}") from None
    except (errors.HFValidationError, errors.XetDownloadError, RuntimeError) as error:
        raise DataError(f"{what}: {one_line(error, longest=240)}") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2", "requests"):
            raise DataError(f"{what}: the Hub cannot be reached ({one_line(error, longest=160)})") from None
        raise
