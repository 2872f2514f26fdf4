"""The files of onnxruntime-web, of one release, known by their sha256.

The package is on the npm registry and not on PyPI. `npm pack` fetches it once, so that registry, proxy and certificates
are those that npm is set up with; where there is no npm, or no network, the caller names a copy. Nothing of it is run
here, and nothing is taken over that is not what this release of glow-deploy was tested with.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from glow_deploy.artifact.files import atomic_write, read_regular, sha256_bytes
from glow_deploy.errors import MissingDependencyError, UsageError
from glow_deploy.printable import one_line

__all__ = ["LICENSE", "RUNTIME_VERSION", "WASM", "WEBGPU", "RuntimeFile", "cache_folder", "web_runtime"]

RUNTIME_VERSION = "1.30.0"
_PACKAGE = f"onnxruntime-web@{RUNTIME_VERSION}"
_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
_MOST = 64 << 20  # bytes of the package as it is packed: 33 MB
_PATIENCE = 600  # seconds for npm

LICENSE = f"""onnxruntime-web {RUNTIME_VERSION}, unchanged. The parts of other projects in it and their licences are
listed in the file ThirdPartyNotices.txt of the ONNX Runtime repository (microsoft/onnxruntime).

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


@dataclass(frozen=True, kw_only=True)
class RuntimeFile:
    """A file of the package: its name in the folder `dist`, its size in bytes and its sha256."""

    name: str
    size: int
    sha256: str


WASM = (
    RuntimeFile(
        name="ort.wasm.bundle.min.mjs",
        size=73_054,
        sha256="11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    ),
    RuntimeFile(
        name="ort-wasm-simd-threaded.wasm",
        size=14_239_897,
        sha256="3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
)
"""The script, and the WebAssembly it runs, on processors."""

WEBGPU = (
    RuntimeFile(
        name="ort.webgpu.bundle.min.mjs",
        size=117_732,
        sha256="0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2",
    ),
    RuntimeFile(
        name="ort-wasm-simd-threaded.asyncify.wasm",
        size=26_781_914,
        sha256="39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
    ),
)
"""Likewise, for graphics processors through WebGPU."""


def web_runtime(
    source: Path | None = None, *, files: Sequence[RuntimeFile] = WASM, fetch: bool = True
) -> Mapping[str, bytes]:
    """Read files of onnxruntime-web, and hold them to their sha256.

    Args:
        source: the package as `npm pack` leaves it (.tgz), or its folder, also inside `node_modules`. None takes the
            cache, and fills it with `npm pack` where it is empty. A cache that cannot be read or written is left out.
        files: which of them.
        fetch: let npm fetch the package where the cache does not hold it.

    Returns:
        Their bytes by name.

    Raises:
        UsageError: `source` holds no such file, or another release's.
        MissingDependencyError: the cache is empty, and npm is not there, or cannot fetch the package.
    """
    if source is not None:
        return _of_folder(source, files) if source.is_dir() else _of_archive(_read_archive(source), files, str(source))
    folder = None
    with suppress(UsageError, OSError, RuntimeError):  # not there yet, not all of it, damaged, not ours, or no home
        folder = cache_folder() / _PACKAGE
        return _of_folder(folder, files)
    if not fetch:
        raise MissingDependencyError(
            f"onnxruntime-web {RUNTIME_VERSION} is not in the cache: `glow-deploy web BUNDLE --out DIR` fetches it "
            "with npm, once"
        )
    found = _of_archive(_fetch(), (*WASM, *WEBGPU), _PACKAGE)
    if folder is not None:
        with suppress(
            UsageError, OSError
        ):  # a cache that cannot be written saves the next fetch, and no more than that
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in found.items():
                atomic_write(folder / name, data)
    return {file.name: found[file.name] for file in files}


def cache_folder() -> Path:
    """Where fetched files are kept: `glow-deploy` in the cache folder that this system has for a user."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    else:
        base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "glow-deploy"


def _of_folder(folder: Path, files: Sequence[RuntimeFile]) -> dict[str, bytes]:
    found = {}
    for file in files:
        place = next((path for path in (folder / file.name, folder / "dist" / file.name) if path.is_file()), None)
        if place is None:
            raise UsageError(
                f"{folder} holds no {file.name}: name the folder of the package onnxruntime-web {RUNTIME_VERSION}"
            )
        found[file.name] = _checked(read_regular(place, most=file.size, error=UsageError), file, str(place))
    return found


def _read_archive(path: Path) -> bytes:
    return read_regular(path, most=_MOST, error=UsageError)


def _of_archive(data: bytes, files: Sequence[RuntimeFile], source: str) -> dict[str, bytes]:
    """Take files out of the package, whose sha512 is known before anything unpacks it."""
    if base64.b64encode(hashlib.sha512(data).digest()).decode("ascii") != _SHA512:
        raise UsageError(
            f"{source} is not the package onnxruntime-web {RUNTIME_VERSION} (its sha512 differs): make it with "
            f"`npm pack {_PACKAGE}`"
        )
    found = {}
    with tarfile.open(fileobj=BytesIO(data), mode="r:gz") as archive:
        for file in files:
            stream = archive.extractfile(f"package/dist/{file.name}")
            content = b"" if stream is None else stream.read(file.size + 1)
            found[file.name] = _checked(content, file, f"{source}: {file.name}")
    return found


def _checked(data: bytes, file: RuntimeFile, source: str) -> bytes:
    if sha256_bytes(data) != file.sha256:
        raise UsageError(f"{source} is damaged, or of another release than onnxruntime-web {RUNTIME_VERSION}")
    return data


def _fetch() -> bytes:
    """Let npm fetch the package into a folder that is gone afterwards; no script of it runs."""
    npm = shutil.which("npm")
    other = f"run `npm pack {_PACKAGE}` on a machine that has both, and name the file with runtime="
    if npm is None:
        raise MissingDependencyError(
            f"onnxruntime-web {RUNTIME_VERSION} is fetched with npm, which is not installed: {other}"
        )
    with tempfile.TemporaryDirectory(prefix="glow-deploy-") as folder:
        words = [npm, "pack", _PACKAGE, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        try:
            done = subprocess.run(
                words, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False, errors="replace"
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MissingDependencyError(
                f"npm cannot fetch {_PACKAGE} ({one_line(error, longest=200)}): {other}"
            ) from None
        found = sorted(Path(folder).glob("*.tgz"))
        if done.returncode or len(found) != 1:
            reason = one_line(done.stderr.strip() or "it left no file", longest=200)
            raise MissingDependencyError(f"npm cannot fetch {_PACKAGE} ({reason}): {other}")
        return _read_archive(found[0])
