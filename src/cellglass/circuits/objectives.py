"""What each transformer is asked when its circuits are studied: how it is shown a cell, and the loss of its answer.

    Cell2Sentence    the next token: of the sentence's genes, and of a label as the answer to the cell-type prompt
    scGPT            the values that were hidden: from the tokens themselves, and from <cls> alone
    Geneformer       the genes that were masked

Losses:

    genes         mean over the sentence's tokens of -log p(token | tokens before), nats (Cell2Sentence)
    label         mean over cells of -log p(label | question) = the sum over the label's tokens, nats (Cell2Sentence)
    expression    mean over hidden tokens of ((value - expected) / unit)^2, from the expression head (scGPT)
    cell          the same from the cell head, which reads <cls> (scGPT)
    masked        mean over masked tokens of -log p(gene), nats (Geneformer)

with scGPT's unit the standard deviation of evenly filled bins, as in its training. An encoder reads cells with and
without hidden tokens, and nothing that was learnt from the one need hold of the other; so both can be shown. What is
hidden depends on the seed and the cell's name alone. This file knows the kinds of models; it changes and trains none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.transformer.tokens import Ints, Padded, TokenLists
from cellglass.seeds import generator

if TYPE_CHECKING:
    from cellglass.models.base import CellModel
    from cellglass.models.cell2sentence.model import Cell2SentenceModel
    from cellglass.models.geneformer.model import GeneformerModel
    from cellglass.models.scgpt.model import ScgptModel
    from cellglass.models.transformer.model import TransformerModel

PROMPT, GENE, SPECIAL, HIDDEN, ANSWER = range(5)
"""What a token is: of the text before the sentence, of a gene, of the question or special, hidden, of the answer."""

_LOGITS_AT_ONCE = 1 << 24


class Shown(NamedTuple):
    """Cells as a model is shown them.

    Attributes
    ----------
    tokens : TokenLists
        What the network reads.
    part : numpy.ndarray of int64, (tokens,)
        What each token is: PROMPT, GENE, SPECIAL, HIDDEN or ANSWER.
    truth : TokenLists
        The tokens before any was hidden.
    """

    tokens: TokenLists
    part: Ints
    truth: TokenLists

    def parts(self, cells: Ints) -> torch.Tensor:
        """Return `part` of some cells, padded with -1, int64 (n, t)."""
        return TokenLists(self.tokens.start, self.tokens.ids, self.part).padded(cells, 0).gene


Sums = dict[str, tuple[float, int]]
"""Of each loss the sum, and over how many."""


class Objective(ABC):
    """What a model is asked.

    Parameters
    ----------
    model : TransformerModel
    labels : str, optional
        Column of obs with the answers, where the model writes answers.
    seed : int
        Of what is hidden.

    Attributes
    ----------
    losses : tuple of str
        Names of its losses.
    """

    losses: tuple[str, ...]

    def __init__(self, model: Any, labels: str | None, seed: int) -> None:
        self.model, self.labels, self.seed = model, labels, seed

    @abstractmethod
    def shown(self, cells: Cells, share: float = 1.0) -> Shown:
        """Return aligned `cells` as the model is shown them; of encoders, a `share` of the cells with hidden tokens."""

    @abstractmethod
    def measure(self, shown: Shown, batch: Padded, output: Any) -> Sums:
        """Return the losses of what the network's `output` says of a batch of `shown`."""


