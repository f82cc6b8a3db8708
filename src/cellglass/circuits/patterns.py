r"""How a pattern of attention comes from what queries and keys read, and what a change of them changes in it.

    q = rotate(y query + query_bias)     k = rotate(y key + key_bias)     raw = scaling q . k
    score = raw, or cap tanh(raw / cap)                                   pattern = softmax(score)

A score is bilinear in the query's and the key's state once the scales of norms are frozen; a soft cap (Gemma 2) is the
one step between that is not, and has a slope on this input. The pattern's own change, to first order, is

    d pattern = pattern (d score - sum over sources of pattern d score)
    d score   = slope scaling (d q . k + q . d k)

Rotary position turns pairs of dimensions (i, i + r/2) of the first r by an angle of their token; it has no parameter.
Knows neither models nor genes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

Tensor = torch.Tensor

_BYTES = 1 << 27
"""Of the gradients with respect to one head's patterns that are held at once."""


@dataclass(frozen=True)
class QueryKey:
    """The queries and keys of one attention on one input.

    Attributes
    ----------
    read : torch.Tensor, (t, d)
        The normalised states that they read.
    n_heads : int
    query, key : torch.Tensor, (d, h c)
        The maps of all heads side by side; heads that share a map have it each.
    query_bias, key_bias : torch.Tensor, (h c,), or None
    scaling : float
    cap : float or None
        Of a soft cap of scores.
    cos, sin : torch.Tensor, (t, r), or None
        Of the angles of rotary position.
    seen : torch.Tensor of bool, (t, t), or None
        Which sources (column) a token sees; None is all of them.
    """

    read: Tensor
    n_heads: int
    query: Tensor
    query_bias: Tensor | None
    key: Tensor
    key_bias: Tensor | None
    scaling: float
    cap: float | None = None
    cos: Tensor | None = None
    sin: Tensor | None = None
    seen: Tensor | None = None

    def cut(self, n: int) -> QueryKey:
        """Return those of the first `n` tokens."""
        return replace(
            self,
            read=self.read[:n],
            cos=None if self.cos is None else self.cos[:n],
            sin=None if self.sin is None else self.sin[:n],
            seen=None if self.seen is None else self.seen[:n, :n],
        )

    def moved(self, place: Tensor, gone: Tensor) -> QueryKey:
        """Return those of the same tokens at other places, some of which no token sees any more.

        Parameters
        ----------
        place : torch.Tensor of int64, (t,)
            Where each token stands then, which may be behind the last one now: angles grow evenly.
        gone : torch.Tensor of bool, (t,)
        """
        cos, sin = self.cos, self.sin
        if cos is not None and sin is not None and len(cos) > 1:
            more = max(0, int(place.max()) + 1 - len(cos))
            beyond = len(cos) + torch.arange(more, device=place.device)[:, None]
            angle, size = beyond * torch.atan2(sin[1], cos[1]), torch.hypot(sin[0], cos[0])
            cos = torch.cat([cos, (size * angle.cos()).to(cos)])[place]
            sin = torch.cat([sin, (size * angle.sin()).to(sin)])[place]
        seen = gone.new_ones(len(gone), len(gone)) if self.seen is None else self.seen
        return replace(self, cos=cos, sin=sin, seen=seen & ~gone)

    def only(self, head: int) -> QueryKey:
        """Return those of one head."""
        c = self.query.shape[1] // self.n_heads
        some = slice(head * c, (head + 1) * c)
        return replace(
            self,
            n_heads=1,
            query=self.query[:, some],
            query_bias=None if self.query_bias is None else self.query_bias[some],
            key=self.key[:, some],
            key_bias=None if self.key_bias is None else self.key_bias[some],
        )

    def queries(self, y: Tensor) -> Tensor:
        """Return the queries of normalised states `y`, (t, d), with their biases: (h, t, c)."""
        return self._turned(y @ self.query, self.query_bias)

    def keys(self, y: Tensor) -> Tensor:
        """Return the keys of normalised states `y`, (t, d), with their biases: (h, t, c)."""
        return self._turned(y @ self.key, self.key_bias)

    def one(self, y: Tensor, head: int, token: int, side: str) -> Tensor:
        """Return what vectors `y`, (n, d), add to the query or the key of one head at one token: (n, c).

        Parameters
        ----------
        side
            ``"query"`` or ``"key"``. The bias is left out; see `bias`.
        """
        maps = self.query if side == "query" else self.key
        return self._turn((y @ maps).view(len(y), self.n_heads, -1)[:, head], token)

    def bias(self, head: int, token: int, side: str) -> Tensor:
        """Return what its bias adds to the query or the key of one head at one token, (c,)."""
        bias = self.query_bias if side == "query" else self.key_bias
        if bias is None:
            return self.query.new_zeros(self.query.shape[1] // self.n_heads)
        return self._turn(bias.view(self.n_heads, -1)[head], token)

    def raw(self, y: Tensor) -> Tensor:
        """Return scores before a cap, (h, t, t), of normalised states `y`, (t, d)."""
        return self.queries(y) @ self.keys(y).transpose(1, 2) * self.scaling

    def scores(self, y: Tensor) -> Tensor:
        """Return scores as the softmax is given them, (h, t, t); -inf where a token does not see a source."""
        raw = self.raw(y)
        if self.cap is not None:
            raw = self.cap * torch.tanh(raw / self.cap)
        return raw if self.seen is None else raw.masked_fill(~self.seen, -torch.inf)

    def pattern(self, y: Tensor) -> Tensor:
        """Return the pattern, (h, t, t)."""
        return self.scores(y).softmax(-1)

    def slope(self, raw: Tensor) -> Tensor:
        """Return the derivative of a score by the raw one at `raw`."""
        return torch.ones_like(raw) if self.cap is None else 1 - torch.tanh(raw / self.cap).square()

    def back(self, pattern: Tensor, values: Tensor, g: Tensor) -> Tensor:
        """Return the gradient through the pattern with respect to what is read.

        Parameters
        ----------
        pattern : torch.Tensor, (h, t, t)
            On this input.
        values : torch.Tensor, (h, t, c)
            What is read off the sources, held fixed.
        g : torch.Tensor, (h, t, B, c)
            With respect to what each head reads.

        Returns
        -------
        torch.Tensor, (t, B, d)
        """
        q, k = self.queries(self.read), self.keys(self.read)
        _, t, n, _ = g.shape
        back_q, back_k = (torch.empty(self.n_heads, t, n, q.shape[2], dtype=g.dtype, device=g.device) for _ in "qk")
        some = max(1, _BYTES // (t * t * g.element_size()))
        for head in range(self.n_heads):
            p = pattern[head]
            slope = self.slope(q[head] @ k[head].T * self.scaling) * self.scaling
            for first in range(0, n, some):
                here = g[head, :, first : first + some]  # (t, b, c)
                on_pattern = here @ values[head].T  # (t, b, s)
                on_score = p[:, None] * (on_pattern - (on_pattern * p[:, None]).sum(-1, keepdim=True)) * slope[:, None]
                back_q[head, :, first : first + some] = on_score @ k[head]
                back_k[head, :, first : first + some] = torch.einsum("tbs,tc->sbc", on_score, q[head])
        return self._through(back_q, self.query) + self._through(back_k, self.key)

    def change(self, pattern: Tensor, constant: Tensor | None) -> Tensor:
        """Return what the linearised pattern makes of its own input, (h, t, t), without constants.

        d pattern at d y = read - constant: what is left of the pattern, pattern - change, does not depend on the input.

        Parameters
        ----------
        pattern : torch.Tensor, (h, t, t)
        constant : torch.Tensor, (d,), or None
            What is read whatever the input is: the bias of the norm in front.
        """
        q, k = self.queries(self.read), self.keys(self.read)
        given = torch.zeros_like(self.read) if constant is None else torch.zeros_like(self.read) + constant
        of_q, of_k = q - self.queries(given), k - self.keys(given)
        d_score = (of_q @ k.transpose(1, 2) + q @ of_k.transpose(1, 2)) * self.scaling
        d_score = d_score * self.slope(q @ k.transpose(1, 2) * self.scaling)
        return pattern * (d_score - (pattern * d_score).sum(-1, keepdim=True))

    def _turned(self, made: Tensor, bias: Tensor | None) -> Tensor:
        made = made if bias is None else made + bias
        made = made.view(len(made), self.n_heads, -1).transpose(0, 1)
        return made if self.cos is None or self.sin is None else _rotated(made, self.cos, self.sin)

    def _turn(self, made: Tensor, token: int) -> Tensor:
        return made if self.cos is None or self.sin is None else _rotated(made, self.cos[token], self.sin[token])

    def _through(self, g: Tensor, maps: Tensor) -> Tensor:
        """Return gradients of queries or keys, (h, t, B, c), with respect to what is read, (t, B, d)."""
        if self.cos is not None and self.sin is not None:
            g = _rotated_back(g, self.cos[:, None], self.sin[:, None])
        return g.permute(1, 2, 0, 3).flatten(2) @ maps.T


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return `x`, (..., c), with its first r dimensions turned: x cos + (-x2, x1) sin, halves side by side."""
    r = cos.shape[-1]
    turned, rest = x[..., :r], x[..., r:]
    a, b = turned.chunk(2, -1)
    return torch.cat([turned * cos + torch.cat([-b, a], -1) * sin, rest], -1)


def _rotated_back(g: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return the gradient with respect to `x` of `_rotated`."""
    r = cos.shape[-1]
    turned, rest = g[..., :r], g[..., r:]
    a, b = (turned * sin).chunk(2, -1)
    return torch.cat([turned * cos + torch.cat([b, -a], -1), rest], -1)
