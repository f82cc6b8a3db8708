"""What can be asked of a model about one cell: labels, genes, expression, directions and concepts, as linear targets.

    Cell2Sentence   label B cell      the logit of the first token in which the answers to the cell-type prompt part,
                                      less the other answer's, or less the mean logit where there is none
                    gene CD79A        the logit of the gene as the next word of the sentence, alike
    scGPT           expression CD79A  what the expression head gives at the gene's token
    Geneformer      masked CD79A      the logit of the gene at its own token, which is masked

and of each a direction at a site, such as a probe's or a concept's (``directions.py``).

A head that is no linear map is frozen too: its gates (LeakyReLU, GELU, sigmoid) and the scale of its norm stay at their
values on this input, so that what the head makes of a state of zeros is a constant that can be computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import torch
from torch import nn

from cellglass.cells.cells import Cells
from cellglass.circuits.architectures import plan_of
from cellglass.circuits.build import Answers
from cellglass.circuits.freezing import freeze
from cellglass.circuits.linear_map import Frozen
from cellglass.circuits.propagation import Targets
from cellglass.errors import InputError
from cellglass.models.transformer.hooks import Edit, run
from cellglass.models.transformer.model import TransformerModel
from cellglass.models.transformer.tokens import Ints, TokenLists, batches_by_length

if TYPE_CHECKING:
    from cellglass.circuits.directions import Direction

Tensor = torch.Tensor

Target = Union[str, "Direction"]
"""What can be asked: a text, or a direction at a site."""

LAST = "last"
"""Name of the last state among the points of a model; see `run_copies`."""


@dataclass(frozen=True)
class Question:
    """One cell as a model reads it, and what is asked.

    Attributes
    ----------
    tokens : TokenLists
        Of one cell.
    texts, genes : list of str
        What each token says, and the symbol of its gene or "".
    ask : callable, (Frozen) -> Answers
    read : callable, (torch.Tensor (..., t, d)) -> torch.Tensor (...), optional
        What the model itself answers, its head not frozen, by the states of the cell's tokens at `point`; None where it
        cannot be said.
    point : str
        The token site at which the answer is read; ``LAST`` is behind all layers.
    words : tuple of str
        The answers that the model gives a probability to: the target and, where there is one, what it is held against.
    chances : callable, (torch.Tensor (..., t, d)) -> torch.Tensor (..., words), optional
        The probabilities of the words, by the same states as `read`: of each word that of its first token in which the
        two part, among all tokens of the model. None where the model gives none.
    """

    tokens: TokenLists
    texts: list[str]
    genes: list[str]
    ask: Callable[[Frozen], Answers]
    read: Callable[[Tensor], Tensor] | None = None
    point: str = LAST
    words: tuple[str, ...] = ()
    chances: Callable[[Tensor], Tensor] | None = None

    @property
    def reader(self) -> Callable[[Tensor], Tensor]:
        """`read`; InputError where the answer is of another state than the last one."""
        if self.read is None:
            raise InputError("the question is about a state between layers; ask one about what the model says")
        return self.read


def frozen_cell(model: TransformerModel, tokens: TokenLists, *, scores: bool = False) -> Frozen:
    """Return `model` as a linear map on the one cell in `tokens`; `scores` keeps queries and keys too."""
    batch = tokens.padded(np.arange(1), model.pad_id, model.pad_value).to(model.device)
    return freeze(model.net, lambda: model.forward(batch), scores=scores)


@torch.no_grad()
def real_values(model: TransformerModel, questions: Sequence[Question]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what the model itself answers to each question, nothing frozen, (n,); cells of like length run together.

    Raises
    ------
    InputError
        A question about another state than the last one.
    """
    found = np.full(len(questions), np.nan)
    readers = [one.reader for one in questions]
    for i, states in each_states(model, questions):
        found[i] = float(readers[i](states))
    return found


@torch.no_grad()
def each_states(model: TransformerModel, questions: Sequence[Question]) -> Iterator[tuple[int, Tensor]]:
    """Yield the number of each question with the states that answer it, (t, d); cells of like length run together."""
    if not questions:
        return
    tokens = _together([one.tokens for one in questions])
    points = {**model.points, LAST: plan_of(model.net).last}
    for chosen in batches_by_length(tokens.lengths, model.batch_tokens):
        batch = tokens.padded(chosen, model.pad_id, model.pad_value).to(model.device)
        places = {questions[i].point for i in chosen.tolist()}
        seen, _ = run(model.net, partial(model.forward, batch), points, places)
        for row, i in enumerate(chosen.tolist()):
            yield i, seen[questions[i].point][row, : tokens.lengths[i]]


