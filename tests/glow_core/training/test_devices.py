from __future__ import annotations

import pytest
import torch
from training_toys import toy_config, toy_settings

from glow_core.errors import TrainingError
from glow_core.training import plan_training
from glow_core.training.devices import make_fabric


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_an_error() -> None:
    with pytest.raises(TrainingError, match="cuda is not there"):
        make_fabric("cuda")
    for device in ("cuda", "cuda:3"):
        with pytest.raises(TrainingError, match=f"{device} is not there"):
            plan_training(toy_config(), toy_settings(device=device))
    assert make_fabric("auto").device.type == "cpu"


@pytest.mark.parametrize(("restarts", "hint"), [("0", False), ("2", True)])
def test_processes_that_do_not_reach_each_other_are_told_so(monkeypatch, restarts, hint) -> None:
    """torchrun keeps the addresses of the processes before a restart; an error of another kind is nobody's fault."""
    from lightning_fabric import Fabric

    said = "Gloo connectFullMesh failed with [pair.cc:152] timed out connecting: SO_ERROR: Connection refused"

    def fail(self: Fabric) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(Fabric, "launch", fail)
    monkeypatch.delenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", raising=False)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restarts)
    with pytest.raises(TrainingError, match=r"do not reach each other .*Connection refused") as raised:
        make_fabric("cpu")
    assert ("set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in str(raised.value)) is hint
    said = "the shapes differ"
    with pytest.raises(RuntimeError, match="the shapes differ"):
        make_fabric("cpu")
