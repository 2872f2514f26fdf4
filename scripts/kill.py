"""Kill every command that writes, at random instants, and look at what is left.

    python scripts/kill.py --kills 200

After each SIGKILL the target must be the old one, absent, or new and complete. After the last one of a command its next
run must work, and remove what the killed ones left. Exits with 1 and the list of what was found otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

LATE = 0.75  # of a command's time; half of the kills come later, when most of the writing is done
TINY = ("--levels", "1", "--steps", "1", "--width", "8", "--no-tensorboard", "--quiet")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command, what it writes, and how that is looked at.

    Attributes:
        name: for the report.
        words: of the command line.
        target: a file or a folder.
        check: raises where the target is there and not whole.
        fresh: remove the target before each run.
        before: makes what the command needs, before each run.
    """

    name: str
    words: Sequence[str | Path]
    target: Path
    check: Callable[[Path], object]
    fresh: bool = False
    before: Callable[[], object] = lambda: None


def whole_bundle(path: Path) -> None:
    """Every file of a bundle is the one that its manifest tells of."""
    from glow_deploy.artifact.bundle import Bundle

    bundle = Bundle.open(path)
    for name in bundle.manifest.files:
        bundle.file(name)


def whole_plans(path: Path) -> None:
    """No plan beside a sidecar that tells of another."""
    from glow_deploy.artifact.files import sha256_file

    whole_bundle(path)
    for plan in path.glob("*.rtx.trt"):
        sidecar = plan.with_name(f"{plan.name}.json")
        if sidecar.exists() and sha256_file(plan) not in sidecar.read_text():
            raise ValueError(f"{plan.name} is not the plan of its sidecar")


def whole_arrays(path: Path) -> None:
    """Every array of an archive can be read."""
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            archive[name]


def whole_picture(path: Path) -> None:
    """Every pixel can be decoded."""
    from PIL import Image

    with Image.open(path) as image:
        image.load()


def whole_pictures(path: Path) -> None:
    """The same of a folder."""
    for picture in path.glob("*.png"):
        whole_picture(picture)


def whole_checkpoint(path: Path) -> None:
    """All tensors of a checkpoint are there."""
    from glow_core import read_checkpoint

    read_checkpoint(path)


def whole_run(path: Path) -> None:
    """The checkpoint of a run, if it has come to one."""
    if (path / "ckpt.pt").exists():
        whole_checkpoint(path / "ckpt.pt")


def whole_site(path: Path) -> None:
    """Every file is as one of the two sites has it, and each that is named by a digest is that one."""
    from glow_deploy.artifact.files import sha256_file
    from glow_deploy.web.listing import is_as_listed, read_listing

    for name, digests in read_listing(path).items():
        if not is_as_listed(path, name, digests):
            raise ValueError(f"{name} is not there, or not as it was written")
    site = json.loads((path / "site.json").read_text())
    for part in (site["encoder"], site["decoder"], site["runtimes"]["wasm"]["binary"]):
        name, _, digest = part["address"].partition("?")
        if not sha256_file(path / name).startswith(digest):
            raise ValueError(f"{name} is not the file that site.json names")


def whole_repository(path: Path) -> None:
    """A repository for Triton holds the files that it lists, as they were written, and no others."""
    from glow_deploy.artifact.files import sha256_file

    listed = json.loads((path / "glow-deploy.json").read_text())["files"]
    there = {found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file()}
    if there != {*listed, "glow-deploy.json"}:
        raise ValueError("it does not hold the files that it lists")
    for name, digest in listed.items():
        if sha256_file(path / name) != digest:
            raise ValueError(f"{name} is not as it was written")


def whole_shards(path: Path) -> None:
    """Every shard that the index lists is there, as it was written; a torn last line lists none."""
    from glow_deploy.artifact.files import sha256_file

    index = path / "index.jsonl"
    for line in index.read_text().splitlines(keepends=True) if index.exists() else ():
        if line.endswith("\n"):
            told = json.loads(line)
            if sha256_file(path / told["shard"]) != told["sha256"]:
                raise ValueError(f"{told['shard']} is not as the index tells")


