"""Ray's workers against this one process; the tests that need Ray are left out where it is not installed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from glow_deploy.bulk import BulkSettings, Where, run_bulk
from glow_deploy.bulk.plan import Task, read_plan
from glow_deploy.bulk.pools import check_pool, open_pool
from glow_deploy.bulk.ray_pool import MOST_TRIES, Maker, _knock, counted_try, look, tries_file
from glow_deploy.bulk.sources import find_sources, survey
from glow_deploy.bulk.work import Work
from glow_deploy.errors import DataError, EngineError, MissingDependencyError, UsageError

TASK = Task(shard="score-000003.npz", source=0, first=12, last=16)
one_model = pytest.mark.parametrize("bundle", ["rgb"], indirect=True)
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'glow-deploy[ray]'"
)


def test_a_task_that_kills_its_workers_is_given_up(tmp_path):
    """A worker that dies leaves its try behind; one that ends, with an error of ours too, takes it away."""
    for _ in range(2 * MOST_TRIES):
        with pytest.raises(DataError), counted_try(tmp_path, TASK):
            raise DataError("it is damaged")
    assert list(tmp_path.iterdir()) == []
    for _ in range(MOST_TRIES):
        died = counted_try(tmp_path, TASK)
        died.__enter__()
        left = tries_file(tmp_path, TASK).read_bytes()
        died.__exit__(None, None, None)
        tries_file(tmp_path, TASK).write_bytes(left)
    with pytest.raises(EngineError, match=r"5 workers died .* score-000003\.npz \(rows 12 to 15"):
        counted_try(tmp_path, TASK).__enter__()
    assert list(tmp_path.iterdir()) == []  # the next run may try again
    tries_file(tmp_path, TASK).symlink_to("elsewhere")
    with pytest.raises(UsageError, match="is a link"):
        counted_try(tmp_path, TASK).__enter__()
    assert not (tmp_path / "elsewhere").exists()
    tries_file(tmp_path, TASK).unlink()
    with counted_try(tmp_path, TASK):
        assert tries_file(tmp_path, TASK).read_bytes() == b"."


def test_without_ray_its_name_is_told_and_this_process_works(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for ask in (check_pool, lambda where: open_pool(where).__enter__()):
        with pytest.raises(MissingDependencyError, match=r"engine=\"ray\" needs Ray.*pip install 'glow-deploy\[ray\]'"):
            ask(Where(engine="ray"))
    check_pool(Where())
    with open_pool(Where()) as pool:
        assert pool.workers == 1


def test_an_address_where_nobody_answers_is_told_at_once(monkeypatch):
    """Before Ray is asked, which would try for minutes; what Ray has to look up is left to it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listening
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(EngineError, match=rf"no Ray cluster answers at {address} \(Connection refused\)"):
            _knock(address)
        taken.listen()
        _knock(address)
    for word in ("auto", "local", "ray://head:10001", "host:port"):
        _knock(word)


@one_model
def test_what_a_worker_refuses_is_an_answer(bundle, inputs, tmp_path):
    """Rows go in and answers come out as Ray hands them over; the error is raised where the run is."""
    out = tmp_path / "out"
    bad = inputs["folder"] / "p1.png"
    bad.write_bytes(b"none")
    (source,) = find_sources([inputs["folder"]])
    rows = {"number": np.array([4]), "item": np.array([json.dumps(asdict(source))])}
    (answer,) = map(json.loads, look(rows)["answer"])
    assert answer == {"result": asdict(survey(source))}
    settings = BulkSettings(draws=1, shard_rows=1)
    with pytest.raises(DataError, match=r"p1\.png is not a picture"):
        run_bulk("score", bundle, [inputs["folder"]], out=out, settings=settings, where=Where(threads=1))
    plan = read_plan(out)
    work = Work(
        plan=plan,
        out=str(out),
        files={"encoder": str(bundle / "encoder.onnx")},
        sources=(source,),
        stamps=(survey(source).stamp,),
        where=Where(engine="ray", device="cpu"),
        skip_unreadable=False,
    )
    tasks = list(plan.tasks())
    rows = {"number": np.arange(2), "item": np.array([json.dumps(asdict(task)) for task in tasks[:2]])}
    maker = Maker(work)
    good, refused = map(json.loads, maker(rows)["answer"])
    engine = maker._worker._engines["encoder"]
    assert engine._session.get_session_options().intra_op_num_threads == 1  # as many as Ray gives it
    assert (good["result"]["shard"], good["result"]["rows"]) == ("score-000000.parquet", 1)
    assert refused["kind"] == "DataError"
    assert "p1.png is not a picture" in refused["error"]
    assert sorted(out.glob(".*.tries")) == []
    (refused,) = map(
        json.loads, Maker(replace(work, stamps=("0" * 64,)))({"number": [0], "item": rows["item"][:1]})["answer"]
    )
    assert "was changed during the run" in refused["error"]


@pytest.fixture(scope="module")
def cluster():
    """A cluster of three workers on this machine, for all tests of this file."""
    where = Where(engine="ray", workers=3, device="cpu", threads=1)
    with open_pool(where):
        yield where


def workers() -> list[int]:
    """Processes below this one that make shards."""
    parents, names = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(place.name)] = (place / "cmdline").read_bytes()
        except OSError:
            continue

    def is_ours(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return [pid for pid, name in names.items() if b"Maker" in name and name.startswith(b"ray::") and is_ours(pid)]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.slow
@needs_ray
@one_model
def test_a_killed_worker_loses_and_doubles_nothing(bundle, inputs, cluster, tmp_path):
    """Every file is the same bit for bit as from one process, the index and the plan among them."""
    settings = BulkSettings(draws=200, seed=5, batch=3, shard_rows=3)
    given = [inputs["folder"], inputs["parquet"], inputs["tar"]]
    one = run_bulk(
        "score", bundle, given, out=tmp_path / "one", settings=settings, where=Where(device="cpu", threads=1)
    )
    killed = []

    def kill(stage, done, _total):
        if stage == "scoring" and done and not killed:
            killed.append(workers()[0])
            os.kill(killed[0], signal.SIGKILL)

    many = run_bulk("score", bundle, given, out=tmp_path / "many", settings=settings, where=cluster, progress=kill)
    assert killed
    assert not Path(f"/proc/{killed[0]}").exists()
    assert (one.workers, many.workers) == (1, 3)
    assert (many.shards, many.rows, many.made) == (9, 21, 21)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    lines = [json.loads(line) for line in (tmp_path / "many" / "index.jsonl").read_text().splitlines()]
    assert sum(line["rows"] for line in lines) == 21
    assert len({line["shard"] for line in lines}) == 9
