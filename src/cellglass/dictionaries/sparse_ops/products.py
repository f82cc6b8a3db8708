"""Sparse products of a training step: after the encoder's one dense product, only the chosen latents of a row count.

A `Pattern` says which latents are active in which row. For weights W (m, d), rows x (n, d) and one value for each entry
of the pattern there are three products, each as a gather of rows in the pattern's own or in its transposed order:

    combine      y_i  = sum over the entries (i, l) of v_il W_l           (decoding)
    scatter      W'_l = sum over the entries (i, l) of v_il x_i           (gradient of either weight matrix)
    dots         v_il = x_i . W_l at the entries (i, l)                   (gradient of the codes)

`encode` and `decode` join them into functions whose gradients equal those of the dense products. Where the pattern
holds more than a twentieth of all entries, the dense product is faster and is taken instead. Knows nothing of kinds.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from cellglass.compiled import compiled
from cellglass.dictionaries.sparse_ops import _kernels
from cellglass.threads import over_rows

_DENSE_SHARE = 1 / 20


class Pattern:
    """Which latents are active in which row, row after row.

    Parameters
    ----------
    start : torch.Tensor, int32, shape (n + 1,)
        Where the entries of each row begin; the last is their number.
    latent : torch.Tensor, int32, shape (entries,)
        Latent of each entry; a row names a latent at most once.
    n_latents : int
        Number of latents, m.
    """

    def __init__(self, start: torch.Tensor, latent: torch.Tensor, n_latents: int) -> None:
        self.start, self.latent, self.n_latents = start, latent, n_latents
        self.n_rows = len(start) - 1

    @cached_property
    def row(self) -> torch.Tensor:
        """Row of each entry, int32."""
        rows = torch.arange(self.n_rows, dtype=torch.int32, device=self.start.device)
        return rows.repeat_interleave(self.start.diff(), output_size=len(self.latent))  # (n,) -> (entries,)

    @cached_property
    def transposed(self) -> Transposed:
        """The same entries sorted by latent, and by row within a latent."""
        if self.latent.is_cuda:
            order = torch.sort(self.latent, stable=True).indices  # (entries,)
            counts = torch.bincount(self.latent, minlength=self.n_latents)  # (m,), padded sums of it (m + 1,)
            return Transposed(torch.nn.functional.pad(counts.cumsum(0), (1, 0)).int(), self.row[order], order)
        found = Transposed(
            torch.empty(self.n_latents + 1, dtype=torch.int32),
            torch.empty(len(self.latent), dtype=torch.int32),
            torch.empty(len(self.latent), dtype=torch.int64),
        )
        arrays = [part.numpy() for part in (self.start, self.latent, *found)]
        compiled(_kernels.transpose)(*arrays)
        return found

    @cached_property
    def crowded(self) -> bool:
        """Whether dense products are faster."""
        return len(self.latent) > _DENSE_SHARE * self.n_rows * self.n_latents

    @cached_property
    def places(self) -> torch.Tensor:
        """Place of each entry in a dense matrix (n, m) that is read row by row, int64."""
        return self.row.long() * self.n_latents + self.latent  # (entries,): row and latent in one number

    def dense(self, values: torch.Tensor) -> torch.Tensor:
        """Return the dense matrix (n, m) with `values` at the entries and 0 elsewhere."""
        matrix = values.new_zeros(self.n_rows * self.n_latents)  # (n m,)
        matrix[self.places] = values  # (entries,)
        return matrix.view(self.n_rows, self.n_latents)

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of `values` over the entries of each latent, (m,)."""
        if values.is_cuda:
            return values.new_zeros(self.n_latents).index_add_(0, self.latent, values)
        return torch.bincount(self.latent, values.detach(), self.n_latents).to(values.dtype)


class Transposed(NamedTuple):
    """Entries of a pattern by latent: `start` (m + 1), `row` int32, and `order`, their place in the pattern, int64."""

    start: torch.Tensor
    row: torch.Tensor
    order: torch.Tensor


