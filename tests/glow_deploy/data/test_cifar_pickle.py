import os
import pickle

import numpy as np
import pytest

from glow_deploy.data.cifar_pickle import read_batch
from glow_deploy.errors import DataError


class Opens:
    """A pickle of this makes the folder PWNED when it is loaded."""

    def __reduce__(self):
        return os.mkdir, ("PWNED",)


HOSTILE = {
    "a call": pickle.dumps({"data": Opens()}),
    "a call by its old name": b"cos\nsystem\n(S'mkdir PWNED'\ntR.",
    "builtins": b'c__builtin__\neval\n(S\'__import__("os").mkdir("PWNED")\'\ntR.',
    "a part of NumPy that loads code": b"cnumpy.testing._private.utils\nrunstring\n(S'1'\nS'2'\ntR.",
    "objects in an array": pickle.dumps({"data": np.array([Opens()], object)}, protocol=2),
    "another dtype": pickle.dumps({"data": np.zeros((2, 3072))}, protocol=2),
    "a list": pickle.dumps([1, 2]),
    "nothing": b"",
    "noise": np.random.default_rng(0).bytes(1000),
    "a huge frame": b"\x80\x04\x95" + b"\xff" * 8,
    "deep": b"(" * 100_000,
    "its own stand-in, changed": b"\x80\x02cnumpy\nndarray\nq\x00}X\x0c\x00\x00\x00__setstate__K\x01sb.",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_is_run(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no CIFAR batch that is read") as raised:
        read_batch(HOSTILE[kind], name="data_batch_1")
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []
    # And the reader is as it was.
    held = {"data": np.zeros((1, 3072), np.uint8), "labels": [1]}
    assert read_batch(pickle.dumps(held, protocol=2), name="x")["labels"] == [1]


def test_they_would_run_code(tmp_path, monkeypatch):
    """Negative control of the test above."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(HOSTILE["a call"])
    assert [path.name for path in tmp_path.iterdir()] == ["PWNED"]
