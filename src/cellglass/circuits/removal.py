r"""What deleting a gene would do to an answer, to first order: all genes of a cell by one pass there and back.

Without a gene no token looks at it, attention is shared out anew among those that stay, and those behind it move up.
With P' the pattern of a head among tokens that stay, at their new places, from the queries and keys of this cell, v its
values, and g the gradient of the circuit's answer with respect to what the head reads, the answer loses

    removal = sum over layers, heads h, tokens t that stay, sources s of  (P[h, t, s] - P'[h, t, s]) g[h, t] . v[h, s]
            + sum over tokens t that stay of                              (c[t] - c'[t]) . g[t]

where c is what a token is given for its place, of models with learned positions. The circuit is the model with its
features in the place of its MLPs: they answer to what they read, their choice frozen, and so do patterns, norms and
head, which total effects hold as they are. That is attribution patching (Syed et al. 2023, arXiv 2310.10348) of a
deletion, with each softmax computed and not linearised (as Kramar et al. 2024, arXiv 2403.00745, do for queries and
keys). Left out are the gene that comes in at the end of a longer list, nearly the same whichever goes, and values
beside tokens, which a deletion may bin otherwise.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from cellglass.circuits.answers import LAST, Question, frozen_cell, question
from cellglass.circuits.architectures import plan_of
from cellglass.circuits.asked import Asked
from cellglass.circuits.choice import on_masks, units
from cellglass.circuits.editing import Filling, Written, edits_of
from cellglass.circuits.linear_map import Attend, Frozen
from cellglass.circuits.propagation import Targets
from cellglass.errors import InputError
from cellglass.models.edits import edited_cells
from cellglass.models.transformer.hooks import Edit, run
from cellglass.models.transformer.tokens import Ints

Tensor = torch.Tensor
Array = np.ndarray[Any, Any]


class Slopes(NamedTuple):
    """How fast a circuit's answer changes with what is added on the way.

    Attributes
    ----------
    heads : dict of int to torch.Tensor, (h, t, c)
        By layer, with respect to what each head reads; layers behind the answer are left out.
    parts : dict of str to torch.Tensor, (t, d)
        With respect to each part of the first state that is the same whatever the tokens are.
    answer : float
    """

    heads: dict[int, Tensor]
    parts: dict[str, Tensor]
    answer: float


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
    lost = losses(asked.frozen if kept else frozen_cell(asked.model, old, scores=True), slopes(asked), place)
    lost[(place[:, read_at(asked.answers.targets)] < 0).any(axis=1)] = np.nan
    return pd.Series(lost, index=symbols).groupby(level=0, sort=False).sum(min_count=1)


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


def read_at(targets: Targets) -> Array:
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


def slopes(asked: Asked) -> Slopes:
    """Return the gradients of the circuit's answer; InputError where the model itself cannot be asked."""
    answer, frozen, model = asked.question.reader, asked.frozen, asked.model
    made = units(asked.replacement)
    masks = on_masks(made, asked.replacement, [np.arange(len(made))])
    edits: dict[str, Edit] = edits_of(Written(frozen, asked.replacement, Filling(answering=True), *masks))
    plan = plan_of(model.net)
    points = {**model.points, LAST: plan.last, **{name: plan.parts[name] for name in plan.constant}}
    batch = asked.question.tokens.padded(np.arange(1), model.pad_id, model.pad_value).to(model.device)
    nothing: dict[str, Tensor] = {}

    def add(name: str, x: Tensor) -> Tensor:
        nothing[name] = torch.zeros_like(x, requires_grad=True)
        return x + nothing[name]

    heads = {
        layer: [name for name in model.points if name.startswith(f"layers.{layer}.attn.head.")]
        for layer in range(frozen.n_layers)
    }
    for name in (*plan.constant, *(name for names in heads.values() for name in names)):
        edits[name] = partial(add, name)
    with torch.enable_grad():
        seen, _ = run(model.net, partial(model.forward, batch), points, [asked.question.point], edits)
        value = answer(seen[asked.question.point]).sum()
        fall = torch.autograd.grad(value, list(nothing.values()), materialize_grads=True)
    found = {name: one[0] for name, one in zip(nothing, fall, strict=True)}
    by_layer = {
        layer: torch.stack([found[name] for name in names]) for layer, names in heads.items() if names[0] in found
    }
    return Slopes(by_layer, {name: found[name] for name in plan.constant}, float(value.detach()))


@torch.no_grad()
def losses(frozen: Frozen, made: Slopes, place: Ints) -> Array:
    """Return what the answer loses, to first order, where tokens go and others move, float64 (n,).

    Parameters
    ----------
    frozen
        The model on the cell, with queries and keys.
    made
    place : numpy.ndarray of int64, (n, t)
        Of each case, where every token stands then; -1 of tokens that go.
    """
    to = torch.from_numpy(place).to(frozen.final.device)
    gone, to = to < 0, to.clamp(min=0)
    lost = torch.zeros(len(place), dtype=torch.float64, device=to.device)
    for layer, g in made.heads.items():
        heads, looking = frozen.attend(layer).heads, frozen.attend(layer).heads.looking()
        on_pattern = g @ heads.values(looking.read).transpose(1, 2)  # (h, t, s)
        for i in range(len(place)):
            fall = heads.pattern - looking.moved(to[i], gone[i]).pattern(looking.read)
            # A token that went may be left with nothing to see, and its row is NaN.
            lost[i] += (torch.where(gone[i][:, None], 0, fall) * on_pattern).sum()
    for name, g in made.parts.items():
        part = frozen.parts[name]
        fall = part - part[to.clamp(max=len(part) - 1)]  # (n, t, d)
        lost += torch.einsum("ntd,td,nt->n", fall, g, (~gone).to(fall))
    return np.asarray(lost.cpu().numpy())
