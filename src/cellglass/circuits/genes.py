r"""Ranks the genes of a cell by what they do to an answer, in six ways that stand side by side.

    total        effect of the gene's tokens through features and attention, patterns and norms frozen: one walk back
    direct       the same without passing a feature
    removal      what deletion would take, to first order, by one pass there and back: the gene is out of every pattern,
                 which is shared out anew, and tokens behind it move up; see ``removal.py``
    integrated   integrated gradients of the real model along the states that the first layer is given,
                     (x - r) . mean over a in (0, 1) of d answer(r + a (x - r)) / dx
                 from a reference r, the mean state of the cell's gene tokens; other tokens stay (Sundararajan et al.
                 2017, arXiv 1703.01365). Over all genes they add up to answer(x) - answer(r), up to the gap
    occlusion    answer(x) - answer(x with the gene's states at r): the real model, every other token in its place
    deletion     answer(cell) - answer(cell whose count of the gene is 0): tokens are made anew, the real model runs

All are positive where the gene speaks for the answer. A gene's tokens are added up. Total and direct effects are parts
of the answer, which add up to it; the others are differences. The part that a gene has is not what goes without it:
attention is then shared out among the others, what stands behind moves, and of a longer list another gene comes in.
Removal follows the first two of these.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch

from cellglass.circuits.answers import Question, real_values, run_copies
from cellglass.circuits.asked import Asked
from cellglass.circuits.linear_map import Frozen
from cellglass.circuits.propagation import Effects, effects
from cellglass.circuits.removal import deleted, removals
from cellglass.errors import InputError
from cellglass.models.transformer.model import TransformerModel

Tensor = torch.Tensor
Array = np.ndarray[Any, Any]

COLUMNS = ("total", "direct", "removal", "integrated", "occlusion", "deletion")
STEPS = 32


class GeneRanking(NamedTuple):
    """The genes of a cell and what they do to an answer.

    Attributes
    ----------
    effects : pandas.DataFrame
        Index: gene symbols by falling size of the first column; columns ``total``, ``direct``, ``removal``,
        ``integrated``, ``occlusion`` and ``deletion``, those that were asked for. NaN of a deletion after which the
        question cannot be asked.
    answer : float
        What the real model answers.
    gap : float
        Integrated gradients' sum less the change of the answer that they are to add up to, over that change; NaN
        without them.
    """

    effects: pd.DataFrame
    answer: float
    gap: float

    def agreement(self, method: Literal["spearman", "pearson"] = "spearman") -> pd.DataFrame:
        """Return the correlation between the columns, over genes that both have.

        Spearman's weighs the many genes that do next to nothing like the few that matter; Pearson's is of the few.
        """
        return pd.DataFrame(self.effects.corr(method))


def rank_genes(
    asked: Asked, *, columns: tuple[str, ...] = COLUMNS, steps: int = STEPS, patterns: str = "frozen"
) -> GeneRanking:
    """Return what each gene that the model reads of a cell does to the answer.

    Parameters
    ----------
    asked
        The cell, and what is asked.
    columns
        Which ways; the first two cost one walk back each, ``removal`` a pass there and back and every pattern anew for
        each gene, ``integrated`` `steps` passes there and back, the others one pass for each gene.
    steps
        Of integrated gradients.
    patterns
        Of total and direct effects: ``"frozen"``, or ``"linear"`` where queries and keys were kept.
    """
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown or not columns:
        raise InputError(f"genes are not ranked by {', '.join(unknown) or 'nothing'}; choose of {', '.join(COLUMNS)}")
    genes = asked.question.genes
    found: dict[str, pd.Series[Any]] = {}
    gap = float("nan")
    for name in columns:
        if name in ("total", "direct"):
            found[name] = by_gene(token_effects(asked, total=name == "total", patterns=patterns), genes)
        elif name == "removal":
            found[name] = removals(asked)
        elif name == "integrated":
            values, gap = integrated_gradients(asked.model, asked.question, steps)
            found[name] = by_gene(values, genes)
        elif name == "occlusion":
            found[name] = occlusions(asked.model, asked.question)
        else:
            found[name] = deletions(asked)
    table = pd.DataFrame(found, columns=list(columns))
    table = table.iloc[np.argsort(-table[columns[0]].abs().to_numpy(), kind="stable")]
    table.index.name = "gene"
    return GeneRanking(table, float(real_values(asked.model, [asked.question])[0]), gap)


def token_effects(asked: Asked, *, total: bool = True, patterns: str = "frozen") -> Array:
    """Return the effect of each token on the first answer, float64 (t,); parts that are the same in all cells not."""
    found = effects(asked.frozen, asked.replacement, asked.answers.targets, total=total, patterns=patterns)
    return of_tokens(found, asked.frozen)


def of_tokens(found: Effects, frozen: Frozen) -> Array:
    """Return the effect of each token on the first target, float64 (t,); parts that are the same in all cells not."""
    return np.asarray(of_targets(found, frozen)[:, 0])


def of_targets(found: Effects, frozen: Frozen) -> Array:
    """Return the effect of each token on every target, float64 (t, B); parts that are the same in all cells not."""
    parts = [part for name, part in found.parts.items() if name not in frozen.constant]
    return np.asarray(torch.stack(parts).sum(0).cpu().numpy(), dtype=np.float64)


def by_gene(values: Array, genes: list[str]) -> pd.Series[Any]:
    """Return values of tokens, (t,), added up by gene; tokens of no gene are left out."""
    names = np.asarray(genes, dtype=object)
    kept = names != ""
    return pd.Series(values[kept]).groupby(names[kept], sort=False).sum()


def integrated_gradients(model: TransformerModel, question: Question, steps: int = STEPS) -> tuple[Array, float]:
    """Return integrated gradients of each token, float64 (t,), and the gap; see the module.

    The integral is a sum over the middles of `steps` equal parts.
    """
    read = question.reader
    if steps < 1:
        raise InputError(f"steps is {steps}; it must be at least 1")
    own, reference = _reference(model, question)
    step = own - reference
    at = (torch.arange(steps, device=own.device).to(own) + 0.5) / steps
    gradient = torch.zeros_like(own)
    for some in torch.split(at, max(1, model.batch_tokens // len(own))):
        with torch.enable_grad():
            x = (reference + some[:, None, None] * step).requires_grad_()
            answer = read(_from(model, question, x)).sum()
            gradient += torch.autograd.grad(answer, x)[0].sum(0)
    values = ((gradient / steps) * step).sum(1).cpu().numpy().astype(np.float64)
    with torch.no_grad():
        ends = read(_from(model, question, torch.stack([reference, own])))
    change = float(ends[1] - ends[0])
    return values, (float(values.sum()) - change) / change if change else float("nan")


def _reference(model: TransformerModel, question: Question) -> tuple[Tensor, Tensor]:
    """Return what the first layer is given, and the same with the mean at the gene tokens, each (t, d)."""
    with torch.no_grad():
        own = run_copies(model, question, 1, "embed")[0]
    moved = torch.tensor([gene != "" for gene in question.genes], device=own.device)
    if not bool(moved.any()):
        raise InputError("the model reads no gene of this cell; there is nothing to rank")
    return own, torch.where(moved[:, None], own[moved].mean(0), own)


@torch.no_grad()
def occlusions(model: TransformerModel, question: Question) -> pd.Series[Any]:
    """Return by gene what the real model's answer loses with the gene's states at the reference."""
    read = question.reader
    own, reference = _reference(model, question)
    names = [gene for gene in dict.fromkeys(question.genes) if gene]
    answers = [read(_from(model, question, own[None]))]
    each = max(1, model.batch_tokens // len(own))
    for i in range(0, len(names), each):
        some = names[i : i + each]
        hidden = torch.tensor([[gene == name for gene in question.genes] for name in some], device=own.device)
        states = torch.where(hidden[..., None], reference, own)
        answers.append(read(_from(model, question, states)))
    values = torch.cat(answers).cpu().numpy().astype(np.float64)
    return pd.Series(values[0] - values[1:], index=names)


def _from(model: TransformerModel, question: Question, first: Tensor) -> Tensor:
    """Return the states that answer, of copies of the cell whose first layer is given `first`, (n, t, d)."""
    return run_copies(model, question, len(first), question.point, {"embed": lambda _x: first})


def deletions(asked: Asked) -> pd.Series[Any]:
    """Return by gene what the real model's answer loses without it; NaN where the question cannot be asked then."""
    symbols, questions = deleted(asked)
    asked_of = [asked.question, *(one for one in questions if one is not None)]
    values = real_values(asked.model, asked_of)
    lost = np.full(len(symbols), np.nan)
    lost[[one is not None for one in questions]] = values[0] - values[1:]
    return pd.Series(lost, index=symbols).groupby(level=0, sort=False).sum(min_count=1)
