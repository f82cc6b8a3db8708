r"""What deleting a gene would do to an answer, to first order: all genes of a cell by one walk through the circuit.

Without a gene no token looks at it, attention is shared out anew among those that stay, and those behind it move up.
With P' the pattern of a head among tokens that stay, at their new places, from the queries and keys of this cell, and g
the answer's gradient with respect to what the head reads (through features, and patterns that are linear), the answer
loses

    removal = sum over layers, heads h, tokens t that stay, sources s of  (P[h, t, s] - P'[h, t, s]) g[h, t] . v[h, s]
            + sum over tokens t that stay of                              (c[t] - c'[t]) . g[t]

where c is what a token is given for its place, of models with learned positions. That is attribution patching (Syed et
al. 2023, arXiv 2310.10348) of a deletion, with each softmax computed and not linearised (as Kramar et al. 2024, arXiv
2403.00745, do for queries and keys). Left out are the gene that comes in at the end of a longer list, nearly the same
whichever goes, and values beside tokens, which a deletion may bin otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from cellglass.circuits.answers import Question, frozen_cell, question
from cellglass.circuits.asked import Asked
from cellglass.circuits.features import Replacement
from cellglass.circuits.linear_map import Attend, Frozen, back_through
from cellglass.circuits.propagation import Targets, gradients
from cellglass.errors import InputError
from cellglass.models.edits import edited_cells
from cellglass.models.transformer.tokens import Ints

Array = np.ndarray[Any, Any]


def deleted(asked: Asked) -> tuple[list[str], list[Question | None]]:
    """Return the symbol of each gene that is read, and what is asked with its count at 0; None where it cannot be."""
    tokens = asked.question.tokens
    symbols = dict(zip(tokens.gene.tolist(), asked.question.genes, strict=True))
    genes = np.array([gene for gene in symbols if gene >= 0], dtype=np.int64)
    zeros = np.zeros(len(genes), dtype=np.int64)
    cells = edited_cells(asked.cell, zeros, genes, zeros.astype(np.float32))
    found: list[Question | None] = []
    for i in range(len(genes)):
        try:
            found.append(question(asked.model, cells[i : i + 1], asked.target, asked.against))
        except InputError:  # the gene that is asked about is the one that went
            found.append(None)
    return [symbols[int(gene)] for gene in genes], found


def removals(asked: Asked) -> pd.Series[Any]:
    """Return by gene what the answer would lose without it, to first order; see the module.

    NaN where the question cannot be asked then, where the answer is read at the gene's own tokens, and where the texts
    around the genes have another number of tokens then.
    """
    symbols, questions = deleted(asked)
    old = asked.question.tokens
    place = np.stack(
        [np.full(len(old.ids), -1) if one is None else places(old.gene, one.tokens.gene) for one in questions]
    )
    attends = [step for step in asked.frozen.steps if isinstance(step, Attend)]
    kept = all(step.heads.query_key is not None for step in attends)
    frozen = asked.frozen if kept else frozen_cell(asked.model, old, scores=True)
    lost = losses(frozen, asked.replacement, asked.answers.targets, place)
    lost[(place[:, asked_at(asked.answers.targets)] < 0).any(axis=1)] = np.nan
    return pd.Series(lost, index=symbols).groupby(level=0, sort=False).sum(min_count=1)


def asked_at(targets: Targets) -> Array:
    """Return the tokens at which the first target is read."""
    return np.asarray(targets.gradient[:, 0].abs().sum(1).cpu().numpy().nonzero()[0])


def places(old: Ints, new: Ints) -> Ints:
    """Return where each token of one list is in another, both given by the gene of each token, -1 of none.

    A token is found by its gene and which of the gene's tokens it is; -1 where it is not there. All are -1 where the
    numbers of tokens of no gene differ, since then they cannot be paired.
    """
    if (old < 0).sum() != (new < 0).sum():
        return np.full(len(old), -1, dtype=np.int64)
    first, second = (
        pd.MultiIndex.from_arrays([gene, pd.Series(gene).groupby(gene).cumcount().to_numpy()]) for gene in (old, new)
    )
    return np.asarray(second.get_indexer(first), dtype=np.int64)


@torch.no_grad()
def losses(frozen: Frozen, replacement: Replacement, targets: Targets, place: Ints) -> Array:
    """Return what the first target loses, to first order, where tokens go and others move, float64 (n,).

    Parameters
    ----------
    frozen
        With queries and keys.
    replacement
    targets
        Of which the first counts.
    place : numpy.ndarray of int64, (n, t)
        Of each case, where every token stands then; -1 of tokens that go.
    """
    heard, first = gradients(frozen, replacement, targets)
    to = torch.from_numpy(place).to(frozen.final.device)
    gone, to = to < 0, to.clamp(min=0)
    lost = torch.zeros(len(place), dtype=torch.float64, device=to.device)
    for step in frozen.steps:
        if not isinstance(step, Attend) or step.layer not in heard:
            continue
        heads, made = step.heads, step.heads.looking()
        g = back_through(step.after, heard[step.layer])[:, 0] @ heads.output.T
        on_pattern = g.view(len(g), heads.n_heads, -1).transpose(0, 1) @ heads.values(made.read).transpose(1, 2)
        for i in range(len(place)):
            fall = heads.pattern - made.moved(to[i], gone[i]).pattern(made.read)  # NaN where nothing is left to see
            lost[i] += (torch.where(gone[i][:, None], 0, fall) * on_pattern).sum()
    for name in sorted(frozen.constant):
        part = frozen.parts[name]
        fall = part - part[to.clamp(max=len(part) - 1)]  # (n, t, d)
        lost += torch.einsum("ntd,td,nt->n", fall, first[:, 0], (~gone).to(fall))
    return np.asarray(lost.cpu().numpy())
