from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from glow_deploy.bulk import BulkSettings, Where, run_bulk
from glow_deploy.engines.open import open_engine
from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import read_picture, x_to_values
from glow_deploy.latents import EncodeSettings, SampleSettings, encode_images, load_latents, sample
from glow_deploy.scoring.score import ScoreSettings, score_images

ONE = Where(device="cpu", threads=1)
one_model = pytest.mark.parametrize("bundle", ["rgb"], indirect=True)


@pytest.fixture
def labels(bundle):
    return (2,) if json.loads((bundle / "manifest.json").read_text())["model"]["num_classes"] else None


@pytest.fixture
def run(bundle, inputs, labels, tmp_path):
    """Run on the folder of pictures, in batches of 3 and shards of 6: the 7 pictures fill one and begin another."""

    def run(action="encode", *, out="out", data=("folder",), check=False, progress=None, **options):
        drawn = {"encode": {"draws": 2, "seed": 5}, "score": {"draws": 2, "seed": 5}, "sample": {"seed": 5}}
        usual = {"batch": 3, "shard_rows": 6, "labels": labels, **drawn.get(action, {})}
        settings = BulkSettings(**{**usual, **options})
        paths = [inputs[name] for name in data]
        return run_bulk(
            action, bundle, paths, out=tmp_path / out, settings=settings, where=ONE, check=check, progress=progress
        )

    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def column(folder, name):
    """One column of all Parquet shards, in order."""
    tables = [pyarrow.parquet.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    field = tables[0].schema.field(name)
    found = [row for table in tables for row in table[name].to_pylist()]
    shape = json.loads((field.metadata or {}).get(b"shape", b"null"))
    return found if shape is None else np.array(found, np.float32).reshape(len(found), *shape)


def test_shards_hold_what_one_process_gives(run, bundle, inputs, values, labels, tmp_path):
    """Bit for bit, in the shape of every column; number and noise of a row depend on its source and its place alone."""
    names = [f"{inputs['folder']}/p{number}.png" for number in range(7)]
    with open_engine(bundle / "encoder.onnx", device="cpu", threads=1) as encoder:
        every = None if labels is None else [2] * 7
        settings = EncodeSettings(draws=2, seed=5, batch=3)
        latents = encode_images(encoder, values, settings=settings, labels=every)
        moved = encode_images(encoder, values, settings=settings, labels=every, start=2 * 2**32)
        scores = score_images(encoder, values, settings=ScoreSettings(draws=2, seed=5, batch=3), labels=every)
        result = run("encode", data=("folder", "parquet", "tar"))
        assert (result.shards, result.rows, result.made, result.skipped) == (6, 21, 21, ())
        out = tmp_path / "out"
        for level, z in enumerate(latents.z, start=1):
            assert np.array_equal(column(out, f"z{level}"), np.concatenate([z] * 3))
        assert column(out, "names")[:7] == names
        assert column(out, "names")[7:] == [f"{inputs['parquet']}:{n}" for n in range(7)] + [
            f"{inputs['tar']}:{n:03}.png" for n in range(7)
        ]
        assert column(out, "number") == [s * 2**32 + n for s in range(3) for n in range(7)]
        bits = column(out, "bits_per_dim")
        assert bits[:7] == latents.bits_per_dim.tolist()
        assert bits[14:] == moved.bits_per_dim.tolist() != bits[:7]
        assert result.bits_per_dim == pytest.approx(np.mean(bits))
        if labels is not None:
            assert column(out, "y") == [2] * 21
        run("encode", out="npz", format="npz")
        specs = [spec for spec in encoder.outputs if spec.name != "log_prob"]
        again = load_latents(tmp_path / "npz" / "encode-000001.npz", specs)  # as `decode` reads it
        assert np.array_equal(again.z[0], latents.z[0][6:])
    run("score", out="scores")
    assert column(tmp_path / "scores", "log_prob") == scores.log_prob.tolist()
    assert column(tmp_path / "scores", "z2_square") == scores.level_squares[:, 1].tolist()


def test_sample_k_is_the_same_wherever_it_lies(run, bundle, labels, tmp_path):
    with open_engine(bundle / "decoder.onnx", device="cpu", threads=1) as decoder:
        settings = SampleSettings(seed=5, batch=3, labels=labels and (0, 2))
        expected = np.concatenate([x_to_values(part.x, 5) for part in sample(decoder, count=8, settings=settings)])
    for rows in (3, 6):
        out = tmp_path / str(rows)
        run("sample", out=out.name, data=(), count=8, shard_rows=rows, labels=labels and (0, 2))
        drawn = np.stack([read_picture(cell["bytes"]) for cell in column(out, "image")])
        assert np.array_equal(values5(drawn), values5(expected))
        assert column(out, "number") == list(range(8))
    if labels is not None:
        assert column(tmp_path / "6", "labels") == [0, 2] * 4
    run("sample", out="npz", data=(), count=8, format="npz", labels=labels and (0, 2))
    with np.load(tmp_path / "npz" / "sample-000000.npz") as archive:
        assert np.array_equal(archive["images"].transpose(0, 3, 1, 2), expected[:6])


def values5(values):
    """Grey or RGB alike."""
    return values if values.shape[1] == 3 else np.repeat(values, 3, axis=1)


@one_model
def test_a_run_that_was_stopped_goes_on_and_leaves_the_same(run, tmp_path):
    whole = {"data": ("folder", "tar"), "out": "whole"}
    run("score", **whole)
    expected = contents(tmp_path / "whole")
    assert sorted(expected) == ["index.jsonl", "plan.json", *(f"score-{n:06}.parquet" for n in range(4))]

    def stop(stage, done, _total):
        if stage == "scoring" and done > 7:  # in the midst of the third shard
            raise KeyboardInterrupt

    options = {"data": ("folder", "tar"), "out": "out"}
    with pytest.raises(KeyboardInterrupt):
        run("score", progress=stop, **options)
    out = tmp_path / "out"
    left = contents(out)
    assert sorted(left) == ["index.jsonl", "plan.json", "score-000000.parquet", "score-000001.parquet"]
    before = (out / "score-000000.parquet").stat().st_ino
    # A killed process leaves a torn line, a shard that no line names, and a file on its way.
    (out / "index.jsonl").write_bytes(left["index.jsonl"] + b'{"shard": "score-0000')
    (out / "score-000002.parquet").write_bytes(b"PAR1 half")
    (out / ".score-000003.parquet.tries").write_bytes(b"....." * 9)
    (out / ".score-000003.parquet.elsewhere.77.0a1b2c3d.tmp").write_bytes(b"x")
    result = run("score", **options)
    assert (result.resumed, result.made, result.rows) == (2, 7, 14)
    assert contents(out) == expected
    assert (out / "score-000000.parquet").stat().st_ino == before
    assert run("score", **options).made == 0

    # Shards that were lost or damaged since are made again: by size, and with check= by their bytes.
    (out / "score-000000.parquet").unlink()
    (out / "score-000001.parquet").write_bytes(expected["score-000001.parquet"][:-9])
    flipped = bytearray(expected["score-000002.parquet"])
    flipped[20] ^= 1
    (out / "score-000002.parquet").write_bytes(flipped)
    assert run("score", **options).lost == ("score-000000.parquet", "score-000001.parquet")
    assert contents(out) != expected
    assert run("score", check=True, **options).lost == ("score-000002.parquet",)
    assert contents(out) == expected


@one_model
def test_another_run_and_a_changed_input_are_refused(run, bundle, inputs, labels, tmp_path):
    run("score", data=("tar",))
    before = contents(tmp_path / "out")

    def refused(message, action="score", data=("tar",), **options):
        with pytest.raises(UsageError, match=message):
            run(action, data=data, **options)

    refused("it began as score, and this is encode", "encode")
    refused("draws was 2 and is 1", draws=1)
    refused("its shards have 6 rows, not 3", shard_rows=3)
    refused("its shards are parquet, not npz", format="npz")
    refused("it began with 1 inputs, and there are 2 now", data=("tar", "folder"))
    refused(r"the input .*pictures is not its .*shard\.tar", data=("folder",))
    data = inputs["tar"].read_bytes()
    inputs["tar"].write_bytes(data)  # the same bytes, copied
    assert run("score", data=("tar",)).made == 0
    place = data.index(b"IDAT")
    inputs["tar"].write_bytes(data[:place] + b"idat" + data[place + 4 :])
    refused(r"the input .*shard\.tar has changed since it began")
    inputs["tar"].write_bytes(data)
    other = tmp_path / "other"
    shutil.copytree(bundle, other)
    (other / "encoder.onnx").write_bytes(changed(other / "encoder.onnx"))
    settings = BulkSettings(draws=2, seed=5, batch=3, shard_rows=6, labels=labels)
    with pytest.raises(UsageError, match="the encoder is not the file that it began with"):
        run_bulk("score", other / "encoder.onnx", [inputs["tar"]], out=tmp_path / "out", settings=settings, where=ONE)
    after = contents(tmp_path / "out")
    assert {**after, "plan.json": b""} == {**before, "plan.json": b""}
    stamps = [json.loads(held["plan.json"])["sources"][0].pop("stamp") for held in (before, after)]
    assert stamps[0] != stamps[1]  # the copy's time, so that it is not read again and again
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    refused(r"mine holds thesis\.tex and no plan\.json", out="mine")
    (tmp_path / "out" / "plan.json").write_text("{")
    with pytest.raises(DataError, match=r"plan\.json is damaged"):
        run("score", data=("tar",))


def changed(path):
    """The same graph under another name."""
    import onnx

    graph = onnx.load(path)
    graph.graph.name += "x"
    return graph.SerializeToString()


@one_model
def test_a_corrupt_picture_ends_the_run_or_is_left_out(run, inputs, tmp_path):
    """The others keep their numbers and their values; what was finished before stays."""
    run("encode", out="whole")
    bad = inputs["folder"] / "p4.png"
    bad.write_bytes(bad.read_bytes()[:50])
    with pytest.raises(DataError, match=r"p4\.png is damaged or cut short.*skip_unreadable=True"):
        run("encode")
    assert sorted(contents(tmp_path / "out")) == ["index.jsonl", "plan.json"]
    result = run("encode", skip_unreadable=True)
    assert [left.name for left in result.skipped] == [str(bad)]
    assert (result.rows, result.shards) == (6, 2)
    assert column(tmp_path / "out", "number") == [0, 1, 2, 3, 5, 6]
    kept = np.array(column(tmp_path / "whole", "bits_per_dim"))[[0, 1, 2, 3, 5, 6]]
    assert column(tmp_path / "out", "bits_per_dim") == pytest.approx(kept, rel=1e-6)
    (record, _) = map(json.loads, (tmp_path / "out" / "index.jsonl").read_text().splitlines())
    assert (record["rows"], record["last"], len(record["skipped"])) == (5, 6, 1)


@one_model
def test_a_shard_of_nothing_but_damage_has_no_file(run, inputs, tmp_path):
    for path in sorted(inputs["folder"].iterdir())[6:]:
        path.write_bytes(b"none")
    result = run("encode", skip_unreadable=True)
    assert (result.rows, result.shards, len(result.skipped)) == (6, 1, 1)
    assert run("encode", skip_unreadable=True).made == 0


@one_model
def test_a_row_without_a_finite_likelihood_is_counted(run, monkeypatch):
    """The encoder overflows on it; the mean is of the others, and the index stays JSON."""
    from glow_deploy.bulk import actions

    score_stream = actions.score_stream

    def overflow(*given, **options):
        for scores in score_stream(*given, **options):
            scores.bits_per_dim[0] = np.nan
            yield scores

    whole = run("score", out="whole")
    monkeypatch.setattr(actions, "score_stream", overflow)
    result = run("score")
    assert (whole.nonfinite, result.nonfinite, result.rows) == (0, 3, 7)  # one a batch; the last has one row alone
    assert np.isfinite(result.bits_per_dim)
    assert run("score").made == 0


@one_model
def test_a_file_of_no_use_leaves_no_folder(run, inputs, tmp_path):
    data = inputs["tar"].read_bytes()
    inputs["tar"].write_bytes(data[:-9000])
    with pytest.raises(DataError, match=r"shard\.tar is cut short"):
        run("encode", data=("tar",))
    assert not (tmp_path / "out").exists()


def test_what_does_not_go_together_is_refused_before_any_work(run, bundle, inputs, labels, tmp_path):
    with pytest.raises(UsageError, match="nothing to encode"):
        run("encode", data=())
    with pytest.raises(UsageError, match="samples have no inputs"):
        run("sample", count=2)
    with pytest.raises(UsageError, match=r"leave labels= out|say which class"):
        run("encode", labels=(1,) if labels is None else None)
    if labels is not None:
        with pytest.raises(DataError, match="there is no class 3"):
            run("encode", labels=(3,))
    with pytest.raises(UsageError, match="is the decoder; encode needs the encoder"):
        run_bulk("encode", bundle / "decoder.onnx", [inputs["tar"]], out=tmp_path / "out")
    with pytest.raises(UsageError, match="name a file of directions"):
        run("edit", attributes={"smiling": 1})
    assert not (tmp_path / "out").exists()


@one_model
def test_output_below_an_input_is_refused(bundle, inputs, tmp_path, monkeypatch):
    """A folder of shards as well as one of pictures, however it is named: the next run would read it as input."""
    shards = tmp_path / "shards"
    shards.mkdir()
    inputs["tar"].rename(shards / "x.tar")
    monkeypatch.chdir(shards)
    for given, out in ((shards, shards / "out"), (Path(), Path("bulk-out")), (shards, Path("../shards"))):
        with pytest.raises(UsageError, match=r"lies in the input .*choose another out="):
            run_bulk("score", bundle, [given], out=out, where=ONE)
    assert [path.name for path in shards.iterdir()] == ["x.tar"]
    settings = BulkSettings(draws=1)
    assert run_bulk("score", bundle, "x.tar", out=tmp_path / "out", settings=settings, where=ONE).rows == 7  # one path
    assert run_bulk("score", bundle, ".", out=tmp_path / "out2", settings=settings, where=ONE).rows == 7


@one_model
def test_samples_in_too_many_shards_are_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr("glow_deploy.bulk.plan._MOST_SHARDS", 2)
    with pytest.raises(UsageError, match=r"^3 shards of 6 rows would be made; 2 at most.*shard_rows="):
        run("sample", data=(), count=13)
    assert not (tmp_path / "out").exists()


@one_model
def test_a_plan_without_work_binds_nobody(run, inputs, tmp_path, monkeypatch):
    """What was wrong with a first try may be put right; the first shard makes the plan count."""
    from glow_deploy.bulk import work

    monkeypatch.setattr(work, "open_engine", lambda *_args, **_options: (_ for _ in ()).throw(DataError("no such GPU")))
    with pytest.raises(DataError, match="no such GPU"):
        run("encode")
    monkeypatch.undo()
    assert (tmp_path / "out" / "plan.json").exists()
    run("encode", draws=0)
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["options"]["draws"] == 0
    with pytest.raises(UsageError, match="draws was 0 and is 2"):
        run("encode")
    (tmp_path / "out" / "index.jsonl").write_bytes(b"")  # shards that no line names are work as well
    with pytest.raises(UsageError, match="draws was 0 and is 2"):
        run("encode")


@one_model
def test_rows_keep_the_names_of_where_the_run_began(run, inputs, tmp_path):
    whole = run("score", out="whole")
    run("score")
    left = tmp_path / "out" / "score-000001.parquet"
    left.unlink()
    moved = inputs["folder"].rename(tmp_path / "moved")
    inputs["folder"] = moved
    assert run("score").lost == (left.name,)
    assert contents(tmp_path / "out") == {
        **contents(whole.out),
        "plan.json": (tmp_path / "out" / "plan.json").read_bytes(),
    }
    (source,) = json.loads((tmp_path / "out" / "plan.json").read_text())["sources"]
    assert source["name"] == str(tmp_path / "pictures")
    (moved / "p1.png").touch()  # the same bytes at another time: read once more, and known from then on
    for read in (True, False):
        told = []
        assert run("score", progress=lambda *seen, told=told: told.append(seen[0])).made == 0
        assert ("reading the inputs, MiB" in told) == read


@one_model
def test_another_file_of_the_same_size_and_time_is_not_taken_for_the_input(run, inputs, write_tar, tmp_path):
    """As shards are whose times were all set to one."""
    with tarfile.open(inputs["tar"]) as archive:
        members = [(member.name, archive.extractfile(member).read()) for member in archive.getmembers()]
    other = write_tar(tmp_path / "other.tar", members[::-1])
    for path in (inputs["tar"], other):
        os.utime(path, (0, 0))
    assert other.stat().st_size == inputs["tar"].stat().st_size
    run("score", data=("tar",))
    inputs["tar"] = other
    with pytest.raises(UsageError, match=r"the input .*other\.tar is not its .*shard\.tar"):
        run("score", data=("tar",))


@one_model
def test_every_stage_tells_where_it_stands(run, tmp_path):
    told = []
    run("encode", data=("folder", "tar"), progress=lambda *seen: told.append(seen), check=True)
    stages = list(dict.fromkeys(stage for stage, *_ in told))
    assert stages == ["reading the inputs, MiB", "encoding"]
    # In batches of 3 and shards of 6, of two inputs with 7 rows each.
    assert [done for stage, done, _ in told if stage == "encoding"] == [0, 3, 6, 6, 7, 7, 10, 13, 13, 14, 14]
    assert {total for stage, _, total in told if stage == "encoding"} == {14}
    told.clear()
    run("encode", data=("folder", "tar"), progress=lambda *seen: told.append(seen), check=True)
    assert told == [("checking the shards", number, 4) for number in range(1, 5)]


@one_model
@pytest.mark.parametrize(
    ("action", "options"),
    [
        ("encode", {"temperature": 0.5}),
        ("score", {"beyond": True}),
        ("sample", {"count": 2, "resize": True}),
        ("sample", {"count": 2, "draws": 3}),
        ("sample", {"count": 2, "skip_unreadable": True}),
        ("encode", {"column": "image"}),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(bundle, inputs, tmp_path, action, options):
    name = list(options)[-1]
    data = [] if action == "sample" else [inputs["folder"]]
    with pytest.raises(UsageError, match=rf"^{name}= (does nothing in {action}; it is for|is for \.parquet files)"):
        run_bulk(action, bundle, data, out=tmp_path / "out", settings=BulkSettings(**options), where=ONE)
    assert not (tmp_path / "out").exists()