def combine(pattern: Pattern, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return y of the module's docstring, (n, d), without gradient."""
    if pattern.crowded:
        return pattern.dense(values) @ weight
    return _bag(pattern.latent, pattern.start, values, weight)  # rows of (m, d), n bags of them -> (n, d)


def scatter(pattern: Pattern, values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return W' of the module's docstring, (m, d), without gradient."""
    if pattern.crowded:
        return pattern.dense(values).T @ x
    start, row, order = pattern.transposed
    return _bag(row, start, values.index_select(0, order), x)  # rows of (n, d), m bags of them -> (m, d)


def dots(pattern: Pattern, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return v of the module's docstring, (entries,), without gradient."""
    if pattern.crowded:
        return (x @ weight.T).view(-1)[pattern.places]  # (n, m) -> (n m,) -> (entries,)
    # The gradient that embedding_bag gives its weights of samples: one dot product for each entry.
    value: torch.Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        x.contiguous(), weight, pattern.latent, pattern.start[:-1], pattern.row, 0
    )
    return value


def _bag(index: torch.Tensor, start: torch.Tensor, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return embedding_bag(
        index, weight, start, mode="sum", per_sample_weights=values.contiguous(), include_last_offset=True
    )


def encode(
    pattern: Pattern,
    values: torch.Tensor,
    u: torch.Tensor,
    encoder: torch.Tensor,
    encoder_bias: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return `values`, the pre-activations (u - bias) E^T + e at the entries, with the gradient that they have.

    Parameters
    ----------
    pattern
        The entries.
    values
        The pre-activations there, which the dense product has given already, (entries,).
    u
        Rows, (n, d); no gradient goes to them.
    encoder, encoder_bias, bias
        E (m, d), e (m,) and the bias (d,) that is taken from the rows.
    """
    result: torch.Tensor = _Encode.apply(pattern, values, u, encoder, encoder_bias, bias)  # type: ignore[no-untyped-call]
    return result


def decode(pattern: Pattern, values: torch.Tensor, decoder: torch.Tensor) -> torch.Tensor:
    """Return f D, (n, d), of codes f with `values` at the entries; the gradient goes to `values` and `decoder`."""
    result: torch.Tensor = _Decode.apply(pattern, values, decoder)  # type: ignore[no-untyped-call]
    return result


def squared_error(
    pattern: Pattern, values: torch.Tensor, decoder: torch.Tensor, bias: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean over all numbers of (f D + b - target)^2, and the residual f D + b - target, (n, d), as data.

    The same as `decode` and a mean square, but the gradient of the codes is found while the decoder rows that they need
    are still at hand. Gradients go to `values`, `decoder`, `bias` and `target`.
    """
    loss, residual = _SquaredError.apply(pattern, values, decoder, bias, target)  # type: ignore[no-untyped-call]
    return loss, residual


class _SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[torch.Tensor, torch.Tensor]:
        pattern, values, decoder, bias, target = given
        if pattern.crowded or values.is_cuda:
            residual = combine(pattern, values, decoder).add_(bias).sub_(target)  # (n, d)
            loss, slope = residual.square().mean(), dots(pattern, residual, decoder)  # (), (entries,)
        else:
            residual, slope = torch.empty_like(target), torch.empty_like(values)
            total = np.empty(pattern.n_rows)  # (n,), float64
            work = compiled(_kernels.squared_errors, any_order=True)
            read = [x.contiguous().numpy() for x in (pattern.start, pattern.latent, values, decoder, bias, target)]
            written = residual.numpy(), total, slope.numpy()
            over_rows(pattern.n_rows, target.numel(), lambda a, b: work(*read, *written, a, b))
            loss = values.new_tensor(total.sum() / target.numel())
        ctx.pattern, ctx.scale = pattern, 2 / target.numel()
        ctx.save_for_backward(values, slope, residual)
        ctx.mark_non_differentiable(residual)
        return loss, residual

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values, slope, residual = ctx.saved_tensors
        scale = grad[0] * ctx.scale
        wanted = ctx.needs_input_grad
        to_decoder = scatter(ctx.pattern, values * scale, residual) if wanted[2] else None
        to_bias = residual.sum(0) * scale if wanted[3] else None
        return None, slope * scale, to_decoder, to_bias, residual * -scale if wanted[4] else None


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> torch.Tensor:
        pattern, values, u, encoder, encoder_bias, bias = given
        ctx.pattern, ctx.has_bias = pattern, bias is not None
        ctx.save_for_backward(u, encoder, *(() if bias is None else (bias,)))
        ctx.wants = encoder_bias is not None
        given_back: torch.Tensor = values.clone()
        return given_back

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        pattern, (g,) = ctx.pattern, grad
        u, encoder, *rest = ctx.saved_tensors
        to_encoder, to_bias = scatter(pattern, g, u), None
        if ctx.wants or ctx.has_bias:
            sums = pattern.sums(g)
        if ctx.has_bias:
            to_encoder.addr_(sums, rest[0], alpha=-1)
            to_bias = -(sums @ encoder)
        return None, None, None, to_encoder, sums if ctx.wants else None, to_bias


class _Decode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> torch.Tensor:
        pattern, values, decoder = given
        ctx.pattern = pattern
        ctx.save_for_backward(values, decoder)
        return combine(pattern, values, decoder)

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        pattern, (g,) = ctx.pattern, grad
        values, decoder = ctx.saved_tensors
        to_values = dots(pattern, g, decoder) if ctx.needs_input_grad[1] else None
        to_decoder = scatter(pattern, values, g) if ctx.needs_input_grad[2] else None
        return None, to_values, to_decoder
