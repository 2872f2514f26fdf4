from __future__ import annotations


def test_what_cannot_be_done_is_one_line(invoke, model, place):
    for words, said in (
        (("push", model.bundle, "me/faces"), "--license"),
        (("push", model.bundle, "faces", "--license", "mit"), "OWNER/NAME"),
        (("push", model.bundle, "me/x", "--license", "mit", "--revision", "1"), "--revision is for pull"),
        (("push", "nowhere", "me/x", "--license", "mit"), "nowhere"),
        (("pull", "faces", "b"), "OWNER/NAME"),
        (("pull", "me/x", "missing/b"), "no such folder"),
        (("fetch", "me/x", "b"), "push"),
    ):
        result = invoke("hub", *words)
        assert result.exit_code == 2, words
        assert said in result.stderr, result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert list(place.iterdir()) == []
