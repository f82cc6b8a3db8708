r"""What can be asked at a site of a transformer: a direction, such as a probe's, or the pre-activation of a concept.

    answer = v . x + c

with x the row of the site: at a token site that of one gene as the model's own rows have it (one token, or the mean of
the gene's), at a site with one row for each cell what is pooled of all tokens. A row is a linear function of the states
at the tokens, so the answer is one too, with gradient w over tokens and dimensions. Where the site is in the stream:

    embed, layers.i.resid, final    the stream itself: before the first layer, after layer i, behind the last norm
    layers.i.mlp.in                 the stream through the norm before the MLP, its scale frozen
    layers.i.attn.out, mlp.out      what the step adds to the stream, and nothing of the stream beside it
    a site of cells                 the point that is pooled, where pooling is linear

Others are refused: a head's part, and pools that are no linear map, such as scGPT's ``cell``, which has unit length
(``cell.raw`` is linear). What the frozen model answers is held against what the model itself says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellglass.cells.cells import Cells
from cellglass.circuits.answers import Question, gene_of, run_copies, told
from cellglass.circuits.build import Answers
from cellglass.circuits.linear_map import Attend, Frozen, back_through
from cellglass.circuits.propagation import Targets
from cellglass.dictionaries.base import Dictionary
from cellglass.errors import InputError
from cellglass.models.transformer.model import TransformerModel
from cellglass.models.transformer.tokens import Padded, TokenLists

Tensor = torch.Tensor
Array = np.ndarray[Any, Any]

_AGREE = 1e-3
"""Largest difference between what a functional gives and what is read, of the size of its parts."""


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction at a site, as something to ask of a model about one cell.

    Attributes
    ----------
    site : str
        Of the model.
    vector : numpy.ndarray, (width,)
        The answer is vector . x + constant.
    constant : float
    gene : str or None
        At a token site, the gene at whose token it is asked; None is the one where the answer is largest.
    name : str
        What it is called.
    """

    site: str
    vector: Array
    constant: float = 0.0
    gene: str | None = None
    name: str = "direction"

    def __post_init__(self) -> None:
        vector = np.asarray(self.vector, dtype=np.float64).ravel()
        if not len(vector) or not np.isfinite(vector).all() or not vector.any():
            raise InputError(f"{self.name}: a direction is a vector of finite numbers, not all 0; give another one")
        object.__setattr__(self, "vector", vector)

    def __str__(self) -> str:
        return f"{self.name} at {self.site}" + (f" of {self.gene}" if self.gene else "")

    @classmethod
    def of_latent(
        cls, dictionary: Dictionary, latent: int, site: str, *, gene: str | None = None, name: str | None = None
    ) -> Direction:
        """Return the pre-activation of a latent: what the encoder says of x before any latent is chosen.

        Parameters
        ----------
        dictionary
            That reads the site.
        latent
            Its number.
        site, gene, name
            Of the direction; ``concept:LATENT`` is the name by default.

        Raises
        ------
        InputError
            No such latent, or one whose response is no linear function of the site.
        """
        if not 0 <= latent < dictionary.n_latents:
            raise InputError(f"there is no latent {latent}; the dictionary has 0 to {dictionary.n_latents - 1}")
        with torch.enable_grad():
            x = torch.zeros(1, dictionary.d_in, requires_grad=True)
            (slope,) = torch.autograd.grad(dictionary.preactivations(x)[0, latent], x)
        with torch.no_grad():
            constant = float(dictionary.preactivations(torch.zeros(1, dictionary.d_in))[0, latent])
            other = torch.linspace(-1, 2, dictionary.d_in)[None]
            found = float(dictionary.preactivations(other)[0, latent])
        size = float((slope * other).abs().sum()) + abs(constant)
        if abs(float((slope * other).sum()) + constant - found) > _AGREE * size:
            raise InputError(
                f"latent {latent} of a dictionary of kind {dictionary.kind} is no linear function of its site, so its "
                "parts do not add up; ask for a direction instead"
            )
        return cls(site, slope[0].numpy(), constant, gene, name or f"concept:{latent}")


