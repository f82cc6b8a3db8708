r"""What changes inside when a gene's count is set to 0: which features go out, which come on, and what each does.

A graph of one input has no node for a feature that a gene *keeps out*, since it is not active, and effects to first
order say nothing of it. So both inputs are run, x with the gene and x' without. With w what a source writes at a token,
and g the answer's gradient there, through no other feature, patterns and norms frozen on the same input, a source has

    (w - w') . (g + g') / 2        at a token of both,        w . g  and  - w' . g'  at a token of one alone

of what the answer loses. Sources are features, what transcoders miss (errors), and tokens. The direct effects on each
input add up to its answer, so what is left,

    rest = sum over sources at tokens of both of (w + w') . (g - g') / 2  +  biases and constants of x less those of x'

is what other patterns and other norms do, and nothing else:

    answer(x) - answer(x') = features + errors + tokens + rest

It is a difference of two graphs on one question, as a knock-out is of two cells. A feature of an early layer has here
what it writes to the answer by itself; what it does through later features is theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from cellglass.circuits.answers import Question, frozen_cell
from cellglass.circuits.asked import Asked
from cellglass.circuits.features import Replacement, StandIns, replace_mlps
from cellglass.circuits.linear_map import Frozen
from cellglass.circuits.propagation import Targets, direct_gradients
from cellglass.circuits.removal import deleted, places
from cellglass.errors import InputError, listed
from cellglass.models.transformer.tokens import Ints
from cellglass.progress import Progress, silent

Tensor = torch.Tensor

COLUMNS = ("features", "out", "on", "errors", "tokens", "rest", "deletion")


class Counterfactual(NamedTuple):
    """What the answer loses without a gene, and through what.

    Attributes
    ----------
    gene : str
    features : pandas.DataFrame
        A row for each feature and token that differ: ``layer``, ``position`` (the token's, in the cell with the gene;
        -1 of a token that it has not), ``feature``, ``before`` and ``after`` (activations) and ``effect``, what of the
        loss it carries, largest first.
    errors, tokens, rest : float
        What of the loss the rest carries; see the module.
    deletion : float
        The loss: answer with the gene - answer without it, of the real model.
    """

    gene: str
    features: pd.DataFrame
    errors: float
    tokens: float
    rest: float
    deletion: float

    def sums(self) -> dict[str, float]:
        """Return the parts of the loss by `COLUMNS`: of features all, those that go ``out``, and that come ``on``."""
        effect = self.features["effect"].to_numpy()
        gone = (self.features["after"] == 0).to_numpy()
        new = (self.features["before"] == 0).to_numpy()
        through = effect.sum(), effect[gone].sum(), effect[new].sum()
        parts = (*through, self.errors, self.tokens, self.rest, self.deletion)
        return {name: float(part) for name, part in zip(COLUMNS, parts, strict=True)}


def counterfactual(asked: Asked, transcoders: StandIns, gene: str) -> Counterfactual:
    """Return what the answer loses with a gene's count at 0, feature by feature.

    Parameters
    ----------
    asked
        The cell, and what is asked.
    transcoders
        Those that it was asked with.
    gene
        Symbol of a gene that the model reads of the cell.

    Raises
    ------
    InputError
        The model reads no such gene of the cell, or the question cannot be asked without it.
    """
    symbols, questions = deleted(asked)
    if gene not in symbols:
        raise InputError(f"the model does not read {gene} of this cell; it reads {listed(symbols)}")
    other = questions[symbols.index(gene)]
    if other is None:
        raise InputError(f"without {gene} the question cannot be asked; choose another gene")
    return _between(gene, _inside(asked), _inside_of(asked, other, transcoders))


def counterfactuals(
    asked: Asked, transcoders: StandIns, genes: Sequence[str] | None = None, progress: Progress = silent
) -> pd.DataFrame:
    """Return for each gene what the answer loses with its count at 0, and how much of it through what.

    Parameters
    ----------
    asked, transcoders
        As of `counterfactual`.
    genes
        Symbols; by default all that the model reads of the cell.
    progress
        Told the genes that are done.

    Returns
    -------
    pandas.DataFrame
        Index: genes by falling size of what passes through features. Columns: ``features`` (of these ``out``, through
        features that are not active without the gene, and ``on``, through those that the gene keeps out), ``errors``,
        ``tokens``, ``rest`` and their sum ``deletion``. Genes without which the question cannot be asked are left out.
    """
    symbols, questions = deleted(asked)
    missing = [] if genes is None else [gene for gene in genes if gene not in symbols]
    if missing:
        raise InputError(f"the model does not read {listed(missing)} of this cell; it reads {listed(symbols)}")
    wanted = set(symbols if genes is None else genes)
    own, found = _inside(asked), []
    for number, (gene, other) in enumerate(zip(symbols, questions, strict=True)):
        if gene in wanted and other is not None:
            found.append({"gene": gene, **_between(gene, own, _inside_of(asked, other, transcoders)).sums()})
        progress("genes without which the cell is run", number + 1, len(symbols))
    table = pd.DataFrame(found, columns=["gene", *COLUMNS]).groupby("gene", sort=False).sum()
    return table.iloc[np.argsort(-table["features"].abs().to_numpy(), kind="stable")]


class _Inside(NamedTuple):
    """One input: its tokens, what is written at them, and the answer's gradient there."""

    genes: Ints
    frozen: Frozen
    replacement: Replacement
    on_mlps: Sequence[Tensor]
    on_first: Tensor
    answer: float