def run_copies(
    model: TransformerModel, question: Question, n: int, read: str = LAST, write: Mapping[str, Edit] | None = None
) -> Tensor:
    """Return what stands at a point, (n, t, width), of `n` copies of a question's cell that run together.

    Parameters
    ----------
    read
        A token site of the model, or ``LAST``, the last state.
    write
        Token site -> edit of what passes there, (n, t, width).
    """
    points = {**model.points, LAST: plan_of(model.net).last}
    batch = question.tokens.padded(np.zeros(n, dtype=np.int64), model.pad_id, model.pad_value).to(model.device)
    seen, _ = run(model.net, partial(model.forward, batch), points, [read], write)
    return seen[read]


def _together(lists: Sequence[TokenLists]) -> TokenLists:
    """Return several cells' tokens, each list of one cell, as one."""
    start = np.concatenate([[0], np.cumsum([len(one.ids) for one in lists])]).astype(np.int64)
    values = [one.value for one in lists if one.value is not None]
    return TokenLists(
        start,
        np.concatenate([one.ids for one in lists]),
        np.concatenate([one.gene for one in lists]),
        np.concatenate(values) if values else None,
    )


def question(
    model: TransformerModel, cell: Cells, target: Target, against: Target | None = None, *, ties: Ints | None = None
) -> Question:
    """Return what is asked by the text `target`, as ``label:B cell`` or ``gene:CD79A``.

    Parameters
    ----------
    model
    cell
        One cell, aligned to the model.
    target
        ``label:TEXT`` or ``gene:SYMBOL`` (Cell2Sentence), ``expression:SYMBOL`` (scGPT), ``masked:SYMBOL``
        (Geneformer). Without a colon: a label of Cell2Sentence, a gene of the others. Or a `Direction`.
    against
        What it is held against, of the same sort: the target is the difference of the two.
    ties
        Of Cell2Sentence: what decides between equal counts, one number for each of the cell's stored counts, in place
        of the fixed order of names.

    Raises
    ------
    InputError
        What the model cannot say, or two answers that are the same.
    """
    if cell.n_cells != 1:
        raise InputError(f"a circuit is of one cell; {cell.n_cells} were given")
    sorts = _SORTS.get(model.kind)
    if sorts is None:
        raise InputError(f"circuits are of transformers ({', '.join(_SORTS)}), not of {model.kind}")
    if not isinstance(target, str) or not isinstance(against, str | None):
        from cellglass.circuits.directions import direction_question

        if isinstance(target, str) or isinstance(against, str):
            raise InputError(f"{target} is held against {against}: two sorts of answers; name two of one sort")
        if ties is not None:
            raise InputError("ties are decided for what the model says; a direction is asked without")
        return direction_question(model, cell, target, against)
    sort, _, text = target.partition(":")
    if not text or sort not in {name for found in _SORTS.values() for name in found}:
        sort, text = next(iter(sorts)), target
    if sort not in sorts:
        raise InputError(f"{model.kind} has no answer of the sort {sort!r}; it has: {', '.join(sorts)}")
    other = None if against is None else against.removeprefix(f"{sort}:")
    if other is not None and other == text:
        raise InputError(f"the target {text!r} is held against itself; name another answer")
    if ties is None:
        return sorts[sort](model, cell, text, other)
    if model.kind != "cell2sentence":
        raise InputError(f"{model.kind} reads counts in an order of its own; only cell2sentence has ties to decide")
    return sorts[sort](model, cell, text, other, ties)


# -- Cell2Sentence ---------------------------------------------------------------------------------------------------


def _label(model: Any, cell: Cells, text: str, against: str | None, ties: Ints | None = None) -> Question:
    space = " " if model.settings.answer_space else ""
    answers = [model.writer.answer(f"{space}{name}.") for name in (text, against) if name is not None]
    return _next(model, model.writer.tokens(cell, "cell_type", ties=ties), answers, [text, against])


def _next_gene(model: Any, cell: Cells, text: str, against: str | None, ties: Ints | None = None) -> Question:
    words = [str(model.words[gene_of(model, name)]) for name in (text, against) if name is not None]
    answers = [model.writer.answer(f" {word}") for word in words]
    return _next(model, model.writer.tokens(cell, finished=False, ties=ties), answers, [text, against])