def read_vector(path: Path | str) -> Array:
    """Return the numbers of a ``.npy`` or a ``.csv`` file (one row, or one column) as a vector, float64."""
    path = Path(path)
    if path.suffix not in (".npy", ".csv"):
        raise InputError(f"{path}: a direction is read from a .npy or a .csv file; name one")
    try:
        if path.suffix == ".npy":
            found = np.load(path, allow_pickle=False)
        else:
            found = np.loadtxt(path, delimiter=",", dtype=np.float64, ndmin=2)
        numbers = np.asarray(found, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: holds no numbers that can be read ({error}); write one vector") from error
    if max(numbers.shape, default=0) != numbers.size:
        raise InputError(f"{path}: holds numbers of shape {numbers.shape}; write one vector, of the site's width")
    return numbers.ravel()


def placed(model: TransformerModel, cell: Cells, target: Direction) -> Direction:
    """Return the direction with its gene: at a token site, where none is named, that at which its answer is largest."""
    _check(model, target)
    if target.gene is not None or target.site in model.cell_sites:
        return target
    rows = model.token_activations(cell, [target.site])[target.site]
    if not len(rows.gene):
        raise InputError("the model reads no gene of this cell; ask at a site with one row for each cell")
    best = int(np.argmax(rows.values.double().cpu().numpy() @ target.vector))
    return replace(target, gene=str(_symbol(model, int(rows.gene[best]))))


def direction_question(
    model: TransformerModel, cell: Cells, target: Direction, against: Direction | None = None
) -> Question:
    """Return a direction, or the difference of two at one site, as a question about one cell.

    Raises
    ------
    InputError
        A site that is not there, of another width, or of which the answer is no linear function of the stream; a gene
        that the model does not read in this cell.
    """
    tokens = model.tokenise(cell)
    asked = [placed(model, cell, target)] + ([] if against is None else [placed(model, cell, against)])
    if len({one.site for one in asked}) > 1:
        raise InputError(f"{asked[0]} is held against {asked[1]}: two sites; name two directions at one site")
    point = model.cell_sites[target.site].point if target.site in model.cell_sites else target.site
    _check_point(point)
    batch = tokens.padded(np.arange(1), model.pad_id, model.pad_value).to(model.device)
    texts, genes = told(model, tokens)
    bare = Question(tokens, texts, genes, lambda _frozen: _refused(), None, point)
    hidden = run_copies(model, bare, 1, point)
    weight, constant = _functional(model, batch, hidden, asked[0])
    if len(asked) == 2:
        less = _functional(model, batch, hidden, asked[1])
        weight, constant = weight - less[0], constant - less[1]
    label = str(asked[0]) if len(asked) == 1 else f"{asked[0]} against {asked[1]}"

    def read(states: Tensor) -> Tensor:
        return (states * weight.to(states)).sum((-1, -2)) + constant

    own = float(read(hidden)[0])

    def ask(frozen: Frozen) -> Answers:
        targets = targets_at(frozen, point, weight.to(frozen.final), constant)
        found = float(targets.at(list(frozen.states(frozen.first, frozen.mlp_out)))[0])
        size = float((hidden[0] * weight).abs().sum()) + abs(constant)
        if not abs(found - own) <= _AGREE * size:
            raise InputError(
                f"{target.site} of this {model.kind} is not where circuits know it (the answer there is {own:.4g}, and "
                f"{found:.4g} by the stream); ask at another site"
            )
        return Answers(targets, [label], np.array([found]), np.ones(1))

    return replace(bare, ask=ask, read=read)


def targets_at(frozen: Frozen, point: str, weight: Tensor, constant: float) -> Targets:
    """Return weight . (the states at a token site) + constant as one target.

    Parameters
    ----------
    point
        A token site that stands in the table of the module.
    weight : torch.Tensor, (t, d)
    """
    g, c = weight[:, None], weight.new_tensor([constant])
    _, _, rest = point.partition("layers.")
    number, _, part = rest.partition(".")
    if point == "embed":
        return Targets(frozen.ends[0], g, c)
    if point == "final":
        return Targets(len(frozen.steps), g, c)
    if part == "resid":
        return Targets(frozen.ends[int(number) + 1], g, c)
    if part == "mlp.in":
        before = frozen.mlp(int(number)).before
        if before is not None and before.bias is not None:
            c = c + g.sum(0) @ before.bias
        return Targets(frozen.reads(int(number)), back_through(before, g), c)
    if part == "mlp.out":
        return Targets(frozen.step_of(int(number)) + 1, g, c, added=True)
    steps = [i for i, step in enumerate(frozen.steps) if isinstance(step, Attend) and step.layer == int(number)]
    return Targets(steps[0] + 1, g, c, added=True)


# -- parts -------------------------------------------------------------------------------------------------------------


def _functional(model: TransformerModel, batch: Padded, hidden: Tensor, target: Direction) -> tuple[Tensor, float]:
    """Return weights (t, d) and constant of the answer as a function of the states at the site's point, (1, t, d)."""
    vector = torch.from_numpy(np.asarray(target.vector, dtype=np.float64))

    def answer(states: Tensor) -> Tensor:
        return _row(model, batch, states, target).double() @ vector.to(states.device)

    with torch.enable_grad():
        x = hidden.detach().clone().requires_grad_()
        value = answer(x)
        (weight,) = torch.autograd.grad(value, x)
        value = value.detach()
    with torch.no_grad():
        rest, moved = answer(torch.zeros_like(hidden)), answer(2 * hidden)
        size = float((weight * hidden).abs().sum()) + abs(float(rest))
        away = max(abs(float(value) - float((weight * hidden).sum()) - float(rest)),
                   abs(float(moved) - 2 * float(value) + float(rest)))  # fmt: skip
    if not away <= _AGREE * max(size, abs(float(value))):
        linear = [name for name in model.cell_sites if name != target.site]
        raise InputError(
            f"{target.site} of {model.kind} is no linear function of the stream, so its parts do not add up; ask at "
            f"{', '.join([*linear, 'a token site'])}"
        )
    return weight[0], float(rest) + target.constant


def _row(model: TransformerModel, batch: Padded, states: Tensor, target: Direction) -> Tensor:
    """Return the row of the site, (width,), that a direction is asked at."""
    if target.site in model.cell_sites:
        return model.cell_sites[target.site].pool(states, batch)[0]
    rows = model.rows(states, batch)
    gene = gene_of(model, str(target.gene))
    places = np.flatnonzero(rows.gene == gene)
    if not len(places):
        raise InputError(f"the model reads no token of {target.gene!r} in this cell: it has no count there, or is cut")
    return rows.values[int(places[0])]


def _check(model: TransformerModel, target: Direction) -> None:
    width = model.site(target.site).width
    if len(target.vector) != width:
        raise InputError(f"{target.name} has {len(target.vector)} numbers, but site {target.site} is {width} wide")


def _check_point(point: str) -> None:
    if ".head." in point:
        raise InputError(
            f"{point} is what one head gives to the output map, no state of the stream; ask at attn.out of its layer"
        )


def _symbol(model: Any, gene: int) -> str:
    one = TokenLists(np.array([0, 1]), np.zeros(1, dtype=np.int64), np.array([gene]))
    return told(model, one)[1][0]


def _refused() -> Answers:
    raise AssertionError("this question is only run")
