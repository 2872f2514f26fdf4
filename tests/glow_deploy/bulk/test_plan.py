from __future__ import annotations

import json
from dataclasses import replace

import pytest

from glow_deploy.bulk.plan import PLAN, Plan, PlannedSource, Task, need_same, options_of, read_plan
from glow_deploy.bulk.settings import BulkSettings
from glow_deploy.errors import DataError, UsageError


def source(name, rows):
    return PlannedSource(name=name, path=f"/data/{name}", kind="tar", rows=rows, sha256="a" * 64, stamp="b" * 64)


PLAN_OF_TWO = Plan(
    action="encode",
    options=options_of("encode", BulkSettings()),
    files={"encoder": "c" * 64},
    format="npz",
    shard_rows=4,
    sources=(source("x.tar", 5), source("y.tar", 4)),
)


def test_tasks_cut_every_source_by_itself():
    tasks = list(PLAN_OF_TWO.tasks())
    assert tasks == [
        Task(shard="encode-000000.npz", source=0, first=0, last=4),
        Task(shard="encode-000001.npz", source=0, first=4, last=5),
        Task(shard="encode-000002.npz", source=1, first=0, last=4),
    ]
    assert [task.number for task in tasks] == [0, 4, 2**32]
    assert PLAN_OF_TWO.rows == 9
    samples = Plan(action="sample", options={"count": 9}, files={}, format="npz", shard_rows=4)
    assert [(task.number, task.last) for task in samples.tasks()] == [(0, 4), (4, 8), (8, 9)]
    many = replace(samples, options={"count": 10**7 * 4 + 1})
    assert next(iter(many.tasks())).shard == "sample-00000000.npz"
    replace(samples, options={"count": 10**7 * 4}).check_size()
    with pytest.raises(UsageError, match=r"10,000,001 shards of 4 rows would be made.*shard_rows="):
        many.check_size()


def test_a_plan_comes_back_from_its_file(tmp_path):
    assert read_plan(tmp_path) is None
    PLAN_OF_TWO.write(tmp_path)
    assert read_plan(tmp_path) == PLAN_OF_TWO
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / PLAN).symlink_to(tmp_path / PLAN)
    with pytest.raises(UsageError, match=r"plan\.json is a link"):
        read_plan(tmp_path / "run")
    need_same(PLAN_OF_TWO, PLAN_OF_TWO, out=tmp_path)
    moved = replace(PLAN_OF_TWO, sources=(source("moved/x.tar", 5), source("y.tar", 4)))
    need_same(PLAN_OF_TWO, moved, out=tmp_path)  # known by its bytes, not by where it is
    with pytest.raises(UsageError, match="seed was 0 and is 1"):
        need_same(PLAN_OF_TWO, replace(PLAN_OF_TWO, options={**PLAN_OF_TWO.options, "seed": 1}), out=tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "version 2 is not known"),
        ({"action": "train"}, "action or format is not known"),
        ({"options": {}}, "options are not those"),
        ({"files": {"encoder": "x"}}, "a sha256 is missing"),
        ({"shard_rows": 0}, "shard_rows is no whole number"),
        ({"sources": [{"name": "x", "path": "/x", "kind": "zip"}]}, "kind 'zip' is not known"),
        ({"sources": [{"name": "x", "path": "/x", "kind": "tar", "rows": True}]}, "rows is no whole number"),
        ({"sources": []}, "count is no whole number"),
    ],
)
def test_a_damaged_plan_is_refused(tmp_path, change, reason):
    PLAN_OF_TWO.write(tmp_path)
    document = json.loads((tmp_path / PLAN).read_text())
    (tmp_path / PLAN).write_text(json.dumps({**document, **change}))
    with pytest.raises(DataError, match=rf"plan\.json is damaged \(.*{reason}"):
        read_plan(tmp_path)
