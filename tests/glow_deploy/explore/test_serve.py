from __future__ import annotations

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.explore.serve import bind, page_hosts, page_url


def test_a_port_is_ours_or_the_reason_is_told():
    with bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert page_url(listening) == f"http://127.0.0.1:{port}/"
        assert page_hosts("127.0.0.1", listening) == ()
        with pytest.raises(UsageError, match="port=0"):
            bind("127.0.0.1", port)
    with pytest.raises(UsageError, match="not known"):
        bind("no.such.name.invalid", 0)
    with pytest.raises(UsageError, match=r"192\.0\.2\.1"):
        bind("192.0.2.1", 0)  # of documentation: no machine has it


def test_a_port_open_to_others_answers_under_addresses():
    with bind("0.0.0.0", 0) as listening:
        assert page_url(listening).startswith("http://127.0.0.1:")
        assert page_hosts("0.0.0.0", listening)[0] == "*"
