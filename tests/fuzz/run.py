"""Feed mutants of sound files to everything that reads files: `make fuzz MINUTES=60`.

Each mutant is read in a worker process with a limit on memory and a time limit. What does not end in one of our own
errors, a crash, too much memory or a hang is a finding; it is written to a folder with the seed that makes it again.

    python tests/fuzz/run.py --minutes 10 [--seed 0] [--loader graph] [--out fuzz-findings]
    python tests/fuzz/run.py --seed 0 --only 1234        # one mutant again
"""

from __future__ import annotations

import argparse
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from corpus import make_corpus  # noqa: E402 - the folder is no package
from loaders import LOADERS  # noqa: E402
from mutate import mutate  # noqa: E402

MEMORY = 1 << 30  # bytes beyond what the libraries take
SECONDS = 30.0  # for one mutant
START_SECONDS = 300.0
MOST_SIZE = 4 << 20  # bytes of a mutant


class Worker:
    """A process that reads files, started again whenever one has ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, loader: str, path: Path) -> str:
        """Return `ok`, `refused` or `finding WHAT`."""
        if self._process is None:
            self._start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.write(f"{loader} {path}\n")
        process.stdin.flush()
        answer = self._line(SECONDS)
        if answer is None:
            self.stop()
            return f"finding no end within {SECONDS:.0f} s"
        if not answer:
            code = process.wait()
            self._process = None
            return f"finding the process ended with {code}"
        return answer

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), str(MEMORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        if self._line(START_SECONDS) != "ready":
            raise SystemExit("the worker does not start")

    def _line(self, seconds: float) -> str | None:
        """The next line; empty where the process ended, None where it took too long."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], seconds)[0]:
            return None
        return process.stdout.readline().strip()


def make_mutant(index: int, seed: int, corpus: dict[str, list[bytes]], loaders: list[str]) -> tuple[str, bytes]:
    """Return the loader and the bytes of one mutant; they depend on the seed and the index alone."""
    rng = np.random.default_rng([seed, index])
    loader = loaders[int(rng.integers(len(loaders)))]
    files = corpus[loader]
    data = mutate(files[int(rng.integers(len(files)))], rng=rng, others=files)
    return loader, data[:MOST_SIZE]


def main() -> int:
    """Run; returns 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this mutant alone")
    parser.add_argument("--loader", choices=sorted(LOADERS), help="this loader alone")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    options = parser.parse_args()
    loaders = [options.loader] if options.loader else sorted(LOADERS)
    counts = Counter[str]()
    found: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="glow-fuzz-") as place:
        folder = Path(place)
        make_corpus(folder)
        corpus = {name: [path.read_bytes() for path in sorted((folder / name).iterdir())] for name in loaders}
        worker, index = Worker(), -1 if options.only is None else options.only - 1
        end = time.monotonic() + 60 * options.minutes
        try:
            # The sound files first: a loader that takes none of them would test nothing.
            for name in loaders:
                for path in sorted((folder / name).iterdir()):
                    answer = worker.ask(name, path)
                    if answer != "ok":
                        counts["sound files not read"] += answer.startswith("finding")
                        print(f"{name} {path.name}: {answer}", flush=True)
            while time.monotonic() < end:
                index += 1
                name, data = make_mutant(index, options.seed, corpus, loaders)
                path = folder / f"mutant{'.trt.json' if name == 'sidecar' else ''}"
                path.write_bytes(data)
                answer = worker.ask(name, path)
                kind, _, what = answer.partition(" ")
                counts[f"{name} {kind}"] += 1
                if kind == "finding":
                    _report(what, name=name, index=index, data=data, found=found, options=options)
                if options.only is not None:
                    print(f"{name}: {answer}")
                    break
        finally:
            worker.stop()
    print(f"{index + 1} mutants, seed {options.seed}, {len(found)} kinds of findings")
    for key in sorted(counts):
        print(f"  {key}: {counts[key]}")
    return 1 if found or counts["sound files not read"] else 0


def _report(
    what: str, *, name: str, index: int, data: bytes, found: dict[str, int], options: argparse.Namespace
) -> None:
    key = f"{name}: {what.rpartition(' at ')[2] if ' at ' in what else what}"
    found[key] = found.get(key, 0) + 1
    if found[key] > 1:
        return
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}-seed{options.seed}-{index}").write_bytes(data)
    again = f"--seed {options.seed} --only {index}" + (f" --loader {options.loader}" if options.loader else "")
    print(f"finding: {name}: {what}; again: python tests/fuzz/run.py {again}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
