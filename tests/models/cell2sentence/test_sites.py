"""Sites of GPT-NeoX and Gemma 2, and genes of several tokens: against plain loops and transformers' own modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Gemma2Config, GPTNeoXConfig

from cellglass.models.cell2sentence.sites import (
    cell_sites,
    last_of_genes,
    last_token,
    mean_of_tokens,
    means_of_genes,
    moved_genes,
    points_of,
)
from cellglass.models.transformer.sites import sites_of
from cellglass.models.transformer.tokens import Padded

GENE = torch.tensor(
    [
        [-1, -1, 4, 4, 4, 2, -1, 7, 7, -1],
        [0, 5, 5, 0, -1, -1, -1, -1, -1, -1],  # a gene at the start, and one that ends where the next begins
        [-1, -1, -1, -1, -1, -1, -1, -1, -1, -1],
        [-1, 3, 3, 3, 3, 3, 3, 3, 3, 3],
    ]
)
LENGTHS = [10, 4, 2, 10]


def runs() -> list[tuple[int, list[int]]]:
    """Cell and places of each gene, by a loop over tokens."""
    found: list[tuple[int, list[int]]] = []
    for cell, genes in enumerate(GENE.tolist()):
        before = -1
        for place, gene in enumerate(genes):
            if gene >= 0 and gene == before:
                found[-1][1].append(place)
            elif gene >= 0:
                found.append((cell, [place]))
            before = gene
    return found


def states(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(4, 10, 6, generator=torch.Generator().manual_seed(0)).to(dtype)


def batch() -> Padded:
    mask = torch.arange(10)[None] < torch.tensor(LENGTHS)[:, None]
    return Padded(torch.zeros(4, 10, dtype=torch.long), None, mask, GENE, np.arange(4))


def test_last_tokens_and_means_are_those_of_loops():
    hidden = states()
    assert torch.nonzero(last_of_genes(GENE)).tolist() == [[cell, places[-1]] for cell, places in runs()]
    slow = torch.stack([hidden[cell, places].mean(0) for cell, places in runs()])
    assert torch.allclose(means_of_genes(hidden, GENE), slow, atol=1e-6)
    half = states(torch.bfloat16)
    slow = torch.stack([half[cell, places].float().mean(0) for cell, places in runs()])
    assert torch.equal(means_of_genes(half, GENE), slow.to(torch.bfloat16))
    assert means_of_genes(hidden[2:3], GENE[2:3]).shape == (0, 6)


def test_moving_a_gene_moves_its_tokens_and_no_others():
    hidden = states()
    by = torch.randn(len(runs()), 6)
    slow = hidden.clone()
    for row, (cell, places) in enumerate(runs()):
        for place in places:
            slow[cell, place] += by[row]
    assert torch.allclose(moved_genes(hidden, GENE, by), slow)
    assert torch.equal(hidden, states())


def test_cells_are_pooled_over_their_own_tokens():
    hidden = states()
    for cell, length in enumerate(LENGTHS):
        assert torch.allclose(mean_of_tokens(hidden, batch())[cell], hidden[cell, :length].mean(0), atol=1e-6)
        assert torch.equal(last_token(hidden, batch())[cell], hidden[cell, length - 1])
    assert {name: site.point for name, site in cell_sites().items()} == {"cell": "final", "cell.last": "final"}


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (GPTNeoXConfig(hidden_size=24, num_attention_heads=3, num_hidden_layers=2), 8),
        (Gemma2Config(hidden_size=24, num_attention_heads=4, head_dim=10, num_hidden_layers=2), 10),
    ],
)
def test_there_is_a_site_for_each_part_of_each_layer(config, size):
    points = points_of(config)
    heads = [f"attn.head.{h}" for h in range(config.num_attention_heads)]
    parts = [*heads, "attn.out", "mlp.in", "mlp.out", "resid"]
    assert list(points) == ["embed", *(f"layers.{i}.{part}" for i in range(2) for part in parts), "final"]
    widths = {name: site.width for name, site in sites_of(points, 24, ["cell"]).items()}
    assert all(width == (size if "head" in name else 24) for name, width in widths.items())
    covered = [points[f"layers.1.{name}"].part for name in heads]
    assert [(part.start, part.stop) for part in covered] == [(h * size, (h + 1) * size) for h in range(len(heads))]
