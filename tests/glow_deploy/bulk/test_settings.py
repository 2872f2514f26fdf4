from __future__ import annotations

import pytest

from glow_deploy.bulk.settings import BulkSettings, Where
from glow_deploy.errors import UsageError


@pytest.mark.parametrize(
    ("action", "options", "message"),
    [
        ("sample", {}, "how many samples to draw: count="),
        ("encode", {"count": 3}, "count= is for sample"),
        ("score", {"draws": 0}, "at least one draw"),
        ("edit", {}, "say what to add"),
        ("score", {"attributes": {"hat": 1}}, "attributes= are for edit, not for score"),
        ("encode", {"labels": (0, 1)}, "2 classes were given; give one"),
        ("sample", {"count": 1, "best_class": True}, "samples have no likeliest class"),
    ],
)
def test_an_action_takes_its_own_options(action, options, message):
    with pytest.raises(UsageError, match=message):
        BulkSettings(**options).check_for(action)
    BulkSettings(draws=0).check_for("encode")
    BulkSettings(count=3, labels=(0, 1)).check_for("sample")


@pytest.mark.parametrize(
    "options", [{"batch": 0}, {"format": "csv"}, {"shard_rows": 0}, {"temperature": -1}, {"attributes": {"hat": "x"}}]
)
def test_values_out_of_range_are_refused(options):
    with pytest.raises(UsageError):
        BulkSettings(**options)


def test_a_cluster_is_asked_for_by_name():
    assert Where(engine="ray", workers=3).workers == 3
    assert (Where(engine="ray").threads, Where(engine="ray", threads=2).threads, Where().threads) == (1, 2, None)
    with pytest.raises(UsageError, match="engine is 'spark'; choose from local, ray"):
        Where(engine="spark")
    with pytest.raises(UsageError, match='workers= is for engine="ray"'):
        Where(workers=3)
