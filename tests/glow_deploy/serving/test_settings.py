from __future__ import annotations

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.serving import ServeSettings, TritonSettings

WRONG = [
    {"name": "a/b"},
    {"name": ".."},
    {"max_batch": 0},
    {"delay": -1},
    {"deadline": 0},
    {"threads": 0},
    {"queue": 0},
]


@pytest.mark.parametrize("wrong", [*WRONG, {"backend": "abacus"}, {"model_version": 0}, {"device": "tpu"}])
def test_what_triton_cannot_do_is_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        TritonSettings(**wrong)


@pytest.mark.parametrize("wrong", [*WRONG, {"flavor": "abacus"}, {"max_body": 1}, {"device": "tpu"}, {"hosts": 3}])
def test_what_the_server_cannot_do_is_refused(wrong):
    with pytest.raises(UsageError):
        ServeSettings(**wrong)
