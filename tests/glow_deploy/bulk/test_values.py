from __future__ import annotations

import pytest

from glow_deploy.bulk.values import digest, plain_text, whole


def test_numbers_and_digests_are_taken_as_they_are_or_refused():
    assert (whole(0, "rows"), whole(2**63 - 1, "rows", least=1)) == (0, 2**63 - 1)
    for value in (-1, 2**63, 1.0, True, "1", None):
        with pytest.raises(ValueError, match="rows is no whole number of at least 0"):
            whole(value, "rows")
    assert digest("0f" * 32, "record") == "0f" * 32
    for value in ("0F" * 32, "0f" * 31, "0f" * 32 + "\n", None):
        with pytest.raises(ValueError, match="record: a sha256 is missing"):
            digest(value, "record")


def test_a_name_that_no_table_holds_is_written_as_escapes():
    assert plain_text("größe.png") == "größe.png"
    assert plain_text("p\udcff.png").encode() == b"p\\udcff.png"
