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


@pytest.mark.parametrize("wrong", [*WRONG, {"backend": "abacus"}, {"instances": 0}, {"device": "tpu"}])
def test_what_triton_cannot_do_is_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        TritonSettings(**wrong)


@pytest.mark.parametrize("wrong", [*WRONG, {"flavor": "abacus"}, {"max_body": 1}, {"device": "tpu"}, {"hosts": 3}])
def test_what_the_server_cannot_do_is_refused(wrong):
    with pytest.raises(UsageError):
        ServeSettings(**wrong)


@pytest.mark.parametrize("host", ["glow:8000", "http://glow", "a b", "[::1]:8000", ""])
def test_hosts_are_named_without_ports(host):
    with pytest.raises(UsageError):
        ServeSettings(hosts=(host,))
    known = ("*", "Models.example", "a_b", "192.0.2.7", "::1", "[2001:db8::1]")
    assert ServeSettings(hosts=known).hosts == (*known[:5], "2001:db8::1")
