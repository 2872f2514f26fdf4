from __future__ import annotations

import time

import pytest

from glow_deploy.errors import DataError, EngineError, UnsoundModelError, UsageError
from glow_deploy.serving import ServeSettings
from glow_deploy.serving.batching import BusyError, LateError
from glow_deploy.serving.service import deadline, trouble_status


@pytest.mark.parametrize(
    ("asked", "seconds"), [({}, 5), ({"timeout": 2_000_000}, 2), ({"timeout": 9_000_000}, 5), ({"timeout": "1"}, 5),
                           ({"timeout": -1}, 5), ({"timeout": True}, 5),
                           ({"timeout": 10**400}, 5)],
)  # fmt: skip
def test_a_request_may_ask_for_less_time_and_never_for_more(asked, seconds):
    left = deadline(asked, ServeSettings(deadline=5)) - time.monotonic()
    assert seconds - 0.5 < left <= seconds


def test_errors_have_the_status_of_whose_fault_it_is():
    errors = (DataError, UsageError, BusyError, LateError, EngineError, UnsoundModelError)
    assert [trouble_status(error("x")) for error in errors] == [400, 400, 503, 504, 500, 500]
