"""A bundle that is replaced again and again, by a process that may be killed: it is the old one or the new one."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from glow_core import GlowConfig, save_checkpoint, temporaries
from glow_deploy.artifact import bundle_writer as module
from glow_deploy.artifact.bundle import Bundle, while_unchanged
from glow_deploy.artifact.bundle_writer import BundleWriter
from glow_deploy.artifact.leftovers import can_replace, retire
from glow_deploy.engines.pair import open_pair
from glow_deploy.errors import BundleError, BundleReplacedError, UsageError
from glow_deploy.export import ExportSettings, export

FILES = ("encoder.onnx", "decoder.onnx", "golden.npz")

# Replaces the bundle of its first argument by those of the others, in turn, for ever; a line for each.
WRITER = """
import sys, time
from itertools import cycle
from pathlib import Path
from glow_deploy.artifact import bundle_writer as module
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.bundle_writer import BundleWriter
target, how, pause, *sources = sys.argv[1:]
if how == "steps":
    module.exchange = lambda first, second: False
for source in cycle(sources):
    held = Bundle.open(source)
    with BundleWriter(Path(target), force=True) as writer:
        for name in held.manifest.files:
            writer.write(name, (held.path / name).read_bytes())
        writer.finish(held.manifest)
    print("replaced", flush=True)
    time.sleep(float(pause))
