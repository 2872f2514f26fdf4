from __future__ import annotations

import doctest

import numpy as np
import pytest

from glow_deploy.directions import attribute_table as module
from glow_deploy.directions.attribute_table import read_attribute_table
from glow_deploy.errors import DataError, UsageError

CELEBA = "3\n5_o_Clock_Shadow Smiling\n000001.jpg -1  1\n000002.jpg  1 -1\n000003.jpg -1 -1\n"


@pytest.fixture
def write(tmp_path):
    def put(content: str | bytes, name: str = "tags.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return put


def test_the_examples_hold():
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize(
    "content",
    [
        "file,smiling,hat\na.png,1,0\nsub/b.png,0,0\n",
        "\ufefffile,smiling,hat\r\na.png,1,-1\r\n\r\nsub/b.png,-1,-1\r\n",
        "file;smiling;hat\na.png;True;False\nsub/b.png;false;no\n",
        "file\tsmiling\that\na.png\tyes\t0.0\nsub/b.png\t0\t-1.0\n",
        '"file", smiling , hat\n"a.png", 1, 0\n"sub/b.png", 0, 0',
    ],
)
def test_csv_of_any_make(write, content):
    table = read_attribute_table(write(content))
    assert table.names == ("smiling", "hat")
    assert table.files == ("a.png", "sub/b.png")
    assert table.values.tolist() == [[True, False], [False, False]]


def test_celeba_as_it_is_published(write):
    table = read_attribute_table(write(CELEBA, "list_attr_celeba.txt"))
    assert table.names == ("5_o_Clock_Shadow", "Smiling")
    assert table.files == ("000001.jpg", "000002.jpg", "000003.jpg")
    assert table.values.tolist() == [[False, True], [True, False], [False, False]]


def test_chosen_tags_keep_their_order_and_other_columns_may_hold_anything(write):
    path = write("file,,split,hat,smiling\na.png,x,train,1,0\nb.png,y,test,0,0\n")
    table = read_attribute_table(path, tags=["smiling", "hat", "smiling"])
    assert table.names == ("smiling", "hat")
    assert table.values.tolist() == [[False, True], [False, False]]
    with pytest.raises(DataError, match="cannot name an attribute"):
        read_attribute_table(path)
    with pytest.raises(UsageError, match="has no attribute 'beard'"):
        read_attribute_table(path, tags=["beard"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("file,smiling\na.png,2\n", r"line 2: smiling is '2', neither 1, true nor 0.*tags="),
        ("file,smiling\na.png,1\nb.png,\n", "line 3: smiling is ''"),
        ("file,smiling\na.png,1\na.png,0\n", "line 3: 'a.png' is there already, in line 2"),
        ("file,smiling\na.png,1,1\n", "line 2: 3 values where the header names 2"),
        ("file,smiling\n,1\n", "line 2: there is no file name"),
        ("file,smiling\n", "no rows"),
        ("file\na.png\n", "names no attributes"),
        ("", "names no attributes"),
        ("file,hat,hat\na.png,1,0\n", "names the attribute 'hat' twice"),
        ("file,ha\x07t\na.png,1\n", "cannot name an attribute"),
        ("file," + "h" * 101 + "\na.png,1\n", "cannot name an attribute"),
        ("file," + ",".join(map(str, range(5000))) + "\n", "names 5000 attributes"),
        (b"\xff\xfe\x00,\x00", "not a table of text"),
        ('file,smiling\n"a.png' + "x" * 200_000 + ",1\n", "not a table of text"),
        (CELEBA.replace("3\n", "4\n", 1), "announces 4 rows and holds 3"),
        (CELEBA.replace("-1  1", "0.5 1"), "line 3: 5_o_Clock_Shadow is '0.5'"),
        ("7\n", "names no attributes"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(write, content, reason):
    with pytest.raises(DataError, match=reason) as caught:
        read_attribute_table(write(content))
    assert "tags.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_attribute_table(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_attribute_table(tmp_path)


def test_npz(tmp_path):
    path = tmp_path / "tags.npz"
    names, values = np.array(["smiling", "hat"]), np.array([[1, -1], [-1, -1], [1, 1]])
    np.savez(path, attributes=values, attribute_names=names)
    table = read_attribute_table(path, tags=["hat"])
    assert (table.names, table.files) == (("hat",), None)
    assert table.values.tolist() == [[False], [False], [True]]
    np.savez(path, attributes=values > 0, attribute_names=names, files=np.array(["a", "b", "c"]))
    assert read_attribute_table(path).files == ("a", "b", "c")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"attributes": None}, "`attributes` is missing"),
        ({"attribute_names": None}, "`attribute_names` is missing"),
        ({"attributes": np.ones((3, 3))}, r"`attributes` has the shape \[3, 3\]"),
        ({"attributes": np.ones((0, 2))}, "`attributes` has the shape"),
        ({"attributes": np.full((3, 2), 0.5)}, "other values than 0 and 1"),
        ({"attributes": np.full((3, 2), np.nan)}, "other values than 0 and 1"),
        ({"attributes": np.full((3, 2), "1")}, "other values than 0 and 1"),
        ({"attributes": np.array([[{}, {}]] * 3, dtype=object)}, "Python objects"),
        ({"files": np.array(["a", "a", "b"])}, "2 different names for 3 rows"),
        ({"files": np.array([1, 2, 3])}, "a list of texts"),
    ],
)
def test_bad_npz(tmp_path, change, reason):
    good = {"attributes": np.ones((3, 2)), "attribute_names": np.array(["smiling", "hat"])}
    arrays = {key: value for key, value in (good | change).items() if value is not None}
    np.savez(tmp_path / "tags.npz", **arrays)
    with pytest.raises(DataError, match=reason):
        read_attribute_table(tmp_path / "tags.npz")


def test_a_first_line_of_thousands_of_digits_is_no_count(write):
    with pytest.raises(DataError, match="names no attributes"):
        read_attribute_table(write("9" * 6000 + "\nSmiling\n000001.jpg 1\n"))


def test_an_archive_with_too_many_names_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "tags.npz"
    np.savez(path, attributes=np.zeros((2, 2)), attribute_names=np.zeros(5000, "U1"))
    monkeypatch.setattr(module.NpzArchive, "read", lambda *_: pytest.fail("the names were read"))
    with pytest.raises(DataError, match="`attribute_names` holds 5000 texts; 4096 at most"):
        read_attribute_table(path)
