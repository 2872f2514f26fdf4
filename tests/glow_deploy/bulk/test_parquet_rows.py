from __future__ import annotations

import pyarrow
import pytest
from pyarrow import parquet

from glow_deploy.bulk.parquet_rows import ParquetRows
from glow_deploy.errors import DataError

PICTURES = [bytes([number]) * 50 for number in range(10)]


def write(path, columns, **options):
    parquet.write_table(pyarrow.table(columns), path, **options)
    return path


@pytest.mark.parametrize("cells", ["bytes", "hub"])
def test_rows_are_found_over_row_groups(tmp_path, cells):
    held = PICTURES if cells == "bytes" else [{"bytes": data, "path": "x.png"} for data in PICTURES]
    path = write(tmp_path / "p.parquet", {"n": list(range(10)), "picture": held}, row_group_size=4)
    rows = ParquetRows(path, name="p")
    assert (rows.count, rows.column) == (10, "picture")
    for first, last in ((0, 10), (0, 4), (3, 9), (8, 10), (5, 6)):
        found = list(rows.read(first, last))
        assert [row.data for row in found] == PICTURES[first:last]
        assert found[0].name == f"p:{first}"


def test_a_row_without_a_picture_has_a_fault(tmp_path):
    path = write(tmp_path / "p.parquet", {"picture": [b"a", None, b"c"]})
    first, second, _ = ParquetRows(path, name="p").read(0, 3)
    assert first.fault == ""
    assert second.data is None
    assert second.fault == "p:1 holds no picture in the column picture"


@pytest.mark.parametrize(
    ("columns", "column", "message"),
    [
        ({"n": [1], "words": ["x"]}, None, "no column of encoded pictures; it has n, words"),
        ({"a": [b"x"], "b": [b"y"]}, None, r"several columns of bytes \(a, b\); say which holds the pictures: column="),
        ({"a": [b"x"]}, "image", "has no column image; it has a"),
        ({"a": [b"x"], "n": [1]}, "n", "the column n is int64; encoded pictures are needed"),
    ],
)
def test_which_column_is_told_or_asked(tmp_path, columns, column, message):
    path = write(tmp_path / "p.parquet", columns)
    with pytest.raises(DataError, match=message):
        ParquetRows(path, name="p", column=column)
    assert ParquetRows(write(path, {"a": [b"x"], "b": [b"y"]}), name="p", column="b").count == 1


def test_a_damaged_file_is_told_in_one_line(tmp_path):
    path = write(tmp_path / "p.parquet", {"picture": PICTURES}, compression="zstd", use_dictionary=False)
    whole = path.read_bytes()
    for data, message in (
        (whole[:-20], r"p\.parquet is cut short: it does not end as a Parquet file does"),
        (b"PAR1", "is cut short"),
        (b"none of it", "is no Parquet file"),
        (whole[:-8] + (1 << 30).to_bytes(4, "little") + b"PAR1", "its footer claims 1,073,741,824 bytes"),
        (whole.replace(b"picture", b"pict\xffre"), r"p\.parquet cannot be opened as a Parquet file \(.*utf-8"),
        (whole[:-60] + bytes(52) + whole[-8:], r"p\.parquet cannot be opened as a Parquet file"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=message) as caught:
            ParquetRows(path, name="p")
        assert "\n" not in str(caught.value)
    path.write_bytes(whole[:4] + bytes(60) + whole[64:])  # the column itself
    with pytest.raises(DataError, match=r"p\.parquet: the column picture cannot be read \("):
        list(ParquetRows(path, name="p").read(0, 10))


def test_a_row_group_that_claims_too_much_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "p.parquet", {"picture": PICTURES})
    monkeypatch.setattr("glow_deploy.bulk.parquet_rows._LARGEST_GROUP", 100)
    for column in ("picture", "picture.png"):
        write(path, {column: PICTURES})
        with pytest.raises(DataError, match=r"row group 0 claims \d+ bytes of pictures in 10 rows; write .* smaller"):
            ParquetRows(path, name="p")


def test_a_column_whose_name_begins_as_anothers_is_told_apart(tmp_path):
    path = write(tmp_path / "p.parquet", {"a.b": PICTURES[:2], "a": PICTURES[2:4], "a.c": [1, 2]})
    for column, pictures in (("a.b", PICTURES[:2]), ("a", PICTURES[2:4])):
        assert [row.data for row in ParquetRows(path, name="p", column=column).read(0, 2)] == pictures