class NextToken(Objective):
    """Cell2Sentence: the sentence, and the label behind the question where a column of labels is named."""

    model: Cell2SentenceModel

    def __init__(self, model: Cell2SentenceModel, labels: str | None, seed: int) -> None:
        super().__init__(model, labels, seed)
        self.losses = ("genes",) if labels is None else ("genes", "label")

    def shown(self, cells: Cells, share: float = 1.0) -> Shown:  # noqa: ARG002 (nothing is hidden)
        """Return prompt, sentence and question, and the answer of cells that have one and leave room for it."""
        writer, settings = self.model.writer, self.model.settings
        tokens = writer.tokens(cells, None if self.labels is None else "cell_type")
        answers: list[list[int]] = [[]] * cells.n_cells
        if self.labels is not None:
            column = cells.column(self.labels)
            space = " " if settings.answer_space else ""
            said = {value: writer.answer(f"{space}{value}.") for value in set(column.dropna())}
            answers = [said.get(value, []) for value in column]
        ids, genes, parts, start = [], [], [], [0]
        for i, answer in enumerate(answers):
            own = slice(tokens.start[i], tokens.start[i + 1])
            fits = tokens.lengths[i] + len(answer) <= writer.context
            ids.append(np.array([*tokens.ids[own], *(answer if fits else [])], dtype=np.int64))
            behind = len(ids[-1]) - int(tokens.lengths[i])
            genes.append(np.append(tokens.gene[own], np.full(behind, -1)))
            parts.append(np.append(_parts_of_text(tokens.gene[own]), np.full(behind, ANSWER)))
            start.append(start[-1] + len(ids[-1]))
        none: Ints = np.empty(0, np.int64)
        lists = TokenLists(np.array(start), np.concatenate([none, *ids]), np.concatenate([none, *genes]))
        return Shown(lists, np.concatenate([none, *parts]), lists)

    def measure(self, shown: Shown, batch: Padded, output: torch.Tensor) -> Sums:
        """Return the cross-entropy of the next token where it is of a gene, and where it is of the answer."""
        following = shown.parts(batch.cells)[:, 1:].to(output.device)  # (n, t - 1): what the next token is
        found: Sums = {"genes": self._entropy(batch, output, following == GENE)}
        if self.labels is not None:
            answered = int((following == ANSWER).any(1).sum())
            found["label"] = self._entropy(batch, output, following == ANSWER)[0], answered
        return found

    def _entropy(self, batch: Padded, output: torch.Tensor, place: torch.Tensor) -> tuple[float, int]:
        states, wanted = output[:, :-1][place], batch.ids[:, 1:][place]
        size, total = max(1, _LOGITS_AT_ONCE // int(self.model.net.config.vocab_size)), 0.0
        for first in range(0, len(wanted), size):
            logits = self.model.logits(states[first : first + size]).float()
            total += float(functional.cross_entropy(logits, wanted[first : first + size], reduction="sum").double())
        return total, len(wanted)


def _parts_of_text(gene: Ints) -> Ints:
    """Return what each token of a text is, from the gene of each: a text without genes is all prompt."""
    place = np.flatnonzero(gene >= 0)
    if not len(place):
        return np.full(len(gene), PROMPT, dtype=np.int64)
    at = np.arange(len(gene))
    return np.where(at < place[0], PROMPT, np.where(at > place[-1], SPECIAL, GENE))


class Encoder(Objective):
    """What scGPT and Geneformer share: of some cells some gene tokens are hidden."""

    def __init__(self, model: Any, labels: str | None, seed: int) -> None:
        if labels is not None:
            raise InputError(
                f"labels is {labels!r}, but the {model.kind} model writes no answers; leave labels out, which are for "
                "cell2sentence"
            )
        super().__init__(model, labels, seed)

    def shown(self, cells: Cells, share: float = 1.0) -> Shown:
        """Return the model's own tokens, some of them hidden in a `share` of the cells."""
        truth = self.model.tokenise(cells)
        ids, value = truth.ids.copy(), None if truth.value is None else truth.value.copy()
        part = np.where(truth.gene >= 0, GENE, SPECIAL).astype(np.int64)
        for i, name in enumerate(cells.obs.index):
            rng = generator(self.seed, "hidden tokens", str(name))
            own = slice(int(truth.start[i]), int(truth.start[i + 1]))
            if rng.random() < share:
                part[own][self.hide(ids[own], None if value is None else value[own], part[own] == GENE, rng)] = HIDDEN
        return Shown(TokenLists(truth.start, ids, truth.gene, value), part, truth)

    @abstractmethod
    def hide(self, ids: Ints, value: Any, may: Any, rng: np.random.Generator) -> Any:
        """Hide some of the tokens `may` of a cell, in place; return which, bool."""


class HiddenValues(Encoder):
    """ScGPT: the values of a share of the genes are hidden, as in its training; the genes stay."""

    model: ScgptModel

    def __init__(self, model: ScgptModel, labels: str | None, seed: int) -> None:
        from cellglass.models.scgpt.net import NO_EXPRESSION_HEAD

        super().__init__(model, labels, seed)
        heads = {"expression": model.net.cfg.expression, "cell": model.net.cfg.mvc}
        self.losses = tuple(name for name, there in heads.items() if there)
        if not self.losses:
            raise InputError(f"{NO_EXPRESSION_HEAD}, and what its MLPs do cannot be measured")

    def hide(self, ids: Ints, value: Any, may: Any, rng: np.random.Generator) -> Any:  # noqa: ARG002
        """Put the mask's value in place of values."""
        from cellglass.models.scgpt.loss import Training

        hidden = may & (rng.random(len(may)) < Training.mask_ratio)
        value[hidden] = float(self.model.cfg.mask_value)
        return hidden

    def measure(self, shown: Shown, batch: Padded, output: Any) -> Sums:
        """Return the squared errors of the hidden values, in units of the standard deviation of even bins."""
        from cellglass.models.scgpt.loss import unit_of

        place = (shown.parts(batch.cells) == HIDDEN).to(batch.ids.device)
        wanted = shown.truth.padded(batch.cells, self.model.pad_id, self.model.pad_value).value
        assert wanted is not None, "scGPT's tokens have values"  # noqa: S101
        truth, unit = wanted.to(batch.ids.device)[place], unit_of(self.model.cfg)
        said = {}
        if "expression" in self.losses:
            said["expression"] = output.expression[place]
        if "cell" in self.losses:
            said["cell"] = self.model.net.from_cell(output.hidden[:, 0], batch.ids)[place]
        return {
            name: (float(((value.double() - truth) / unit).square().sum()), len(truth)) for name, value in said.items()
        }


class MaskedGenes(Encoder):
    """Geneformer: some genes are chosen and most of those masked, as in its training."""

    model: GeneformerModel
    losses = ("masked",)

    def __init__(self, model: GeneformerModel, labels: str | None, seed: int) -> None:
        from cellglass.models.geneformer.files import has_head
        from cellglass.models.geneformer.model import NO_HEAD

        super().__init__(model, labels, seed)
        if not has_head(model.net.state_dict()):
            raise InputError(f"{NO_HEAD}, and what its MLPs do cannot be measured")
        tokens = model.dictionaries.tokens
        genes = [tokens[gene] for gene in model.genes]
        self._mask, self._genes = tokens["<mask>"], (min(genes), max(genes) + 1)

    def hide(self, ids: Ints, value: Any, may: Any, rng: np.random.Generator) -> Any:  # noqa: ARG002
        """Choose genes and mask, change or leave them."""
        from cellglass.models.geneformer.training import masked

        changed, places, _ = masked(ids, may, self._mask, self._genes, rng)
        ids[:] = changed
        return places

    def measure(self, shown: Shown, batch: Padded, output: torch.Tensor) -> Sums:
        """Return the cross-entropy of the genes at the chosen places."""
        place = (shown.parts(batch.cells) == HIDDEN).to(output.device)
        wanted = shown.truth.padded(batch.cells, self.model.pad_id).ids.to(output.device)[place]
        head: Any = self.model.net.get_submodule("cls")
        size, total = max(1, _LOGITS_AT_ONCE // self.model.cfg.vocab_size), 0.0
        states = output[place]
        for first in range(0, len(wanted), size):
            logits = head(states[first : first + size]).float()
            total += float(functional.cross_entropy(logits, wanted[first : first + size], reduction="sum").double())
        return {"masked": (total, len(wanted))}


OBJECTIVES: Mapping[str, type[Objective]] = {
    "cell2sentence": NextToken,
    "scgpt": HiddenValues,
    "geneformer": MaskedGenes,
}
"""Kind of model -> what it is asked."""


def objective_of(model: CellModel, labels: str | None = None, seed: int = 0) -> Objective:
    """Return what `model` is asked; InputError where it is no transformer that is known here."""
    return OBJECTIVES[as_transformer(model).kind](model, labels, seed)


def as_transformer(model: CellModel) -> TransformerModel:
    """Return `model`, of a kind that is known here; else InputError."""
    from cellglass.models.transformer.model import TransformerModel

    if not isinstance(model, TransformerModel) or model.kind not in OBJECTIVES:
        raise InputError(
            f"the {model.kind} model has no MLPs that circuits are traced through; give a model of kind "
            f"{', '.join(OBJECTIVES)}"
        )
    return model


def ready(model: CellModel, cells: Cells) -> TransformerModel:
    """Return a transformer that reads `cells`, with their genes where it holds none, on a GPU where there is one."""
    found = as_transformer(model)
    found = found if len(found.genes) else as_transformer(found.for_cells(cells))
    return found.to("cuda" if torch.cuda.is_available() else "cpu")