def runtime_is_there() -> bool:
    """Whether onnxruntime-web is in the cache, which `web` takes it from."""
    from glow_deploy.engines.web_runtime import web_runtime
    from glow_deploy.errors import MissingDependencyError

    try:
        web_runtime(fetch=False)
    except MissingDependencyError:
        return False
    return True


def cases(place: Path) -> list[Case]:
    """Every command that writes, on the run and the bundle in `place`."""
    run, bundle, picture = place / "run", place / "bundle", place / "faces" / "sample-0000.png"
    ckpt, latents = run / "ckpt.pt", place / "latents.npz"
    targets = {name: place / "out" / name for name in ("new", "a.npz", "a.png", "many", "z.npz", "back", "c.pt")}
    out = place / "out"
    shards = out / "shards"

    def resumable() -> None:
        shutil.rmtree(out / "resumed", ignore_errors=True)
        shutil.copytree(run, out / "resumed")

    def half_done() -> None:
        index = shards / "index.jsonl"
        if index.exists():
            index.write_bytes(b"".join(index.read_bytes().splitlines(keepends=True)[:2]))

    found = [
        Case(name="export", words=["export", ckpt, "--out", targets["new"], "--golden", "4"], target=targets["new"],
             check=whole_bundle, fresh=True),
        Case(name="export --force", words=["export", ckpt, "--out", bundle, "--golden", "4", "--force"], target=bundle,
             check=whole_bundle),
        Case(name="sample, archive", words=["sample", bundle, "-n", "64", "--out", targets["a.npz"]],
             target=targets["a.npz"], check=whole_arrays),
        Case(name="sample, grid", words=["sample", bundle, "--out", targets["a.png"]], target=targets["a.png"],
             check=whole_picture),
        Case(name="sample, folder", words=["sample", bundle, "-n", "400", "--out", targets["many"]],
             target=targets["many"], check=whole_pictures),
        Case(name="encode", words=["encode", bundle, picture, "--out", targets["z.npz"]], target=targets["z.npz"],
             check=whole_arrays),
        Case(name="decode", words=["decode", bundle, latents, "--out", targets["back"]], target=targets["back"],
             check=whole_pictures),
        Case(name="interpolate", words=["interpolate", bundle, picture, picture, "--out", out / "i.png"],
             target=out / "i.png", check=whole_picture),
        Case(name="score", words=["score", bundle, picture, "--out", out / "s.csv"], target=out / "s.csv",
             check=lambda path: path.read_text().endswith("\n") or _fail("cut short")),
        Case(name="bulk", words=["bulk", "sample", bundle, "-n", "200", "--shard-rows", "20", "--format", "npz",
             "--out", shards], target=shards, check=whole_shards, before=half_done),
        Case(name="inpaint", words=["inpaint", ckpt, picture, "--box", "2,2,4,4", "--out", out / "f.png"],
             target=out / "f.png", check=whole_picture),
        Case(name="verify", words=["verify", bundle, "--json", out / "v.json"], target=out / "v.json",
             check=lambda path: json.loads(path.read_text())),
        Case(name="convert", words=["convert", ckpt, "--out", targets["c.pt"], "--force"], target=targets["c.pt"],
             check=whole_checkpoint),
        Case(name="train", words=["train", "--data", "faces", "--out", out / "trained", "--max-steps", "4",
             "--checkpoint-every", "1", "--force", *TINY], target=out / "trained", check=whole_run),
        Case(name="train --resume", words=["train", "--resume", out / "resumed", "--max-steps", "6", "--quiet"],
             target=out / "resumed", check=whole_run, before=resumable),
    ]  # fmt: skip
    words = ["triton", bundle, "--out", out / "repository", "--force"]
    found.append(Case(name="triton --force", words=words, target=out / "repository", check=whole_repository))
    if runtime_is_there():
        words = ["web", bundle, "--out", out / "site", "--no-webgpu", "--force"]
        found.append(Case(name="web", words=words, target=out / "site", check=whole_site, fresh=True))
        found.append(Case(name="web --force", words=words, target=out / "site", check=whole_site))
    if find_spec("tensorrt_rtx") is not None:
        words = ["compile", bundle, "--flavor", "rtx", "--gpu", "sm86", "--force"]
        found.append(Case(name="compile", words=words, target=bundle, check=whole_plans))
    return found


