"""The network of scGPT (Cui et al., Nature Methods 2024) in plain PyTorch, frozen or in training.

Modules carry the names of the published state dict in flash-attn's style (``self_attn.Wqkv``), so that the one is the
other's. A gene of a cell is a token, embedded by its identity and its value; there are no positions. With
LN = LayerNorm, a layer of the usual kind (post-norm) is

    x <- LN1(x + out_proj(softmax(q k^T / sqrt(d_head)) v))
    x <- LN2(x + linear2(relu(linear1(x))))

and one of the other kind (pre-norm), as published, adds to what was normalised, not to the stream before it:

    x <- LN1(x);  x <- x + attention(x);  x <- LN2(x);  x <- x + linear2(relu(linear1(x)))

Knows neither files nor cells.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from cellglass.errors import InputError
from cellglass.models.scgpt.config import ScgptConfig

LARGEST_VALUE = 512.0
"""Larger values are clamped by the continuous value encoder."""
NO_CELL_HEAD = "this scGPT checkpoint has no mvc_decoder, so it cannot read expression off a cell"
NO_EXPRESSION_HEAD = "this scGPT checkpoint has no decoder that cellglass reads, so it gives no expression of tokens"
_BATCH_NORM_EPS = 6.1e-5


class Output(NamedTuple):
    """What the network gives for n cells, t tokens wide.

    Attributes
    ----------
    hidden : torch.Tensor, (n, t, width)
        After the last layer.
    expression : torch.Tensor, (n, t), or None
        The value of each token's gene as the expression head expects it, in bins; None without that head.
    """

    hidden: torch.Tensor
    expression: torch.Tensor | None


class ScgptNet(nn.Module):
    """The published network. ``state_dict()`` has the published names, attention in flash-attn's style."""

    def __init__(self, cfg: ScgptConfig) -> None:
        super().__init__()
        self.cfg = cfg
        d = cfg.width
        self.encoder = GeneEncoder(cfg.n_tokens, d, cfg.pad_id)
        if cfg.flags:
            self.flag_encoder = nn.Embedding(2, d)
        if cfg.value_style == "continuous":
            self.value_encoder: nn.Module = ContinuousValues(d, cfg.dropout)
        elif cfg.value_style == "category":
            self.value_encoder = CategoryValues(cfg.n_values, d, cfg.pad_value)
        if cfg.batch_norm != "none":
            self.bn = nn.BatchNorm1d(d, eps=_BATCH_NORM_EPS)
        self.transformer_encoder = Layers(cfg)
        if cfg.expression:
            self.decoder = ExpressionHead(d, cfg.zero_probability)
        if cfg.n_classes:
            self.cls_decoder = ClassHead(d, cfg.n_classes, cfg.n_layers_cls)
        if cfg.mvc:
            self.mvc_decoder = CellHead(d, cfg.zero_probability)

    def forward(self, ids: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> Output:
        """Run token ids, values and mask (True at a token, or logits: see `Layers`), each (n, t)."""
        hidden = self.encode(ids, values, mask)
        return Output(hidden, self.decoder(hidden) if self.cfg.expression else None)

    def encode(self, ids: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the hidden states after the last layer, (n, t, width)."""
        return self.transformer_encoder(self.embed(ids, values), mask)  # type: ignore[no-any-return]

    def embed(self, ids: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return what the first layer is given, (n, t, width)."""
        genes = self.encoder(ids)
        if self.cfg.value_style == "scaling":
            total = genes * values[..., None].to(genes.dtype)
        else:
            total = genes + self.value_encoder(values)
        if self.cfg.batch_norm == "run":
            total = self.bn(total.transpose(1, 2)).transpose(1, 2)
        return total  # type: ignore[no-any-return]

    def from_cell(self, cell: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return the values, in bins, that the cell head reads off cell embeddings.

        Parameters
        ----------
        cell : torch.Tensor, (n, width)
            ``<cls>`` after the last layer.
        ids : torch.Tensor, (n, t) or (t,)
            Which genes to read: of each cell its own, or the same of all.

        Returns
        -------
        torch.Tensor, (n, t)
        """
        if not self.cfg.mvc:
            raise InputError(NO_CELL_HEAD)
        return self.mvc_decoder(cell, self.encoder(ids))  # type: ignore[no-any-return]


# -- embeddings --------------------------------------------------------------------------------------------------------


class GeneEncoder(nn.Module):
    """LN(embedding of the gene)."""

    def __init__(self, n_tokens: int, width: int, pad_id: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, width, padding_idx=pad_id)
        self.enc_norm = nn.LayerNorm(width)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Embed token ids of any shape."""
        return self.enc_norm(self.embedding(ids))  # type: ignore[no-any-return]


class ContinuousValues(nn.Module):
    """LN(linear2(relu(linear1(min(value, 512))))), which also takes the negative values of <cls> and masks."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(1, width)
        self.linear2 = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Embed values of any shape."""
        x = values[..., None].clamp(max=LARGEST_VALUE).to(self.linear1.weight.dtype)
        return self.dropout(self.norm(self.linear2(functional.relu(self.linear1(x)))))  # type: ignore[no-any-return]


class CategoryValues(nn.Module):
    """LN(embedding of the bin)."""

    def __init__(self, n_values: int, width: int, pad_value: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_values, width, padding_idx=pad_value)
        self.enc_norm = nn.LayerNorm(width)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Embed values of any shape."""
        return self.enc_norm(self.embedding(values.long()))  # type: ignore[no-any-return]


# -- layers ------------------------------------------------------------------------------------------------------------


class Layers(nn.Module):
    """The layers, one after the other."""

    def __init__(self, cfg: ScgptConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(cfg) for _ in range(cfg.n_layers))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Run x, (n, t, width); `mask`, (n, t), is True at tokens, or what is added to their logits in attention."""
        attend = None if mask.dtype == torch.bool and bool(mask.all()) else mask[:, None, None, :]
        for layer in self.layers:
            x = layer(x, attend)
        return x


class Layer(nn.Module):
    """Attention and MLP; see the head of this file for the two ways in which they are normalised."""

    def __init__(self, cfg: ScgptConfig) -> None:
        super().__init__()
        d = cfg.width
        self.pre_norm = cfg.pre_norm
        self.self_attn = Attention(d, cfg.n_heads, cfg.dropout)
        self.linear1 = nn.Linear(d, cfg.hidden)
        self.linear2 = nn.Linear(cfg.hidden, d)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)
        self.dropout = nn.Dropout(cfg.dropout)

    def forward(self, x: torch.Tensor, attend: torch.Tensor | None) -> torch.Tensor:
        """Run x, (n, t, width); `attend`, (n, 1, 1, t), is True at keys to read, or logits."""
        if self.pre_norm:
            x = self.norm1(x)
            x = x + self.dropout(self.self_attn(x, attend))
            x = self.norm2(x)
            return x + self._mlp(x)
        x = self.norm1(x + self.dropout(self.self_attn(x, attend)))
        return self.norm2(x + self._mlp(x))  # type: ignore[no-any-return]

    def _mlp(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.dropout(functional.relu(self.linear1(x)))
        return self.dropout(self.linear2(inner))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Attention of all tokens to all; columns h d_head ... (h + 1) d_head of the input of `out_proj` are head h's."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.Wqkv = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, attend: torch.Tensor | None) -> torch.Tensor:
        """Return what attention adds to x, (n, t, width); `attend`: True at keys to read, or logits, (n, 1, 1, t)."""
        n, t, d = x.shape
        q, k, v = self.Wqkv(x).view(n, t, 3, self.n_heads, d // self.n_heads).permute(2, 0, 3, 1, 4)
        p = self.dropout if self.training else 0.0
        heads = functional.scaled_dot_product_attention(q, k, v, attn_mask=attend, dropout_p=p)
        return self.out_proj(heads.transpose(1, 2).reshape(n, t, d))  # type: ignore[no-any-return]


# -- heads -------------------------------------------------------------------------------------------------------------


def _three_maps(width: int) -> nn.Sequential:
    first, second = nn.Linear(width, width), nn.Linear(width, width)
    return nn.Sequential(first, nn.LeakyReLU(), second, nn.LeakyReLU(), nn.Linear(width, 1))


class ExpressionHead(nn.Module):
    """The value of a token's gene from its hidden state: three linear maps, times the probability that it is not 0."""

    def __init__(self, width: int, zero_probability: bool) -> None:
        super().__init__()
        self.fc = _three_maps(width)
        if zero_probability:
            self.zero_logit = _three_maps(width)
        self.zero_probability = zero_probability

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one value for each hidden state."""
        value: torch.Tensor = self.fc(x)[..., 0]
        return value * torch.sigmoid(self.zero_logit(x)[..., 0]) if self.zero_probability else value


class CellHead(nn.Module):
    """The value of gene g in a cell: (W sigmoid(gene2query(g))) . cell, times the probability that it is not 0."""

    def __init__(self, width: int, zero_probability: bool) -> None:
        super().__init__()
        self.gene2query = nn.Linear(width, width)
        self.W = nn.Linear(width, width, bias=False)
        if zero_probability:
            self.W_zero_logit = nn.Linear(width, width)
        self.zero_probability = zero_probability

    def forward(self, cell: torch.Tensor, genes: torch.Tensor) -> torch.Tensor:
        """Return (n, t) for cells (n, width) and embedded genes (n, t, width), or (t, width) for the same of all."""
        query = torch.sigmoid(self.gene2query(genes))
        value = self._inner(cell, self.W(query))
        if self.zero_probability:
            value = value * torch.sigmoid(self._inner(cell, self.W_zero_logit(query)))
        return value

    @staticmethod
    def _inner(cell: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        return cell @ query.T if query.ndim == 2 else (query @ cell[..., None])[..., 0]


class ClassHead(nn.Module):
    """Scores of classes from the cell embedding: linear, ReLU, LN, repeated, and a linear map to the classes."""

    def __init__(self, width: int, n_classes: int, n_layers: int) -> None:
        super().__init__()
        self._decoder = nn.ModuleList()
        for _ in range(n_layers - 1):
            self._decoder.extend((nn.Linear(width, width), nn.ReLU(), nn.LayerNorm(width)))
        self.out_layer = nn.Linear(width, n_classes)

    def forward(self, cell: torch.Tensor) -> torch.Tensor:
        """Return (n, n_classes) for cells (n, width)."""
        for step in self._decoder:
            cell = step(cell)
        return self.out_layer(cell)  # type: ignore[no-any-return]
