from pathlib import Path
from types import SimpleNamespace

import pytest
import torch.distributed

from glow_core.errors import TrainingError
from glow_core.training.peers import is_lost_peer, peers_watched


def work(error: Exception, *, size: int) -> None:
    state = SimpleNamespace(kept=lambda: "run/ckpt.pt still holds step 7")
    run = SimpleNamespace(fabric=SimpleNamespace(world_size=size), records=SimpleNamespace(state=state), step=9)
    with peers_watched(run, Path("run")):
        raise error


def test_a_lost_process_is_told_with_what_is_kept_and_how_to_go_on():
    with pytest.raises(TrainingError, match="another of the 2 processes") as raised:
        work(RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer"), size=2)
    assert "still holds step 7" in str(raised.value)
    assert "resume=True" in str(raised.value)


@pytest.mark.parametrize(
    "words",
    [
        "[gloo/transport/tcp/pair.cc:534] Read error [10.0.0.2]:4000: Connection reset by peer",
        "[gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation to complete",
        "Application timeout caused pair closure",
        "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely",
        "WorkNCCL(SeqNum=9, OpType=ALLREDUCE) ran for 600012 milliseconds before timing out.",
    ],
)
def test_a_connection_that_is_gone_or_silent_is_known_by_what_is_said_of_it(words):
    assert is_lost_peer(RuntimeError(words))
    assert is_lost_peer(torch.distributed.DistBackendError(words))
    assert not is_lost_peer(ValueError(words))


def test_an_error_of_the_network_is_known_by_its_kind():
    assert is_lost_peer(torch.distributed.DistNetworkError("whatever it says"))
    assert is_lost_peer(torch.distributed.DistStoreError("whatever it says"))


@pytest.mark.parametrize(
    "words",
    [
        "NCCL error: unhandled cuda error (out of memory)",
        "NCCL error in: NCCLUtils.hpp:94, invalid usage, NCCL version 2.21.5",
        "Default process group has not been initialized, please make sure to call init_process_group.",
        "ProcessGroupGloo: unsupported layout",
        "[enforce fail at gloo/allreduce.cc:12] elements <= most",
        "CUDA error: an illegal memory access was encountered",
    ],
)
def test_a_fault_of_this_process_is_blamed_on_no_other(words):
    assert not is_lost_peer(RuntimeError(words))
    assert not is_lost_peer(torch.distributed.DistBackendError(words))
    with pytest.raises(RuntimeError) as raised:
        work(RuntimeError(words), size=2)
    assert str(raised.value) == words


@pytest.mark.parametrize(
    ("error", "size"), [(RuntimeError("Connection closed by peer"), 1), (RuntimeError("shapes differ"), 2)]
)
def test_other_errors_stay_what_they_are(error, size):
    with pytest.raises(RuntimeError) as raised:
        work(error, size=size)
    assert raised.value is error
