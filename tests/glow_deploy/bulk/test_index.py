from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from glow_deploy.artifact.files import sha256_bytes
from glow_deploy.bulk.index import INDEX, Index, Record, record_of
from glow_deploy.bulk.plan import Task
from glow_deploy.data import LeftOut
from glow_deploy.errors import DataError, UsageError

TASKS = [Task(shard=f"s-{number}.npz", source=0, first=4 * number, last=4 * number + 4) for number in range(3)]


def record(number, *, data=b"data", **changes):
    task = TASKS[number]
    values = {"shard": task.shard, "rows": 4, "size": len(data), "sha256": sha256_bytes(data), "source": "x.tar"}
    values |= {"first": task.first, "last": task.last, "backend": "onnxruntime-cpu", "bits_per_dim": 2.5}
    return Record(**{**values, **changes})


def test_records_come_back_in_the_order_of_the_shards(tmp_path):
    """Added in any order, doubled or torn: the file ends the same."""
    skipped = record(2, skipped=(LeftOut(name="a", reason="a is damaged"),))
    with Index(tmp_path, TASKS) as index:
        index.add(skipped)
        index.add(record(0))
        index.add(record(0))
        assert [task.shard for task in index.missing()] == ["s-1.npz"]
    lines = (tmp_path / INDEX).read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["shard"] for line in lines] == ["s-2.npz", "s-0.npz"]
    (tmp_path / INDEX).write_bytes(b"".join(lines) + lines[0][:20])
    with Index(tmp_path, TASKS) as index:
        assert list(index.records.values()) == [skipped, record(0)]
        index.add(record(1))
        index.rewrite()
        index.add(record(1))
    assert [json.loads(line)["shard"] for line in (tmp_path / INDEX).read_text().splitlines()] == [
        task.shard for task in TASKS
    ]


def test_a_shard_that_is_not_what_was_written_is_forgotten(tmp_path):
    for number, data in enumerate((b"data", b"dat", b"dada")):
        (tmp_path / f"s-{number}.npz").write_bytes(data)
    with Index(tmp_path, TASKS) as index:
        for number in range(3):
            index.add(record(number))
        assert index.drop_lost(check=False) == ["s-1.npz"]
        assert index.drop_lost(check=True) == ["s-2.npz"]
        (tmp_path / "s-0.npz").rename(tmp_path / "real")
        (tmp_path / "s-0.npz").symlink_to(tmp_path / "real")
        assert index.drop_lost(check=False) == ["s-0.npz"]
        index.add(record(0, rows=0, size=0, sha256=""))
        assert index.drop_lost(check=True) == []
    assert len((tmp_path / INDEX).read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [{"rows": -1}, {"rows": True}, {"sha256": "x"}, {"bits_per_dim": "2"}, {"bits_per_dim": float("nan")},
     {"skipped": 3}, {"skipped": [{}]},
     {"shard": "other.npz"}, {"first": 1}],
)  # fmt: skip
def test_a_damaged_index_is_refused(tmp_path, change):
    document = json.loads(json.dumps(asdict(record(0))))
    assert record_of(document) == record(0)
    (tmp_path / INDEX).write_text(json.dumps({**document, **change}) + "\n")
    with pytest.raises(DataError, match=r"index\.jsonl is damaged \("):
        Index(tmp_path, TASKS)


@pytest.mark.parametrize("tail", [b"{", b'{"shard', b'{"shard": "s-1'])
def test_only_the_torn_start_of_a_line_is_cut_off(tmp_path, tail):
    (tmp_path / INDEX).write_bytes(record(0).line() + tail)
    with Index(tmp_path, TASKS) as index:
        assert list(index.records) == ["s-0.npz"]
    assert (tmp_path / INDEX).read_bytes() == record(0).line()


@pytest.mark.parametrize("tail", [b"a letter without an end", b'{"shape', b"\0" * 9])
def test_what_no_run_wrote_is_never_cut_off(tmp_path, tail):
    for data in (tail, record(0).line() + tail):
        (tmp_path / INDEX).write_bytes(data)
        with pytest.raises(DataError, match=r"index\.jsonl is damaged: its end is no line of an index"):
            Index(tmp_path, TASKS)
        assert (tmp_path / INDEX).read_bytes() == data


def test_a_link_in_the_place_of_the_index_is_refused_and_what_it_leads_to_stays(tmp_path):
    for kept in (b"", b'{"shard', record(0).line()):
        (tmp_path / "letter").write_bytes(kept)
        (tmp_path / INDEX).symlink_to("letter")
        with pytest.raises(UsageError, match=r"index\.jsonl is a link"):
            Index(tmp_path, TASKS)
        assert (tmp_path / "letter").read_bytes() == kept
        (tmp_path / INDEX).unlink()
    (tmp_path / INDEX).symlink_to("nowhere")
    with pytest.raises(UsageError, match=r"index\.jsonl is a link"):
        Index(tmp_path, TASKS)
    assert not (tmp_path / "nowhere").exists()
