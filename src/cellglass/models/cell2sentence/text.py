"""Cells as text for Cell2Sentence: gene names by falling expression, a prompt around them, tokens traced back to genes.

A cell sentence holds the names of a cell's counted genes, highest first, a space before each, at most ``n_genes``.
Normalising a cell to a total, the logarithm and any other rising function leave the order within a cell as it is, so
raw counts are ranked. Ties: the published code shuffles them with a global random state; here they follow one shuffled
order of all names, that of sha256(name), so that a sentence depends on its cell alone and a swap moves one gene only.
Names are written in capitals, as the published code writes them, mouse genes too.

Knows tokenizers (the fast ones of the ``tokenizers`` library), not networks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import scipy.sparse as sp

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.transformer.tokens import Ints, TokenLists

PromptName = Literal["cell_type", "generation", "none"]
RowChoice = Literal["last", "mean"]

_TEXTS_AT_ONCE = 1000


class Prompt(NamedTuple):
    """What stands before and behind a cell sentence; ``{n_genes}``, ``{organism}``, ``{cell_type}`` are filled in."""

    before: str
    behind: str


# The wording that published models were trained on, which they need as it is. `cell_type` is the one on the model card
# of C2S-Scale-Gemma-2-2B (CC BY 4.0); it and `generation` are the first in the files single_cell_cell_type_prediction_
# prompts.json and single_cell_cell_type_conditional_generation_prompts.json of vandijklab/cell2sentence (Apache 2.0).
PROMPTS: dict[str, Prompt] = {
    "cell_type": Prompt(
        "The following is a list of {n_genes} gene names ordered by descending expression level in a {organism} cell. "
        "Your task is to give the cell type which this cell belongs to based on its gene expression.\nCell sentence:",
        ".\nThe cell type corresponding to these genes is:",
    ),
    "generation": Prompt(
        "Generate a list of {n_genes} genes in order of descending expression which represent a {organism} cell of "
        "cell type {cell_type}.\nCell sentence:",
        "",
    ),
    "none": Prompt("", ""),
}


@dataclass(frozen=True)
class SentenceSettings:
    """How cells become text, and which of a gene's tokens stands for it.

    Attributes
    ----------
    prompt : {"cell_type", "generation", "none"}
        What is written around the sentence; the published code embeds cells with the cell-type prompt. `none` is the
        sentence alone behind the tokenizer's begin (or end) of text.
    n_genes : int
        Most genes of a sentence, and the number that the prompt names even where a cell has fewer, as published. The
        published C2S-Pythia models for one task were trained with 200; those for many tasks, C2S-Scale too, with 100 to
        2,048. A sentence that does not fit into the network's context loses its last genes.
    organism : str
        ``Homo sapiens`` or ``Mus musculus`` in the published models.
    label : str, optional
        For `generation`: the obs column with each cell's type.
    upper : bool
        Names in capitals.
    rows : {"last", "mean"}
        A gene is often several tokens: its row is the last one's, or the mean over all.
    answer_space : bool
        A space between prompt and answer. The published training code has one where it takes the loss on all text, and
        none where it takes it on the answer.
    """

    prompt: PromptName = "cell_type"
    n_genes: int = 200
    organism: str = "Homo sapiens"
    label: str | None = None
    upper: bool = True
    rows: RowChoice = "last"
    answer_space: bool = True

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("prompt", self.prompt, get_args(PromptName)),
            ("rows", self.rows, get_args(RowChoice)),
        ):
            if value not in allowed:
                raise InputError(f"Cell2Sentence has no {name} {value!r}; choose one of: {', '.join(allowed)}")
        if self.n_genes < 1:
            raise InputError(f"a cell sentence of at most {self.n_genes} genes says nothing; give n_genes of 1 or more")
        if self.prompt == "generation" and self.label is None:
            raise InputError("the generation prompt names each cell's type; give label, the obs column that holds it")

    def to_json(self) -> dict[str, Any]:
        """Return what `SentenceSettings(**...)` takes."""
        return asdict(self)


def words_of(symbols: Sequence[str], upper: bool, where: str) -> list[str]:
    """Return how each gene is written; InputError where a name cannot be one word of a sentence."""
    words = [str(symbol).upper() if upper else str(symbol) for symbol in symbols]
    for symbol, word in zip(symbols, words, strict=True):
        if not word or word.split() != [word]:
            raise InputError(
                f"{where}: gene {symbol!r} cannot be written in a cell sentence, whose names are parted by spaces; "
                "rename it in the column 'symbol', or leave it out"
            )
    return words


def tie_order(words: Sequence[str]) -> Ints:
    """Return the place of each name in the shuffled order that decides ties; equal names keep their order."""
    keys = [hashlib.sha256(word.encode()).digest() for word in words]
    order = sorted(range(len(words)), key=lambda i: (keys[i], i))
    place = np.empty(len(words), dtype=np.int64)
    place[order] = np.arange(len(words))
    return place


def ranked(counts: sp.csr_matrix, tie: Ints, most: int) -> tuple[Ints, Ints]:
    """Return each cell's genes by falling count, at most `most`: where each cell's begin (n + 1,), and the genes.

    `tie` decides between equal counts of a cell, the smaller first: one number for each stored count.
    """
    lengths = np.diff(counts.indptr).astype(np.int64)
    cell = np.repeat(np.arange(len(lengths)), lengths)
    gene = np.asarray(counts.indices).astype(np.int64, copy=False)
    order = np.lexsort((tie, -np.asarray(counts.data), cell))
    first = np.asarray(counts.indptr[:-1]).astype(np.int64)
    kept = np.arange(len(gene)) - np.repeat(first, lengths) < most
    start = np.concatenate([[0], np.cumsum(np.minimum(lengths, most))]).astype(np.int64)
    return start, gene[order][kept]


class Writer:
    """Writes cells and reads their tokens.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
    words : sequence of str
        Each gene's name as it is written.
    settings : SentenceSettings
    begin : int
        The token that a sentence without prompt begins with.
    context : int
        Most tokens of a cell.
    """

    def __init__(
        self, tokenizer: Any, words: Sequence[str], settings: SentenceSettings, begin: int, context: int
    ) -> None:
        self.tokenizer = tokenizer
        self.words = np.array(words, dtype=object)
        self.settings = settings
        self.begin = begin
        self.context = context
        self._tie = tie_order(words)
        self._length = np.array([len(word) for word in words], dtype=np.int64)
        self._begins = tokenizer.encode("A").ids[:1] == [begin]

    def tokens(
        self, cells: Cells, prompt: PromptName | None = None, *, finished: bool = True, ties: Ints | None = None
    ) -> TokenLists:
        """Return the tokens of `cells`, whose columns are the words' genes.

        Parameters
        ----------
        cells
            Aligned to the words.
        prompt
            In place of the settings' own.
        finished
            With what stands behind the sentence; otherwise it ends with its last gene, and may go on.
        ties
            What decides between equal counts, one number for each stored count, in place of the names' fixed order.

        Raises
        ------
        InputError
            If the prompt alone is longer than the context, or a cell's type is missing.
        """
        before, behind = self._around(cells, prompt or self.settings.prompt)
        ties = self._tie[cells.counts.indices] if ties is None else ties
        start, gene = ranked(cells.counts, ties, self.settings.n_genes)
        parts = []
        for first in range(0, cells.n_cells, _TEXTS_AT_ONCE):
            last = min(first + _TEXTS_AT_ONCE, cells.n_cells)
            genes = [gene[start[i] : start[i + 1]] for i in range(first, last)]
            parts.append(self._fitting(before[first:last], genes, behind if finished else "", cells.source))
        return _joined(parts)

    def answer(self, text: str) -> list[int]:
        """Return the tokens of a text alone, without the tokenizer's begin of text."""
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return found

    def opening(self, cells: Cells) -> Ints:
        """Return how many tokens stand before the sentence of each cell, int64 (n_cells,)."""
        before, _ = self._around(cells, self.settings.prompt)
        number = {}
        for text in dict.fromkeys(before):
            begin = not (text or self._begins)
            number[text] = begin + len(self.tokenizer.encode(text, add_special_tokens=True).ids)
        return np.array([number[text] for text in before], dtype=np.int64)

    def _around(self, cells: Cells, name: PromptName) -> tuple[list[str], str]:
        """Return what stands before each cell's sentence, and behind all."""
        prompt, settings = PROMPTS[name], self.settings
        fill = {"n_genes": settings.n_genes, "organism": settings.organism}
        if name != "generation":
            return [prompt.before.format(**fill)] * cells.n_cells, prompt.behind
        types = cells.column(str(settings.label))
        if types.isna().any():
            first = cells.obs.index[int(np.argmax(types.isna()))]
            raise InputError(
                f"{cells.source}: cell {first!r} has no {settings.label!r}, which the prompt names; fill it"
            )
        return [prompt.before.format(**fill, cell_type=value) for value in types.astype(str)], prompt.behind

    def _fitting(self, before: Sequence[str], genes: list[Ints], behind: str, source: str) -> TokenLists:
        """Return the tokens of all cells; those that are too long lose their last genes until they fit.

        Anew from the text: what the tokenizer makes of the last gene may depend on what stands behind it.
        """
        genes = list(genes)
        found = self._encoded(before, genes, behind)
        while len(late := np.flatnonzero(found.lengths > self.context)):
            for i in late:
                if not len(genes[i]):
                    raise InputError(
                        f"{source}: the prompt alone has {found.lengths[i]} tokens, but the network reads at most "
                        f"{self.context}; choose prompt='none'"
                    )
                at = found.gene[found.start[i] : found.start[i + 1]]
                genes[i] = genes[i][: _genes_with_room(at, len(genes[i]), self.context)]
            found = self._encoded(before, genes, behind)
        return found

    def _encoded(self, before: Sequence[str], genes: Sequence[Ints], behind: str) -> TokenLists:
        texts = [
            "".join([b, *(f" {word}" for word in self.words[g]), behind]) for b, g in zip(before, genes, strict=True)
        ]
        none: Ints = np.empty(0, np.int64)
        read = self.tokenizer.encode_batch(texts, add_special_tokens=True)
        begins = [[] if b or self._begins else [self.begin] for b in before]
        ids = [np.array([*begin, *e.ids], dtype=np.int64) for begin, e in zip(begins, read, strict=True)]
        spans = [
            np.array([*((0, 0) for _ in begin), *e.offsets], dtype=np.int64).reshape(-1, 2)
            for begin, e in zip(begins, read, strict=True)
        ]
        start = np.concatenate([[0], np.cumsum([len(i) for i in ids])]).astype(np.int64)
        gene = self._gene_at(start, np.concatenate([none.reshape(0, 2), *spans]), before, genes, len(behind))
        return TokenLists(start, np.concatenate([none, *ids]), gene)

    def _gene_at(self, start: Ints, span: Ints, before: Sequence[str], genes: Sequence[Ints], behind: int) -> Ints:
        """Return the gene in which each token lies: the last one whose name it overlaps; -1 where there is none.

        All cells at once: their texts are laid out one behind another on one line of characters.

        Parameters
        ----------
        start
            Where the tokens of each cell begin.
        span : numpy.ndarray of int64, (tokens, 2)
            First character of each token in its cell's text, and one past its last.
        before, genes, behind
            The cells' texts: what stands before the names, the names, and how many characters stand behind them.
        """
        gene = np.concatenate([np.empty(0, np.int64), *genes])
        if not len(gene):
            return np.full(len(span), -1, dtype=np.int64)
        number = np.array([len(g) for g in genes])
        first = np.concatenate([[0], np.cumsum(number)])
        ahead = np.concatenate([[0], np.cumsum(self._length[gene] + 1)])  # characters of all names before each
        opening = np.array([len(text) for text in before])
        sizes = opening + ahead[first[1:]] - ahead[first[:-1]] + behind + 1
        line = np.cumsum(sizes) - sizes
        begin = np.repeat(line + opening - ahead[first[:-1]], number) + ahead[:-1] + 1
        shift = np.repeat(line, np.diff(start))
        place = np.searchsorted(begin, shift + span[:, 1], side="left") - 1
        inside = (place >= 0) & (span[:, 1] > span[:, 0])
        inside &= begin[place] + self._length[gene[place]] > shift + span[:, 0]
        return np.where(inside, gene[place], -1)


def _genes_with_room(at: Ints, genes: int, context: int) -> int:
    """Return how many of a cell's first genes fit with what stands around them: fewer than `genes`."""
    places = np.flatnonzero(at >= 0)
    if not len(places):
        return 0
    ends = places[np.append(at[places][1:] != at[places][:-1], True)] + 1
    behind = len(at) - ends[-1]
    return min(int(np.searchsorted(ends + behind, context, side="right")), genes - 1)


def _joined(parts: Sequence[TokenLists]) -> TokenLists:
    none: Ints = np.empty(0, np.int64)
    lengths = np.concatenate([none, *(part.lengths for part in parts)])
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.concatenate([none, *(part.ids for part in parts)])
    return TokenLists(start, ids, np.concatenate([none, *(part.gene for part in parts)]))
