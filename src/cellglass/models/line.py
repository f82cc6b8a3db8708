"""The straight way between two cells through what a network is given, token by token: what paths through tokens need.

Bins, ranks and words have no gradient with respect to counts, but the vectors that a transformer makes of them have.
Token j of n pairs of cells is ``u[:, j]`` on its way: at 0 it is as the partner has it, at 1 as the prototype has it.
A token that both cells have moves from the one vector to the other; one that a single cell has is *there* with a weight
between 0 and 1, by which attention and means count it, so that at both ends the network reads the cells themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

Read = Callable[[torch.Tensor], torch.Tensor]


class Line(NamedTuple):
    """The ways of n pairs of cells, t tokens wide.

    Attributes
    ----------
    gene : torch.Tensor, int64, (n, t)
        The gene of each token, as its position among the model's genes; -1 where a token is of no gene or padding.
    read : callable, (n, t) -> (n, width) or (n, t, width)
        Activations at the site, differentiable in u, for how far each token is, 0 to 1; pairs do not mix. At a site
        with one row for each gene, a vector for each token.
    there : callable, (n, t) -> (n, t), optional
        At such a site, how far each token's row is there, 0 to 1; 0 at tokens that are no rows.
    """

    gene: torch.Tensor
    read: Read
    there: Read | None = None
