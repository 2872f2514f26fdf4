from __future__ import annotations


def test_a_repository_is_written_and_what_to_do_next_is_said(invoke, model, place):
    result = invoke("triton", model.bundle, "--out", "repo", "--name", "faces", "--max-batch", "8")
    assert result.exit_code == 0, result.output
    assert "tritonserver --model-repository=" in result.output
    assert "--backend triton=localhost:8000/faces" in result.output
    assert sorted(path.name for path in (place / "repo").iterdir() if path.is_dir()) == [
        f"faces-{role}" for role in ("canary", "decoder", "encoder", "sample", "score")
    ]
    assert "max_batch_size: 8\n" in (place / "repo" / "faces-encoder" / "config.pbtxt").read_text()


def test_bfloat16_is_warned_of(invoke, model, place):
    assert "bfloat16" in invoke("triton", model.bundle, "--out", "repo", "--backend", "openvino").output


def test_what_cannot_be_written_is_one_line(invoke, model, place):
    for words in (("--out", "missing/repo"), ("--name", "a/b"), ("--backend", "tensorrt")):
        result = invoke("triton", model.bundle, *words)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
    assert list(place.iterdir()) == []