"""


@pytest.fixture(scope="module")
def two(perturbed_glow, tmp_path_factory):
    """Bundles of two models of one shape."""
    folder = tmp_path_factory.mktemp("two")
    config = GlowConfig(image_size=(4, 4), levels=1, steps=1, width=4)
    for seed, name in enumerate(("one", "other")):
        save_checkpoint(perturbed_glow(config, seed=seed), folder / f"{name}.pt")
        export(folder / f"{name}.pt", out=folder / name, settings=ExportSettings(golden=3))
    return [folder / "one", folder / "other"]


@pytest.fixture
def target(two, tmp_path):
    shutil.copytree(two[0], tmp_path / "bundle")
    return tmp_path / "bundle"


def start_writer(target: Path, two: list[Path], *, how: str = "exchange", pause: float = 0.0) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, str(target), how, str(pause), *map(str, two)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "replaced\n"
    return process


def whole(path: Path) -> str:
    """Check every file of a bundle; returns whose it is."""
    bundle = Bundle.open(path)
    for name in FILES:
        bundle.file(name)
    return bundle.manifest.model_id


def test_a_reader_never_meets_half_a_bundle(target, two):
    writer = start_writer(target, two, pause=0.1)
    seen, opened, ends = set(), 0, time.monotonic() + 60
    try:
        while (len(seen) < 2 or opened < 5) and time.monotonic() < ends:
            # On a slow machine it may be replaced at every try; that is told as what it is, and never as damage.
            with contextlib.suppress(BundleReplacedError):
                seen.add(while_unchanged(target, whole_of))
                with open_pair(target, threads=1) as (encoder, decoder):
                    assert encoder.n_bits == decoder.n_bits
                    opened += 1
    finally:
        writer.kill()
        writer.wait()
    assert len(seen) == 2, "the bundle was never replaced while it was read"


def whole_of(bundle: Bundle) -> str:
    for name in FILES:
        bundle.file(name)
    return bundle.manifest.model_id


def test_files_of_the_next_export_are_not_called_changed(target, two):
    """The control of the test above: without a second look the reader finds files that the manifest does not know."""
    opened = Bundle.open(target)
    shutil.rmtree(target)
    shutil.copytree(two[1], target)
    with pytest.raises(BundleReplacedError, match="replaced by another export"):
        opened.file("encoder.onnx")
    assert while_unchanged(target, whole_of) == Bundle.open(two[1]).manifest.model_id


def test_damage_is_still_told_as_damage(target):
    opened = Bundle.open(target)
    (target / "encoder.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match="changed or damaged") as raised:
        opened.file("encoder.onnx")
    assert not isinstance(raised.value, BundleReplacedError)


@pytest.mark.parametrize("how", ["exchange", "steps"])
def test_a_writer_killed_at_any_instant_leaves_the_old_one_or_the_new_one(target, two, how):
    generator = random.Random(how)
    ids = {Bundle.open(path).manifest.model_id for path in two}
    (target / "notes.txt").write_text("mine")
    for _ in range(8):
        writer = start_writer(target, two, how=how)
        time.sleep(generator.uniform(0, 0.05))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        if how == "exchange":
            assert whole(target) in ids
        source = Bundle.open(two[0])
        with BundleWriter(target, force=True) as next_writer:
            assert whole(target) in ids  # what was moved away is back
            for name in FILES:
                next_writer.write(name, source.file(name).read_bytes())
            next_writer.finish(source.manifest)
        assert whole(target) == source.manifest.model_id
        assert [path.name for path in target.parent.iterdir()] == ["bundle"]
        assert (target / "notes.txt").read_text() == "mine"


def test_what_was_moved_away_comes_back(target, monkeypatch):
    """Killed between the two renames of a file system without the exchange."""
    away = target.with_name(f".bundle.{temporaries.host_name()}.99999999.00ff.replaced")
    target.rename(away)
    monkeypatch.setattr(temporaries, "is_running", lambda pid: False)
    with BundleWriter(target, force=True):
        whole(target)
    whole(target)


def test_files_that_are_no_part_of_a_bundle_stay(target, two, monkeypatch):
    for how in (module.exchange, lambda first, second: False):
        monkeypatch.setattr(module, "exchange", how)
        (target / "notes.txt").write_text("mine")
        (target / "pictures").mkdir(exist_ok=True)
        (target / "pictures" / "a.png").touch()
        (target / "encoder.trt").touch()
        source = Bundle.open(two[1])
        with BundleWriter(target, force=True) as writer:
            for name in FILES:
                writer.write(name, source.file(name).read_bytes())
            writer.finish(source.manifest)
        assert {path.name for path in target.iterdir()} == {"manifest.json", *FILES, "notes.txt", "pictures"}
        assert (target / "pictures" / "a.png").exists()


def test_a_mount_point_and_the_folder_we_are_in_cannot_be_renamed(target, monkeypatch):
    assert can_replace(target)
    assert not can_replace(Path("/proc"))
    monkeypatch.chdir(target)
    assert not can_replace(target)


def test_a_folder_that_cannot_be_renamed_is_replaced_file_by_file(target, two, monkeypatch):
    monkeypatch.chdir(target)
    source = Bundle.open(two[1])
    with BundleWriter(Path(), force=True) as writer:
        for name in FILES:
            writer.write(name, source.file(name).read_bytes())
        writer.finish(source.manifest)
    assert whole(target) == source.manifest.model_id
    assert {path.name for path in target.iterdir()} == {"manifest.json", *FILES}


def test_a_link_to_a_bundle_stays_a_link(target, two):
    link = target.with_name("link")
    link.symlink_to("bundle")
    source = Bundle.open(two[1])
    with BundleWriter(link, force=True) as writer:
        for name in FILES:
            writer.write(name, source.file(name).read_bytes())
        writer.finish(source.manifest)
    assert link.is_symlink()
    assert whole(target) == whole(link) == source.manifest.model_id


class Stopped(BaseException):
    """A signal's exception."""


def replace_by(source: Path, target: Path) -> None:
    held = Bundle.open(source)
    with BundleWriter(target, force=True) as writer:
        for name in FILES:
            writer.write(name, held.file(name).read_bytes())
        writer.finish(held.manifest)


def no_exchange(first, second):
    return False


@pytest.fixture(params=["exchange", "steps"])
def how(request, monkeypatch):
    if request.param == "steps":
        monkeypatch.setattr(module, "exchange", no_exchange)


