from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.engines.splitting import Piece, fixed_pieces, pad_rows, split_batch


@pytest.mark.parametrize(("smallest", "largest"), [(1, 1), (1, 4), (3, 4), (4, 4), (2, 7)])
@pytest.mark.parametrize("batch", range(1, 18))
def test_pieces_cover_every_row_once_and_fit_the_profile(batch, smallest, largest):
    pieces = split_batch(batch, smallest=smallest, largest=largest)
    assert [row for piece in pieces for row in range(piece.start, piece.stop)] == list(range(batch))
    assert all(smallest <= piece.rows <= largest and piece.rows >= piece.stop - piece.start for piece in pieces)
    assert len(pieces) == -(-batch // largest)


def test_only_a_rest_below_the_minimum_is_padded():
    assert split_batch(9, smallest=3, largest=4) == [Piece(0, 4, 4), Piece(4, 8, 4), Piece(8, 9, 3)]


@pytest.mark.parametrize(("batch", "smallest", "largest"), [(0, 1, 4), (3, 0, 4), (3, 5, 4)])
def test_impossible_profiles_are_refused(batch, smallest, largest):
    with pytest.raises(ValueError, match="cannot split"):
        split_batch(batch, smallest=smallest, largest=largest)


@pytest.mark.parametrize("sizes", [(1,), (1, 4), (1, 4, 16)])
def test_pieces_of_fixed_sizes_cover_every_row_once_and_are_more_than_half_full(sizes):
    for batch in range(1, 70):
        pieces = fixed_pieces(batch, sizes)
        assert [row for piece in pieces for row in range(piece.start, piece.stop)] == list(range(batch))
        assert all(piece.rows in sizes and piece.rows / 2 < piece.stop - piece.start <= piece.rows for piece in pieces)


def test_large_pieces_come_first_and_a_rest_is_padded_or_run_in_smaller_ones():
    assert fixed_pieces(15, (1, 4, 16)) == [Piece(0, 15, 16)]
    assert fixed_pieces(23, (1, 4, 16)) == [Piece(0, 16, 16), Piece(16, 20, 4), Piece(20, 23, 4)]
    assert fixed_pieces(6, (1, 4, 16)) == [Piece(0, 4, 4), Piece(4, 5, 1), Piece(5, 6, 1)]


@pytest.mark.parametrize(("batch", "sizes"), [(0, (1, 4)), (3, (4,))])
def test_no_rows_and_no_size_of_one_are_refused(batch, sizes):
    with pytest.raises(ValueError, match="cannot cut"):
        fixed_pieces(batch, sizes)


def test_padding_repeats_the_last_row_and_nothing_else():
    rows = np.arange(6.0).reshape(3, 2)
    padded = pad_rows(rows, 5)
    assert padded.tolist() == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]]
    assert pad_rows(rows, 3) is rows