def _inside(asked: Asked) -> _Inside:
    return _gradients(asked.question, asked.frozen, asked.replacement, asked.answers.targets, asked.answers.found[0])


def _inside_of(asked: Asked, other: Question, transcoders: StandIns) -> _Inside:
    frozen = frozen_cell(asked.model, other.tokens)
    answers = other.ask(frozen)
    return _gradients(other, frozen, replace_mlps(frozen, transcoders), answers.targets, answers.found[0])


def _gradients(made: Question, frozen: Frozen, replacement: Replacement, targets: Targets, answer: float) -> _Inside:
    on_mlps, on_first = direct_gradients(frozen, replacement, targets)
    return _Inside(made.tokens.gene, frozen, replacement, [one[:, 0] for one in on_mlps], on_first[:, 0], float(answer))


@torch.no_grad()
def _between(gene: str, own: _Inside, other: _Inside) -> Counterfactual:
    """Return what lies between two inputs."""
    to = places(own.genes, other.genes)
    back = np.full(len(other.genes), -1, dtype=np.int64)
    back[to[to >= 0]] = np.flatnonzero(to >= 0)
    here, there = _mean(own.on_mlps, other.on_mlps, to), _mean(other.on_mlps, own.on_mlps, back)
    features = []
    for layer in range(own.frozen.n_layers):
        after = _written(other, layer, there, back, "after")
        features += [_written(own, layer, here, np.arange(len(to)), "before"), after.assign(effect=-after["effect"])]
    errors = [
        float(sum((error * g).sum() for error, g in zip(one.replacement.error, at, strict=True)))
        for one, at in ((own, here), (other, there))
    ]
    first = _mean([own.on_first], [other.on_first], to), _mean([other.on_first], [own.on_first], back)
    tokens = [float((one.frozen.first * at[0]).sum()) for one, at in zip((own, other), first, strict=True)]
    table = pd.concat(features).groupby(["layer", "position", "feature"], as_index=False, sort=False).sum()
    table = table[table["effect"] != 0]
    table = table.iloc[np.argsort(-table["effect"].abs().to_numpy(), kind="stable")].reset_index(drop=True)
    parts = errors[0] - errors[1], tokens[0] - tokens[1]
    change = own.answer - other.answer
    return Counterfactual(gene, table, *parts, change - sum(parts) - float(table["effect"].sum()), change)


def _mean(own: Sequence[Tensor], other: Sequence[Tensor], to: Ints) -> list[Tensor]:
    """Return by layer the mean of two inputs' gradients at the tokens of the first; its own where it stands alone."""
    place = torch.from_numpy(to).to(own[0].device)
    both = (place >= 0)[:, None]
    return [torch.where(both, (a + b[place.clamp(min=0)]) / 2, a) for a, b in zip(own, other, strict=True)]


def _written(one: _Inside, layer: int, gradient: Sequence[Tensor], position: Ints, column: str) -> pd.DataFrame:
    """Return the active features of a layer: where they are, how strongly, and what they write times the gradient."""
    made = one.replacement.features[layer]
    fall = torch.zeros_like(made.value)
    for to, rows in made.write.items():
        fall += torch.einsum("tkd,td->tk", rows[made.latent], gradient[to])
    token, slot = (at.cpu().numpy() for at in torch.nonzero(made.value > 0, as_tuple=True))
    value = made.value.cpu().numpy().astype(np.float64)[token, slot]
    table = pd.DataFrame(
        {
            "layer": layer,
            "position": position[token],
            "feature": made.latent.cpu().numpy()[token, slot],
            "before": 0.0,
            "after": 0.0,
            "effect": fall.cpu().numpy().astype(np.float64)[token, slot] * value,
        }
    )
    table[column] = value
    return table
