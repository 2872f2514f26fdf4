import pytest

from glow_deploy.artifact import switch
from glow_deploy.artifact.switch import exchange


def test_two_folders_change_names(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "what").write_text(name)
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip(f"the file system of {tmp_path} has no exchange of names")
    assert (tmp_path / "a" / "what").read_text() == "b"
    assert (tmp_path / "b" / "what").read_text() == "a"


def test_a_system_without_the_exchange_is_told_and_nothing_changes(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "what").touch()
    monkeypatch.setattr(switch, "_renameat2", lambda: None)
    assert not exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "what").exists()


def test_an_exchange_that_fails_for_another_reason_says_so(tmp_path):
    (tmp_path / "a").mkdir()
    if switch._renameat2() is None:
        pytest.skip("this system has no exchange of names")
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "nothing")
