from __future__ import annotations

import pytest

from glow_deploy.artifact import whole_folder
from glow_deploy.artifact.whole_folder import check_folder_target, write_folder
from glow_deploy.errors import UsageError


def test_a_folder_is_written_and_replaced_whole(tmp_path, monkeypatch):
    for exchange in (whole_folder.exchange, lambda *_: False):  # also where a system cannot exchange folders
        monkeypatch.setattr(whole_folder, "exchange", exchange)
        place = tmp_path / "a"
        write_folder(place, {"x": b"1", "deep/y": b"2"})
        write_folder(place, {"x": b"3"})
        assert {path.relative_to(place).as_posix() for path in place.rglob("*")} == {"x"}
        assert (place / "x").read_bytes() == b"3"
        assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_only_what_is_ours_may_be_replaced(tmp_path):
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "y").write_text("x")
    check_folder_target(tmp_path / "a", ours={"deep/y"}, force=True)
    check_folder_target(tmp_path / "new", ours=set(), force=False)
    for ours, force in (({"deep/y"}, False), ({"y"}, True), (set(), True)):
        with pytest.raises(UsageError):
            check_folder_target(tmp_path / "a", ours=ours, force=force)
    (tmp_path / "a" / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="link"):
        check_folder_target(tmp_path / "a", ours={"deep/y"}, force=True)