@pytest.fixture
def precious(target):
    """Files of the user's in a bundle, some of which look like ours."""
    (target / "notes.txt").write_text("mine")
    (target / "a_dir").mkdir()
    (target / "a_dir" / "x").write_text("mine")
    (target / "data.tmp").write_text("mine")
    (target / "old.unfinished").write_text("mine")
    (target / "link").symlink_to("notes.txt")
    return {"notes.txt", "a_dir", "data.tmp", "old.unfinished", "link"}


def assert_new_with(target: Path, source: Path, names: set[str]) -> None:
    assert whole(target) == whole(source)
    assert {path.name for path in target.iterdir()} == {"manifest.json", *FILES, *names}
    assert [path.name for path in target.parent.iterdir()] == ["bundle"]


def test_a_file_that_only_looks_like_ours_stays(how, target, two, precious):
    (target / temporaries.temporary_name("encoder.trt")).touch()  # what a killed compilation left
    replace_by(two[1], target)
    assert_new_with(target, two[1], precious)


@pytest.mark.parametrize("at", ["exchange", "sync_folder", "retire"])
def test_a_signal_right_after_the_switch_loses_nothing(how, target, two, precious, monkeypatch, at):
    real = getattr(module, at)

    def stopped(*arguments):
        found = real(*arguments) if at != "retire" else None
        if at != "sync_folder" or arguments[0] == target.parent:
            monkeypatch.setattr(module, at, real)
            raise Stopped
        return found

    monkeypatch.setattr(module, at, stopped)
    switched = at != "exchange" or real is not no_exchange
    with pytest.raises(Stopped):
        replace_by(two[1], target)
    assert_new_with(target, two[1] if switched else two[0], precious)


@pytest.mark.parametrize("after", [1, 2])
def test_a_signal_after_either_rename_loses_nothing(target, two, precious, monkeypatch, after):
    monkeypatch.setattr(module, "exchange", no_exchange)
    rename, count = Path.replace, 0

    def stopped(self, other):
        nonlocal count
        rename(self, other)
        count += 1
        if count == after:
            raise Stopped

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(Stopped):
        replace_by(two[1], target)
    assert_new_with(target, two[after - 1], precious)


def test_what_cannot_be_moved_is_kept_and_told(how, target, two, precious, monkeypatch):
    rename = Path.replace

    def refuse(self, other):
        if self.name == "a_dir":
            raise PermissionError(13, "Permission denied")
        return rename(self, other)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        with pytest.raises(
            UsageError, match=r"written, but an entry .* \(a_dir: Permission denied\): kept in "
        ) as error:
            replace_by(two[1], target)
    assert whole(target) == whole(two[1])
    (hidden,) = (path for path in target.parent.iterdir() if path != target)
    assert str(hidden) in str(error.value)
    assert [path.name for path in hidden.iterdir()] == ["a_dir"]
    assert {path.name for path in target.iterdir()} == {"manifest.json", *FILES, *precious} - {"a_dir"}
    monkeypatch.setattr(temporaries, "is_running", lambda pid: False)
    replace_by(two[0], target)  # the next one tries again
    assert_new_with(target, two[0], precious)


def test_a_file_of_which_the_bundle_has_another_is_kept(target, tmp_path):
    left = tmp_path / ".bundle.host.1.00ff.unfinished"
    left.mkdir()
    for name in ("notes.txt", "encoder.onnx"):
        (left / name).write_text("earlier")
    (target / "notes.txt").write_text("later")
    assert retire(left, target) == ["notes.txt: the bundle holds one already"]
    assert [(path.name, path.read_text()) for path in left.iterdir()] == [("notes.txt", "earlier")]
    assert (target / "notes.txt").read_text() == "later"


def test_without_a_bundle_in_its_place_an_earlier_one_is_left_alone(two, tmp_path):
    left = tmp_path / ".bundle.host.1.00ff.replaced"
    shutil.copytree(two[0], left)
    assert retire(left, tmp_path / "bundle") == ["all of it: nothing has taken its place"]
    whole(left)