def _fail(words: str) -> None:
    raise ValueError(words)


def glow(words: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    """Start a command."""
    command = [sys.executable, "-m", "glow_cli", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def run_to_the_end(words: Sequence[str | Path]) -> float:
    """Run a command and return its seconds.

    Raises:
        RuntimeError: it failed.
    """
    begun = time.monotonic()
    process = glow(words)
    _, err = process.communicate()
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {err.decode()[-300:]}")
    return time.monotonic() - begun


def prepare(place: Path) -> None:
    """Train a tiny model, export it, and make pictures and latents to work on."""
    run_to_the_end(["train", "--data", "faces", "--out", place / "run", "--max-steps", "2", *TINY])
    run_to_the_end(["export", place / "run" / "ckpt.pt", "--out", place / "bundle", "--golden", "4"])
    run_to_the_end(["sample", place / "bundle", "-n", "4", "--out", place / "faces"])
    pictures = sorted((place / "faces").glob("*.png"))
    run_to_the_end(["encode", place / "bundle", *pictures, "--out", place / "latents.npz"])
    (place / "out").mkdir()


def hidden(place: Path) -> list[Path]:
    """What commands make on the way."""
    return [path for path in place.rglob(".*") if path.suffix in (".tmp", ".unfinished", ".replaced", ".lock")]


def kill_one(case: Case, *, seconds: float, generator: random.Random) -> tuple[str, bool]:
    """Start a command, kill it, and look: returns what is wrong, or nothing, and whether it was killed."""
    if case.fresh:
        shutil.rmtree(case.target, ignore_errors=True)
    there = case.target.exists()
    case.before()
    process = glow(case.words)
    after = generator.uniform(0, seconds) if generator.random() < 0.5 else generator.uniform(LATE, 1.0) * seconds
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    killed = process.returncode == -signal.SIGKILL
    if not case.target.exists():
        return (f"the target is gone after {after:.3f} s" if there else ""), killed
    try:
        case.check(case.target)
    except Exception as error:
        return f"after {after:.3f} s: {type(error).__name__}: {error}", killed
    return "", killed


def main() -> int:
    """Read the arguments and kill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="shared among the commands; 200")
    parser.add_argument("--seed", type=int, default=0, help="of the instants; 0")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    wrong, total, hits = [], 0, 0
    with tempfile.TemporaryDirectory(prefix="glow-kill-") as name:
        place = Path(name)
        prepare(place)
        todo = cases(place)
        for number, case in enumerate(todo):
            case.before()
            seconds = run_to_the_end(case.words)
            share = arguments.kills * (number + 1) // len(todo) - arguments.kills * number // len(todo)
            killed = 0
            for _ in range(share):
                trouble, hit = kill_one(case, seconds=seconds, generator=generator)
                killed += hit
                if trouble:
                    wrong.append(f"{case.name}: {trouble}")
            if case.fresh:
                shutil.rmtree(case.target, ignore_errors=True)
            try:
                run_to_the_end(case.words)
                case.check(case.target)
            except Exception as error:
                wrong.append(f"{case.name}: the next run: {error}")
            left = hidden(place)
            wrong += [f"{case.name}: left {path.relative_to(place)}" for path in left]
            total, hits = total + share, hits + killed
            print(f"{case.name}: {killed} of {share} killed in {seconds:.1f} s each", flush=True)
    print(f"{hits} of {total} were killed before they were done; {len(wrong)} things were wrong")
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
