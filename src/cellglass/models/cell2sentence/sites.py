"""Where Cell2Sentence's sites are in transformers' GPT-NeoX and Gemma 2, and what a gene of several tokens reads there.

Sites with one row for each gene of a cell:

    embed                   what the first layer is given
    layers.i.attn.head.h    what head h gives to the output map of attention
    layers.i.attn.out       what attention adds to the residual stream
    layers.i.mlp.in         what the MLP reads, normalised
    layers.i.mlp.out        what the MLP adds to the residual stream
    layers.i.resid          the residual stream after the layer
    final                   the last layer behind the final norm: what the output head reads

In both networks ``resid`` is ``resid`` of the layer before (or ``embed``) + ``attn.out`` + ``mlp.out``: Gemma 2
normalises what attention and MLP write before it is added, and the sites are behind that norm. In GPT-NeoX attention
and MLP of a layer both read the residual stream before it, unless config.json says otherwise. Knows no cells.
"""

from __future__ import annotations

from typing import Any

import torch

from cellglass.models.transformer.hooks import Point
from cellglass.models.transformer.lines import Ways
from cellglass.models.transformer.model import CellSite
from cellglass.models.transformer.sites import LayerPoints, token_points
from cellglass.models.transformer.tokens import Padded


def points_of(config: Any) -> dict[str, Point]:
    """Return where each token site is in transformers' GPT-NeoX or Gemma 2, in the order of the forward pass."""
    if config.model_type == "gpt_neox":
        base, norm, output = "gpt_neox", "final_layer_norm", "attention.dense"
        attention, mlp = "attention.dense", "mlp"
        size = config.hidden_size // config.num_attention_heads
    else:
        base, norm, output = "model", "norm", "self_attn.o_proj"
        attention, mlp = "post_attention_layernorm", "post_feedforward_layernorm"
        size = config.head_dim
    layers = []
    for i in range(config.num_hidden_layers):
        layer = f"{base}.layers.{i}"
        parts = Point(f"{layer}.{attention}", "out"), Point(f"{layer}.mlp", "in"), Point(f"{layer}.{mlp}", "out")
        layers.append(LayerPoints(f"{layer}.{output}", *parts, Point(layer, "out")))
    points = token_points(Point(f"{base}.layers.0", "in"), layers, config.num_attention_heads, size)
    return {**points, "final": Point(f"{base}.{norm}", "out")}


def mean_of_tokens(hidden: torch.Tensor, batch: Padded) -> torch.Tensor:
    """Return the mean over all tokens, (n, width)."""
    weight = (batch.mask if batch.there is None else batch.there * batch.mask)[..., None]
    exact = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
    return (exact * weight).sum(1) / weight.sum(1)


def last_token(hidden: torch.Tensor, batch: Padded) -> torch.Tensor:
    """Return the last token's row, (n, width)."""
    return hidden[torch.arange(len(hidden), device=hidden.device), batch.mask.sum(1) - 1]


def cell_sites() -> dict[str, CellSite]:
    """Return the sites with one row for each cell."""
    return {"cell": CellSite("final", mean_of_tokens), "cell.last": CellSite("final", last_token)}


def causal_masks(config: Any, ways: Ways, logits: torch.Tensor) -> Any:
    """Return what is added to the logits of attention, for the tokens of two texts laid side by side.

    A token attends to what stands before it in the text, or at its own place: prompt, both sentences by place, and what
    is behind them. Of tokens of the other cell it sees as much as is there of them (`Ways.logits`).

    Parameters
    ----------
    config
        The network's.
    ways : Ways
    logits : torch.Tensor, (n, t)

    Returns
    -------
    torch.Tensor, (n, 1, t, t), or of Gemma 2 one for each kind of layer
    """
    place = ways.place
    gene = ~ways.frame & ways.batch.mask
    behind = ways.frame & (gene.cumsum(1) > 0)  # what stands behind the sentences
    order = place + (behind | ~ways.batch.mask) * (place.amax() + 1)  # padding reads all, and is not read
    seen = order[:, None, :] <= order[:, :, None]  # (n, queries, keys)

    def mask(visible: torch.Tensor) -> torch.Tensor:
        return torch.where(visible, logits[:, None, :], -torch.inf)[:, None]

    if config.model_type == "gpt_neox":
        return mask(seen)
    near = place[:, None, :] > place[:, :, None] - config.sliding_window
    return {"full_attention": mask(seen), "sliding_attention": mask(seen & near)}


# -- genes of several tokens -------------------------------------------------------------------------------------------


def last_of_genes(gene: torch.Tensor) -> torch.Tensor:
    """Return where the last token of each gene is, bool (n, t), from the gene of each token (-1: none)."""
    behind = torch.cat([gene[:, 1:], torch.full_like(gene[:, :1], -1)], 1)
    return (gene >= 0) & (gene != behind)


def means_of_genes(hidden: torch.Tensor, gene: torch.Tensor) -> torch.Tensor:
    """Return the mean of the states (n, t, width) over each gene's tokens, (genes in all cells, width)."""
    row = _row_of_tokens(gene)
    states = hidden[gene >= 0]
    exact = torch.promote_types(hidden.dtype, torch.float32)
    number = torch.bincount(row)
    sums = torch.zeros(len(number), hidden.shape[-1], device=hidden.device, dtype=exact)
    sums.index_add_(0, row, states.to(exact))
    return (sums / number[:, None]).to(hidden.dtype)


def moved_genes(hidden: torch.Tensor, gene: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """Return `hidden` with all tokens of each gene moved by its row of `by`, (genes in all cells, width)."""
    place = gene >= 0
    changed = hidden.clone()
    changed[place] = hidden[place] + by[_row_of_tokens(gene)]
    return changed


def _row_of_tokens(gene: torch.Tensor) -> torch.Tensor:
    """Return which gene, counted through all cells, each gene token belongs to."""
    before = torch.cat([torch.full_like(gene[:, :1], -1), gene[:, :-1]], 1)
    place = gene >= 0
    return (place & (gene != before))[place].cumsum(0) - 1