def _next(model: Any, tokens: TokenLists, answers: Sequence[Sequence[int]], names: Sequence[str | None]) -> Question:
    """Ask for the first token in which the answers part; what they share is written first."""
    shared = 0
    if len(answers) == 2:
        a, b = answers
        while shared < min(len(a), len(b)) and a[shared] == b[shared]:
            shared += 1
        if shared == min(len(a), len(b)):
            raise InputError(
                f"the model writes {names[0]!r} and {names[1]!r} with the same tokens; it cannot tell them apart"
            )
    ids = np.concatenate([tokens.ids, np.asarray(answers[0][:shared], dtype=np.int64)])
    gene = np.concatenate([tokens.gene, np.full(shared, -1, dtype=np.int64)])
    tokens = TokenLists(np.array([0, len(ids)]), ids, gene)
    which = [answer[shared] for answer in answers]
    head = model.net.get_output_embeddings()

    def row(like: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = head.weight.to(like), getattr(head, "bias", None)
        rest = weight.mean(0) if len(which) == 1 else weight[which[1]]
        offset = like.new_zeros(())
        if bias is not None:
            offset = bias[which[0]] - (bias.mean() if len(which) == 1 else bias[which[1]])
        return weight[which[0]] - rest, offset

    def ask(frozen: Frozen) -> Answers:
        return at_token(frozen, len(ids) - 1, *row(frozen.final), _said(names))

    def read(states: Tensor) -> Tensor:
        direction, offset = row(states)
        return states[..., -1, :] @ direction + offset

    def chances(states: Tensor) -> Tensor:
        return model.logits(states[..., -1, :]).float().softmax(-1)[..., which]  # type: ignore[no-any-return]

    decode, words = model.writer.tokenizer.decode, tuple(name for name in names if name is not None)
    texts = [decode([int(i)]) for i in ids]
    return Question(tokens, texts, _symbols(model, gene), ask, read, words=words, chances=chances)


# -- scGPT and Geneformer --------------------------------------------------------------------------------------------


def _expression(model: Any, cell: Cells, text: str, against: str | None) -> Question:
    tokens = model.tokenise(cell)
    if not model.net.cfg.expression:
        raise InputError("this scGPT has no expression head, so it gives no gene's expression")
    places = [_place(model, tokens, name, cell) for name in (text, against) if name is not None]

    def ask(frozen: Frozen) -> Answers:
        found = [
            _linear(partial(_frozen_expression, model.net.decoder, frozen.final[p]), frozen.final[p]) for p in places
        ]
        gradient = torch.zeros_like(frozen.final)
        gradient[places[0]] += found[0][0]
        constant = found[0][1]
        if len(found) == 2:
            gradient[places[1]] -= found[1][0]
            constant = constant - found[1][1]
        return _one(frozen, gradient, constant, _said([text, against]))

    def read(states: Tensor) -> Tensor:
        values = [model.net.decoder(states[..., place, :]) for place in places]
        return values[0] - values[1] if len(values) == 2 else values[0]  # type: ignore[no-any-return]

    return Question(tokens, *told(model, tokens), ask, read)


def _masked(model: Any, cell: Cells, text: str, against: str | None) -> Question:
    tokens = model.tokenise(cell)
    place = _place(model, tokens, text, cell)
    ids, gene = tokens.ids.copy(), tokens.gene.copy()
    ids[place], gene[place] = model.dictionaries.tokens["<mask>"], -1
    wanted = [int(model._token[gene_of(model, name)]) for name in (text, against) if name is not None]
    head = model.net.get_submodule("cls.predictions")

    def row(like: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = head.decoder.weight.to(like), head.decoder.bias.to(like)
        genes = torch.from_numpy(model._token).to(weight.device)
        rest = (weight[genes].mean(0), bias[genes].mean()) if len(wanted) == 1 else (weight[wanted[1]], bias[wanted[1]])
        return weight[wanted[0]] - rest[0], bias[wanted[0]] - rest[1]

    def ask(frozen: Frozen) -> Answers:
        w, b = row(frozen.final)
        state = frozen.final[place]
        direction, constant = _linear(lambda x: _frozen_transform(head.transform, x, state) @ w + b, state)
        return at_token(frozen, place, direction, constant, _said([text, against]))

    def read(states: Tensor) -> Tensor:
        w, b = row(states)
        return head.transform(states[..., place, :]) @ w + b  # type: ignore[no-any-return]

    def chances(states: Tensor) -> Tensor:
        return head(states[..., place, :]).float().softmax(-1)[..., wanted]  # type: ignore[no-any-return]

    shown, words = TokenLists(tokens.start, ids, gene), tuple(name for name in (text, against) if name is not None)
    return Question(shown, *told(model, shown), ask, read, words=words, chances=chances)


def _frozen_expression(head: Any, at: Tensor, x: Tensor) -> Tensor:
    """Return the expression head's value at `x` with its gates as they are at the state `at`."""

    def three(layers: Any, x: Tensor, at: Tensor) -> Tensor:
        for layer in layers:
            if isinstance(layer, nn.LeakyReLU):
                slope = torch.where(at >= 0, 1.0, layer.negative_slope).to(at)
                x, at = x * slope, at * slope
            else:
                x, at = layer(x), layer(at)
        return x[..., 0]

    value = three(head.fc, x, at)
    if head.zero_probability:
        value = value * torch.sigmoid(head.zero_logit(at)[..., 0])
    return value


def _frozen_transform(transform: Any, x: Tensor, at: Tensor) -> Tensor:
    """Return what the masked-gene head makes of `x` before its last map, its gate and its norm's scale as at `at`."""
    inner, here = transform.dense(x), transform.dense(at)
    gate = torch.where(here == 0, 0.5, transform.transform_act_fn(here) / here)
    inner, here = inner * gate, here * gate
    norm = transform.LayerNorm
    scale = torch.rsqrt(here.var(-1, unbiased=False, keepdim=True) + norm.eps)
    centred = inner - inner.mean(-1, keepdim=True)
    return centred * scale * norm.weight + norm.bias  # type: ignore[no-any-return]


_SORTS: dict[str, dict[str, Callable[..., Question]]] = {
    "cell2sentence": {"label": _label, "gene": _next_gene},
    "scgpt": {"expression": _expression},
    "geneformer": {"masked": _masked},
}


# -- targets ---------------------------------------------------------------------------------------------------------


def at_token(
    frozen: Frozen, place: int, direction: Tensor, constant: Tensor, label: str, state: int | None = None
) -> Answers:
    """Return the response of one token's state to a direction as the answer; state None is the last one."""
    gradient = torch.zeros_like(frozen.final)
    gradient[place] = direction
    return _one(frozen, gradient, constant, label, state)


def _one(frozen: Frozen, gradient: Tensor, constant: Tensor, label: str, state: int | None = None) -> Answers:
    place = len(frozen.steps) if state is None else state
    targets = Targets(place, gradient[:, None], constant.reshape(1).to(gradient))
    here = list(frozen.states(frozen.first, frozen.mlp_out))[place]
    return Answers(targets, [label], targets.values(here).cpu().numpy(), np.ones(1))


def _linear(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """Return slope and constant of an affine function of one state."""
    with torch.enable_grad():
        x = at.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(x), x)
    with torch.no_grad():
        return slope, function(torch.zeros_like(at))


def _said(names: Sequence[str | None]) -> str:
    return str(names[0]) if names[1] is None else f"{names[0]} against {names[1]}"


def gene_of(model: Any, name: str) -> int:
    """Return the position of a gene among the model's, by symbol or id."""
    for names in (model_symbols(model), [str(gene) for gene in model.genes]):
        if name in names:
            return names.index(name)
    raise InputError(f"the {model.kind} model has no gene {name!r}; give a symbol or an id as it has them")


def model_symbols(model: Any) -> list[str]:
    """Return the symbols of a model's genes, in the order of its genes."""
    if model.kind == "cell2sentence":
        return [str(symbol) for symbol in model.gene_table["symbol"]]
    names = getattr(model, "symbols", None)
    return [str(gene) for gene in (model.genes if names is None else names)]


def _place(model: Any, tokens: TokenLists, name: str, cell: Cells) -> int:
    places = np.flatnonzero(tokens.gene == gene_of(model, name))
    if not len(places):
        raise InputError(
            f"the model reads no token of {name!r} in cell {cell.obs.index[0]!r}: it has no count there, or is cut"
        )
    return int(places[0])


def _symbols(model: Any, gene: Any) -> list[str]:
    names = model_symbols(model)
    return [names[i] if i >= 0 else "" for i in gene]


def told(model: Any, tokens: TokenLists) -> tuple[list[str], list[str]]:
    """Return of each token what it says, its gene where it has one, and the symbol of that gene or ""."""
    genes = _symbols(model, tokens.gene)
    return [name or f"<{int(i)}>" for name, i in zip(genes, tokens.ids, strict=True)], genes
