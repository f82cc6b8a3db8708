"""The way between two cells through a small network: its ends are the cells, its effects what a plain loop gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass.models.transformer.lines import Laid, Ways, lay
from cellglass.models.transformer.tokens import Padded, TokenLists


def lists(*genes: list[int]) -> TokenLists:
    """Cells with a first token of no gene, and one token for each gene."""
    flat = np.concatenate([[-1, *one] for one in genes]).astype(np.int64)
    start = np.cumsum([0, *(len(one) + 1 for one in genes)])
    return TokenLists(start, np.where(flat < 0, 99, flat), flat, flat.astype(np.float32))


def test_tokens_of_two_cells_are_laid_side_by_side() -> None:
    ours, theirs = lists([5, 2, 7], [1]), lists([2, 9], [1, 3, 4])
    laid = lay(ours, theirs, (ours.gene, theirs.gene))
    # First pair: <cls>, then genes 2, 5, 7, 9; second: <cls>, 1, 3, 4.
    assert laid.prototype.tolist() == [[0, 2, 1, 3, -1], [0, 1, -1, -1, -1]]
    assert laid.partner.tolist() == [[-1, 1, -1, -1, 2], [-1, 1, 2, 3, -1]]
    assert laid.frame.tolist() == [[True, False, False, False, False]] * 2


def test_what_stands_behind_the_genes_stays_behind_them() -> None:
    keys = np.array([-1, 4, 6, -1, -1]), np.array([-1, 5, -1])
    one, other = (TokenLists(np.array([0, len(key)]), key, key) for key in keys)
    laid = lay(one, other, keys)
    assert laid.prototype.tolist() == [[0, 1, -1, 2, 3, 4]]
    assert laid.partner.tolist() == [[-1, -1, 1, -1, -1, -1]]
    assert laid.frame.tolist() == [[True, False, False, False, True, True]]


def ways_of(ours: TokenLists, theirs: TokenLists) -> tuple[Ways, Laid]:
    laid = lay(ours, theirs, (ours.gene, theirs.gene))
    padded = tuple(one.padded(np.arange(len(one)), 50) for one in (ours, theirs))
    vectors = tuple(torch.stack([batch.ids * 1.0, batch.value * scale], 2)
                    for batch, scale in zip(padded, (1.0, 10.0), strict=True))  # fmt: skip
    return Ways.of(laid, (padded[0], padded[1]), (vectors[0], vectors[1])), laid


def test_a_token_moves_comes_or_goes() -> None:
    ways, _ = ways_of(lists([5, 2, 7], [1]), lists([2, 9], [1, 3, 4]))
    assert ways.batch.gene.tolist() == [[-1, 2, 5, 7, 9], [-1, 1, 3, 4, -1]]
    assert ways.batch.mask.tolist() == [[True] * 5, [True] * 4 + [False]]
    half = torch.full(ways.batch.gene.shape, 0.5)
    assert ways.vectors(half)[0].tolist() == [[99, -1], [2, 11], [5, 5], [7, 7], [9, 90]]
    assert ways.there(half)[0].tolist() == [1, 1, 0.5, 0.5, 0.5]
    for u, there in ((0.0, [1, 1, 0, 0, 1]), (1.0, [1, 1, 1, 1, 0])):
        at = torch.full(ways.batch.gene.shape, u)
        assert ways.there(at)[0].tolist() == there
        assert ways.logits(at)[0].exp().tolist() == pytest.approx(there, abs=1e-10)
        assert ways.logits(at)[1, 4] == -torch.inf


def test_what_a_cell_says_of_its_tokens_goes_with_them() -> None:
    ours, theirs = lists([5, 2]), lists([2, 9])
    _, laid = ways_of(ours, theirs)
    said = Ways.flags(laid, (ours, np.array([True, True, False])), (theirs, np.array([False, True, True])))
    assert said.tolist() == [[True, False, True, True]]  # <cls>, 2 as the prototype says, 5, 9


def test_padding_takes_no_part_in_means() -> None:
    batch = Padded(*(torch.zeros(1, 2) for _ in range(4)), np.arange(1))
    assert batch.to(torch.device("cpu")).there is None
    assert batch._replace(there=torch.ones(1, 2)).to(torch.device("cpu")).there is not None
