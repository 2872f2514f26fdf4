from __future__ import annotations

import pytest
from glow_cli.common.train_options.together import refuse_on_resume, refuse_with_init

from glow_deploy.errors import UsageError


def test_a_resumed_run_writes_where_it_did_and_keeps_its_settings():
    refuse_on_resume({"resume", "max_steps"})
    with pytest.raises(UsageError, match="--resume RUN writes to RUN; leave --out away"):
        refuse_on_resume({"resume", "out"})
    with pytest.raises(UsageError, match="keeps its own settings: leave --batch-size, --width away"):
        refuse_on_resume({"resume", "width", "batch_size"})


def test_a_run_from_given_weights_has_their_shape():
    refuse_with_init({"out", "width"})
    refuse_with_init({"init", "weights", "batch_size"})
    with pytest.raises(UsageError, match="the model of --init keeps its own shape: leave --levels, --width away"):
        refuse_with_init({"init", "width", "levels"})
    with pytest.raises(UsageError, match="give --init CKPT too"):
        refuse_with_init({"weights"})
