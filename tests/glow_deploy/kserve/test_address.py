from __future__ import annotations

import pytest

from glow_deploy.errors import UsageError
from glow_deploy.kserve.address import check_model_name, is_remote, parse_remote


@pytest.mark.parametrize(
    ("given", "url", "name"),
    [
        ("triton=localhost:8000", "http://localhost:8000", "glow"),
        ("kserve=127.0.0.1:1/faces", "http://127.0.0.1:1", "faces"),
        ("triton=https://models.example:443/a.b-c_d", "https://models.example:443", "a.b-c_d"),
        ("triton=[::1]:8000", "http://[::1]:8000", "glow"),
    ],
)
def test_a_server_is_named(given, url, name):
    assert is_remote(given)
    assert (parse_remote(given).url, parse_remote(given).name) == (url, name)


@pytest.mark.parametrize(
    "given",
    [
        "triton=", "triton=localhost", "triton=localhost:", "triton=localhost:0", "triton=localhost:65536",
        "triton=localhost:²", "triton=ftp://localhost:80", "triton=user@localhost:80", "triton=a b:80",
        "triton=localhost:80/", "triton=localhost:80/../x", "triton=localhost:80/a/b", "triton=localhost:80?x",
        "triton=:8000", "triton=a\r\nb:80", "triton=localhost:" + "9" * 5000,
    ],
)  # fmt: skip
def test_what_names_no_server_is_refused(given):
    with pytest.raises(UsageError):
        parse_remote(given)


def test_other_backends_are_no_servers():
    assert not any(map(is_remote, ("onnxruntime-cpu", "triton", "tritonx=localhost:1", "")))
    with pytest.raises(UsageError, match="name="):
        check_model_name("a/b")
