from __future__ import annotations

from dataclasses import replace

import pytest

from glow_deploy.artifact.identity import engine_facts
from glow_deploy.bulk import BulkSettings
from glow_deploy.bulk.checks import rows_of_a_shard

one_model = pytest.mark.parametrize("bundle", ["rgb"], indirect=True)


@one_model
def test_a_shard_has_256_mib_at_most(bundle):
    """Whole batches, where one fits; else as many rows as fit."""
    facts = engine_facts(bundle / "encoder.onnx")
    for side, batch, rows in (
        (32, 64, 4096),
        (1024, 64, 21),
        (1024, 8, 16),
        (4096, 64, 1),
        (10**5, 1, 1),
        (8, 5000, 4096),
    ):
        sized = replace(facts, image_size=(side, side))
        assert rows_of_a_shard("encode", BulkSettings(batch=batch), sized) == rows
