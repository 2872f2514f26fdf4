from __future__ import annotations

import numpy as np
import pytest

from glow_core.errors import CheckpointError
from glow_core.readers import read_checkpoint
from glow_core.readers.kinds import refuse_other_kinds


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"ftrt" + bytes(60), "a TensorRT plan"),
        (b"hello, I am a text\n" * 100, "a text file"),
        ("Zürich\n".encode() * 200, "a text file"),
        (b'{"json": true}\n', "a text file"),
        (b"\x08\x0a\x12\x0bglow-deploy", "an ONNX graph"),
        (b"\x1f\x8b\x08", "a gzip archive"),
    ],
)
def test_a_file_of_another_kind_is_told(tmp_path, start, kind):
    path = tmp_path / "ckpt.pt"
    path.write_bytes(start)
    with pytest.raises(CheckpointError, match=kind):
        read_checkpoint(path)


def test_an_exported_graph_is_told(tmp_path, perturbed_glow):
    from glow_core import GlowConfig
    from glow_deploy.folding.fold import fold
    from glow_deploy.graphs.decoder import build_decoder
    from glow_deploy.graphs.describe import describe
    from glow_deploy.graphs.serialize import serialize

    folded = fold(perturbed_glow(GlowConfig(image_size=(4, 4), levels=1, steps=1, width=4)))
    facts = describe(folded, role="decoder", precision="fp32", model_id=folded.model_id())
    (tmp_path / "decoder.onnx").write_bytes(serialize(build_decoder(folded, metadata=facts)))
    with pytest.raises(CheckpointError, match="an ONNX graph"):
        read_checkpoint(tmp_path / "decoder.onnx")


def test_a_folder_names_the_checkpoints_in_it(tmp_path):
    with pytest.raises(CheckpointError, match=r"a folder, not a checkpoint file; no checkpoint is in it"):
        read_checkpoint(tmp_path)
    (tmp_path / "b.pt").write_bytes(b"")
    (tmp_path / "a.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"name one of the checkpoints in it: a\.safetensors, b\.pt"):
        read_checkpoint(tmp_path)


def test_checkpoints_pass(tmp_path):
    import torch

    torch.save({"a": torch.zeros(3)}, tmp_path / "zip.pt")
    torch.save({"a": torch.zeros(3)}, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    for name in ("zip.pt", "legacy.pt", "a.npz"):
        refuse_other_kinds(tmp_path / name)
