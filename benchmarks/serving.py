"""A server under load: 1 to 64 clients, then a server that is killed and started again while they ask.

Latency and throughput are ratios to the same engine asked from one thread of this process, one picture at a time, in
the same run. Every answer is compared with the right one. Usage: python benchmarks/serving.py [--quick] [--json FILE]

Without --server a `glow-deploy serve` of its own is started. With --server triton=HOST:PORT --bundle BUNDLE a server
that runs already is asked, and with --start COMMAND it is started, killed and started again by that command.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from _paper import write_paper_checkpoint
from rich.console import Console
from rich.table import Table

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.engines.open import open_engine
from glow_deploy.errors import EngineError
from glow_deploy.export import ExportSettings, export
from glow_deploy.kserve import Address, KServeClient, parse_remote
from glow_deploy.kserve.address import model_name

CLIENTS = (1, 4, 16, 64)
_TOLERANCE = 1e-3  # of latents: batches of other sizes round otherwise, and a wrong row is off by far more


class Load:
    """What clients ask and what they must get: each its own golden image, so that a swapped row is seen."""

    def __init__(self, bundle: Path) -> None:
        golden = Bundle.open(bundle).golden()
        if golden is None:
            sys.exit(f"error: {bundle} has no golden images")
        self.images = golden.x
        with open_engine(bundle / "encoder.onnx", device="cpu", threads=1) as engine:
            self.right = [engine.run({"x": x[None]}) for x in self.images]
            self.alone = _alone(lambda: engine.run({"x": self.images[:1]}))

    def fits(self, number: int, found: dict[str, np.ndarray]) -> bool:
        """Tell whether an answer is that to image `number`."""
        right = self.right[number]
        return all(
            name in found
            and found[name].size == array.size
            and np.abs(found[name].reshape(array.shape) - array).max() <= _TOLERANCE * max(1.0, np.abs(array).max())
            for name, array in right.items()
        )


def _alone(run: Callable[[], object]) -> float:
    """Seconds of one run, the median of a second's."""
    times = []
    begun = time.perf_counter()
    while time.perf_counter() - begun < 1 or len(times) < 5:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def attack(
    address: Address, load: Load, *, clients: int, seconds: float, patient: bool = False
) -> tuple[list, Counter]:
    """Let clients ask without pause, each for `seconds`; returns the seconds of the right answers, and what happened.

    Args:
        address: of the server.
        load: what is asked.
        clients: threads, each with a connection of its own.
        seconds: bound of the whole.
        patient: go on after a refusal, as a client of a server that is started again does.
    """
    times: list[float] = []
    outcomes: Counter = Counter()
    lock = threading.Lock()
    until = time.monotonic() + seconds

    def ask(first: int) -> None:
        mine, counted = [], Counter()
        number = first % len(load.images)
        with KServeClient(address, timeout=20) as client:
            while time.monotonic() < until:
                start = time.perf_counter()
                try:
                    found = client.infer(model_name(address.name, "encoder"), {"x": load.images[number : number + 1]})
                except EngineError:
                    counted["refused"] += 1
                    if not patient:
                        break
                    time.sleep(0.05)
                    continue
                mine.append(time.perf_counter() - start)
                counted["right" if load.fits(number, found) else "wrong"] += 1
                number = (number + 7) % len(load.images)
        with lock:
            times.extend(mine)
            outcomes.update(counted)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, outcomes


def ready(address: Address, *, seconds: float = 60) -> None:
    """Wait until a server answers."""
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(EngineError), KServeClient(address, timeout=2) as client:
            if client.ready():
                return
        if time.monotonic() > until:
            sys.exit(f"error: {address.host} is not ready after {seconds:g} seconds")
        time.sleep(0.1)


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[Callable[[], None]]:
    """Start a server in a group of processes of its own; yields what kills it all at once and starts it again."""

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def end(process: subprocess.Popen[bytes], number: int) -> None:
        for signalled, seconds in ((number, 30), (signal.SIGKILL, 30)):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, signalled)
                process.wait(timeout=seconds)
                return

    process = start()

    def again() -> None:
        nonlocal process
        end(process, signal.SIGKILL)
        process = start()

    try:
        yield again
    finally:
        end(process, signal.SIGTERM)


