import time

import torch

from glow_core.training.timing import seconds_of


def test_work_is_done_once_and_a_gpu_is_waited_for(monkeypatch):
    steps = []
    monkeypatch.setattr(torch.cuda, "synchronize", steps.append)
    monkeypatch.setattr(time, "perf_counter", lambda: float(len(steps)))
    assert seconds_of(lambda: steps.append("work"), torch.device("cpu")) == 1.0
    assert steps == ["work"]
    device = torch.device("cuda")
    assert seconds_of(lambda: steps.append("work"), device) == 2.0  # the work, and the wait for it
    assert steps[1:] == [device, "work", device]
