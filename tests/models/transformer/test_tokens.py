"""Token sequences: padding, and which cells run together."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cellglass.models.transformer.tokens import TokenLists, batches_by_length


def lists(lengths: list[int], *, value: bool = True) -> TokenLists:
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    n = int(start[-1])
    ids = np.arange(100, 100 + n)
    return TokenLists(start, ids, ids - 99, ids.astype(np.float32) / 2 if value else None)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("lengths", [[3, 1, 4], [2], [0, 2], [0], []])
def test_padding_puts_each_cell_in_its_row(lengths: list[int], value: bool) -> None:
    tokens = lists(lengths, value=value)
    assert len(tokens) == len(lengths)
    chosen = np.arange(len(lengths))[::-1].copy()
    batch = tokens.padded(chosen, pad_id=7, pad_value=-2.0)
    assert batch.ids.shape == (len(lengths), max(lengths, default=0))
    assert batch.ids.dtype == batch.gene.dtype == torch.int64
    for row, cell in enumerate(chosen):
        n = lengths[cell]
        part = slice(tokens.start[cell], tokens.start[cell + 1])
        assert batch.ids[row, :n].tolist() == tokens.ids[part].tolist()
        assert batch.gene[row, :n].tolist() == tokens.gene[part].tolist()
        assert batch.mask[row].tolist() == [True] * n + [False] * (max(lengths) - n)
        assert set(batch.ids[row, n:].tolist()) <= {7}
        assert set(batch.gene[row, n:].tolist()) <= {-1}
        if value:
            assert batch.value is not None
            assert batch.value[row, :n].tolist() == tokens.value[part].tolist()
            assert set(batch.value[row, n:].tolist()) <= {-2.0}


def test_different_lists_are_kept_once() -> None:
    texts = [(1, 2), (), (1, 2), (3,), (), (1, 3)]
    ids = np.array([i for text in texts for i in text])
    start = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    tokens = TokenLists(start, ids, ids - 1)
    kept, which = tokens.different()
    assert which.tolist() == [0, 1, 0, 2, 1, 3]
    back = kept.take(which)
    assert (back.start == start).all()
    assert (back.ids == ids).all()
    assert (back.gene == ids - 1).all()
    # The same ids with other values are another list.
    values = np.arange(len(ids), dtype=np.float32)
    assert len(TokenLists(start, ids, ids - 1, values).different()[0]) == 5


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 200))
def test_batches_hold_each_cell_once_and_few_tokens(lengths: list[int], most: int) -> None:
    batches = batches_by_length(np.array(lengths, dtype=np.int64), most)
    assert sorted(np.concatenate([[], *batches]).astype(int).tolist()) == list(range(len(lengths)))
    for batch in batches:
        held = [lengths[i] for i in batch]
        assert len(held) == 1 or len(held) * max(held) <= most
        assert held == sorted(held, reverse=True)
    # Greedy: no two neighbours could have been one.
    for a, b in pairwise(batches):
        assert (len(a) + 1) * max(1, lengths[a[0]]) > most or len(b) == 0