def own_server(folder: Path, *, quick: bool) -> tuple[Path, list[str], str]:
    """Make a bundle and the command that serves it, on a port that is free now."""
    write_paper_checkpoint(folder / "ckpt.pt", width=16 if quick else 256, steps=2 if quick else 8)
    export(folder / "ckpt.pt", out=folder / "bundle", settings=ExportSettings(golden=16))
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    words = ["serve", str(folder / "bundle"), "--port", str(port), "--threads", "1", "--quiet"]
    return folder / "bundle", [sys.executable, "-m", "glow_cli", *words], f"kserve=127.0.0.1:{port}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smaller model for less time")
    parser.add_argument("--server", help="triton=HOST:PORT of this machine")
    parser.add_argument("--bundle", type=Path, help="that the server runs")
    parser.add_argument("--start", help="command that starts the server, for it to be killed")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    seconds = 1.0 if given.quick else 6.0
    with contextlib.ExitStack() as stack:
        command = shlex.split(given.start) if given.start else None
        bundle, server = given.bundle, given.server
        if server is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            bundle, command, server = own_server(folder, quick=given.quick)
        elif bundle is None:
            parser.error("--server needs --bundle")
        address = parse_remote(server)
        if address.host.rpartition(":")[0] not in ("127.0.0.1", "localhost", "[::1]"):
            parser.error("the server must be on this machine: nobody else asked for this load")
        load = Load(bundle)
        again = None if command is None else stack.enter_context(started(command))
        ready(address)
        attack(address, load, clients=2, seconds=1.0)  # warm
        rows = []
        wrong = 0
        for clients in CLIENTS:
            times, outcomes = attack(address, load, clients=clients, seconds=seconds)
            wrong += outcomes["wrong"]
            middle, late = (np.percentile(times, share) / load.alone for share in (50, 99))
            rows.append(
                {
                    "clients": clients,
                    "throughput": len(times) / seconds * load.alone,
                    "p50": float(middle),
                    "p99": float(late),
                    **{name: outcomes[name] for name in ("right", "wrong", "refused")},
                }
            )
        killed = _killed(address, load, again, seconds=seconds) if again is not None else None
    found = {"server": server, "alone_ms": load.alone * 1e3, "rows": rows, "killed": killed}
    _show(found)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n")
    if wrong or (killed and killed["wrong"]):
        sys.exit("error: there were wrong answers")


def _killed(address: Address, load: Load, again: Callable[[], None], *, seconds: float) -> dict[str, int]:
    """Kill and start the server twice while 16 clients ask."""

    def twice() -> None:
        for _ in range(2):
            time.sleep(seconds / 2)
            again()
            ready(address)

    killer = threading.Thread(target=twice)
    killer.start()
    outcomes: Counter = Counter()
    while killer.is_alive():
        outcomes += attack(address, load, clients=16, seconds=seconds / 2, patient=True)[1]
    killer.join()
    outcomes += attack(address, load, clients=16, seconds=seconds / 2, patient=True)[1]
    return {"kills": 2, **{name: outcomes[name] for name in ("right", "wrong", "refused")}}


def _show(found: dict) -> None:
    table = Table(title=f"{found['server']}: one engine alone takes {found['alone_ms']:.2f} ms a picture")
    for title in ("clients", "throughput", "latency p50", "latency p99", "right", "wrong", "refused"):
        table.add_column(title, justify="right")
    for row in found["rows"]:
        shares = (f"{row[name]:.2f}" for name in ("throughput", "p50", "p99"))
        table.add_row(str(row["clients"]), *shares, *(str(row[name]) for name in ("right", "wrong", "refused")))
    console = Console(width=120)
    console.print(table)
    if found["killed"]:
        killed = found["killed"]
        answers = ", ".join(f"{killed[name]} {name}" for name in ("right", "wrong", "refused"))
        console.print(f"killed twice under 16 clients: {answers}")


if __name__ == "__main__":
    main()
