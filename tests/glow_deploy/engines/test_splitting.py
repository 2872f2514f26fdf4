from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.engines.splitting import Piece, pad_rows, split_batch


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


def test_padding_repeats_the_last_row_and_nothing_else():
    rows = np.arange(6.0).reshape(3, 2)
    padded = pad_rows(rows, 5)
    assert padded.tolist() == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]]
    assert pad_rows(rows, 3) is rows
