"""Small Cell2Sentence models fitted on a user's cells, by the published objective, in minutes on a CPU.

A byte-level BPE tokenizer learns the cells' own gene names, parted into letters, digits and signs as GPT-NeoX's does,
so that a name is often several tokens. A small GPT-NeoX or Gemma 2 then learns the next token of each cell's text: the
sentence alone or, where labels are given, the cell-type prompt around it, answered. As in the published code, ties in
a cell are shuffled, here anew in every epoch: a fixed order would be learnt in place of the cell. A sentence alone has
no end, since it is cut at ``n_genes`` and not ended.

Without labels the loss is the mean over all tokens but the first. With labels an answer is some tokens behind hundreds,
and a mean over all would drown it, so

    loss = (1 - answer_share) mean over text tokens of -log p + answer_share mean over cells of -log p(answer)

with -log p(answer) the sum over the answer's tokens, and the first mean over a share of the tokens that is drawn anew
(`TEXT_TOKENS`). A few thousand cells are soon learnt by heart, so with labels each epoch also reads them as a shallower
sequencing would have given them (`Learning.thinning`): what tells a cell's type must not hang on single counts.

Every epoch draws its cells, ties and order from the seed and its own number alone, so the state between two epochs is
the weights, AdamW's moments and a count: one safetensors file. Knows neither sites nor folders.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch

from cellglass.cells.cells import Cells
from cellglass.cells.thinning import thinned, without_genes
from cellglass.errors import InputError
from cellglass.models.cell2sentence.files import TOKENIZER, Architecture, Checkpoint, new_net
from cellglass.models.cell2sentence.likelihood import head
from cellglass.models.cell2sentence.text import PROMPTS, SentenceSettings, Writer, ranked, words_of
from cellglass.models.checkpoint import digest_of, read_state, write_state
from cellglass.models.transformer.tokens import Ints
from cellglass.progress import Progress, silent
from cellglass.seeds import derive, generator
from cellglass.threads import threads

logger = logging.getLogger(__name__)

BATCH_CELLS = 8
TEXT_TOKENS = 0.25
"""Share of a text's tokens whose loss is taken in a step, where there are answers; the head is dear."""
WARM_UP = 0.05
LARGEST_GRADIENT = 1.0
CONTEXT = 2048
"""Most tokens of a text, as in Pythia."""
READ_CELLS = 8000
"""Texts that are read in all where the number of epochs is left open: minutes on one core, whatever the cells."""
READ_ANSWERED = 20_000
"""The same where there are labels, which are learnt more slowly than the text."""
MOST_EPOCHS = 8

_END = "<|endoftext|>"
_FEWEST_TOKENS = 257  # the bytes, and the end of text
_NO_TOKEN = -1
_POOL = 16  # batches whose cells are sorted by length together
_TOKENIZER_CELLS = 2000  # sentences that the tokenizer learns from


@dataclass(frozen=True)
class Learning:
    """Of what the loss is made, and how it is followed; see the module.

    Attributes
    ----------
    answer_share : float
        Share of the loss that is the answers'. Without labels it counts for nothing.
    thinning : float
        With labels, each cell keeps in each epoch a share of its counts that is drawn evenly between this and 1; with 1
        all counts are read as they are.
    dropped : float
        With labels, each cell loses in each epoch a share of its genes that is drawn evenly between 0 and this, so that
        an answer neither hangs on one gene nor on how many stand before it.
    rate : float
        AdamW's highest learning rate, after the warm-up.
    weight_decay : float
        AdamW's.
    """

    answer_share: float = 0.5
    thinning: float = 0.5
    dropped: float = 0.0
    rate: float = 3e-3
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.answer_share < 1:
            raise InputError(f"answer_share is {self.answer_share}; it is a share of the loss, between 0 and 1")
        if not 0 < self.thinning <= 1:
            raise InputError(f"thinning is {self.thinning}; it is a share of counts, above 0 and at most 1")
        if not 0 <= self.dropped < 1:
            raise InputError(f"dropped is {self.dropped}; it is a share of genes, from 0 to below 1")
        if not self.rate > 0:
            raise InputError(f"the learning rate is {self.rate}; it must be above 0")
        if not self.weight_decay >= 0:
            raise InputError(f"weight_decay is {self.weight_decay}; it must be 0 or more")


def fit_checkpoint(
    cells: Cells,
    *,
    layers: int = 4,
    width: int = 128,
    heads: int = 4,
    epochs: int | None = None,
    architecture: Architecture = "gpt_neox",
    labels: str | None = None,
    n_genes: int = 100,
    vocabulary: int = 1500,
    learning: Learning = Learning(),
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> tuple[Checkpoint, SentenceSettings]:
    """Train a small network on `cells` and return it with the settings that it was trained with.

    Same cells, settings and seed on one machine: same weights, bit for bit. Global random state and the number of
    threads are left as they were.

    Parameters
    ----------
    cells : Cells
        Raw counts. Their names (column ``symbol``) are what is written.
    layers, width, heads : int
        Size of the network; its MLPs are four times as wide as the network.
    epochs : int, optional
        Passes over all cells, 0 for the network as it starts. By default as many as read about `READ_CELLS` texts, with
        labels `READ_ANSWERED`, at most `MOST_EPOCHS`; of more cells than that, one pass over as many, drawn by the
        seed.
    architecture : {"gpt_neox", "gemma2"}
    labels : str, optional
        Column of ``obs`` with the answers to the cell-type prompt. The text of a cell without a value ends
        with the question. With labels the model's prompt is the cell-type prompt, otherwise none.
    n_genes : int
        Most genes of a sentence; time grows with it.
    vocabulary : int
        Most tokens of the tokenizer.
    learning : Learning
        Of what the loss is made, and how it is followed.
    seed : int
    checkpoint : Path, optional
        A file in which the state of training is kept, so that a killed run goes on from there to the same weights.
    progress : Progress

    Raises
    ------
    InputError
        If sizes do not go together, no cell has counts, or there is no such column.
    """
    epochs, each = plan(cells.n_cells, epochs, READ_CELLS if labels is None else READ_ANSWERED)
    lighter = (1.0, 0.0) if labels is None else (learning.thinning, learning.dropped)
    _check(cells, layers, width, heads, epochs, architecture, vocabulary)
    settings = SentenceSettings(prompt="none" if labels is None else "cell_type", n_genes=n_genes)
    words = words_of([str(s) for s in cells.symbols], settings.upper, cells.source)
    answers = _answers(cells, labels)
    tokenizer = _tokenizer(cells, words, answers, settings, vocabulary, seed)
    writer = Writer(tokenizer, words, settings, tokenizer.token_to_id(_END), CONTEXT)
    config = config_of(architecture, tokenizer.get_vocab_size(), layers, width, heads)
    constants = [BATCH_CELLS, TEXT_TOKENS, WARM_UP, LARGEST_GRADIENT, asdict(learning)]
    held = [config, settings.to_json(), epochs, each, seed, tokenizer.to_str(), answers, constants]
    belongs = digest_of(cells.counts, cells.symbols, held)
    with threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "cell2sentence", "weights"))
        net = new_net(config, torch.float32).train()
        optimizer = torch.optim.AdamW(
            net.parameters(), lr=learning.rate, betas=(0.9, 0.95), weight_decay=learning.weight_decay, fused=True
        )
        start, weights = read_state(checkpoint, belongs, optimizer)
        _put(net, weights)
        progress("Cell2Sentence epochs", start, epochs)
        for epoch in range(start, epochs):
            texts = _texts(writer, cells, answers, each, lighter, generator(seed, "cell2sentence", "ties", epoch))
            order = generator(seed, "cell2sentence", "order", epoch)
            _epoch(net, optimizer, texts, order, _How(epoch, epochs, learning))
            if checkpoint is not None:
                write_state(checkpoint, belongs, epoch + 1, dict(net.named_parameters()), optimizer)
            progress("Cell2Sentence epochs", epoch + 1, epochs)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in net.state_dict().values()):
        raise RuntimeError(f"training Cell2Sentence on {cells.source} ended in weights that are not finite")
    beside = {"bos_token": _END, "eos_token": _END, "tokenizer_class": "PreTrainedTokenizerFast"}
    files = {TOKENIZER: tokenizer.to_str(pretty=True), "tokenizer_config.json": json.dumps(beside, indent=1)}
    return Checkpoint(config, net.eval(), {name: text.encode() for name, text in files.items()}), settings


def _put(net: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Put weights that were saved in place of the network's."""
    with torch.no_grad():
        for name, parameter in net.named_parameters() if weights else ():
            parameter.copy_(weights[name])


def plan(n_cells: int, epochs: int | None, texts: int) -> tuple[int, int]:
    """Return the number of epochs, and how many cells each reads: `epochs` as the user gave it, or `texts` in all."""
    if epochs is not None:
        return epochs, n_cells
    return int(np.clip(round(texts / max(1, n_cells)), 1, MOST_EPOCHS)), min(n_cells, texts)


def config_of(architecture: Architecture, vocabulary: int, layers: int, width: int, heads: int) -> dict[str, Any]:
    """Return the config.json of a small network, with the published networks' proportions."""
    shared = {
        "model_type": architecture,
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "dtype": "float32",
    }
    if architecture == "gpt_neox":
        own = {"architectures": ["GPTNeoXForCausalLM"], "rotary_pct": 0.25, "rotary_emb_base": 10000}
        return {**shared, **own, "tie_word_embeddings": False}
    return {
        **shared,
        "architectures": ["Gemma2ForCausalLM"],
        "num_key_value_heads": heads // 2 if heads % 2 == 0 else heads,
        "head_dim": width // heads,
        "query_pre_attn_scalar": width // heads,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
    }


def _check(
    cells: Cells, layers: int, width: int, heads: int, epochs: int, architecture: Architecture, vocabulary: int
) -> None:
    if architecture not in get_args(Architecture):
        raise InputError(f"there is no architecture {architecture!r}; choose: {', '.join(get_args(Architecture))}")
    if min(layers, width, heads) < 1 or epochs < 0:
        raise InputError(
            f"{layers} layers, width {width}, {heads} heads must each be 1 or more, and {epochs} epochs 0 or more"
        )
    if width % (8 * heads):
        raise InputError(f"width {width} does not part into {heads} heads; it must be a multiple of {8 * heads}")
    if vocabulary < _FEWEST_TOKENS:
        raise InputError(f"a vocabulary of {vocabulary} tokens is too small; give {_FEWEST_TOKENS} or more")
    if not cells.counts.nnz:
        raise InputError(f"{cells.source}: no cell has any counts; choose other cells")


def _answers(cells: Cells, labels: str | None) -> list[str | None] | None:
    """Return the answer to the cell-type prompt for each cell."""
    if labels is None:
        return None
    column = cells.column(labels)
    return [None if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]


def _tokenizer(
    cells: Cells,
    words: list[str],
    answers: list[str | None] | None,
    settings: SentenceSettings,
    vocabulary: int,
    seed: int,
) -> Any:
    """Return a byte-level BPE tokenizer that has learnt all names, some cells' sentences, prompt and answers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    rows = np.sort(generator(seed, "cell2sentence", "tokenizer").permutation(cells.n_cells)[:_TOKENIZER_CELLS])
    counts = cells.counts[rows]
    start, gene = ranked(counts, np.asarray(counts.indices), settings.n_genes)
    texts = [f" {word}" for word in words]
    texts += ["".join(texts[g] for g in gene[start[i] : start[i + 1]]) for i in range(len(rows))]
    if answers is not None:
        texts += [*PROMPTS[settings.prompt]] * len(rows) + [_said(answers[i], settings) for i in rows]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _said(answer: str | None, settings: SentenceSettings) -> str:
    return "" if answer is None else f"{' ' if settings.answer_space else ''}{answer}."


# -- one epoch ---------------------------------------------------------------------------------------------------------


class _Text(NamedTuple):
    """Tokens of a text, and how many of the last are its answer and end."""

    ids: torch.Tensor
    answer: int


class _How(NamedTuple):
    """How an epoch is read: its number, of how many, and what is followed."""

    epoch: int
    epochs: int
    learning: Learning


def _texts(
    writer: Writer,
    cells: Cells,
    answers: list[str | None] | None,
    each: int,
    lighter: tuple[float, float],
    rng: np.random.Generator,
) -> list[_Text]:
    """Return the texts of `each` cells, thinned and with genes dropped as `Learning` says, ties shuffled."""
    if each < cells.n_cells:
        rows = np.sort(rng.permutation(cells.n_cells)[:each])
        cells, answers = cells[rows], None if answers is None else [answers[i] for i in rows]
    keep, dropped = lighter
    if keep < 1:
        cells = cells.with_counts(thinned(cells.counts, rng.uniform(keep, 1, cells.n_cells), rng))
    if dropped:
        cells = cells.with_counts(without_genes(cells.counts, rng.uniform(0, dropped, cells.n_cells), rng))
    lists = writer.tokens(cells, ties=rng.permutation(cells.counts.nnz))
    prompts = [lists.ids[lists.start[i] : lists.start[i + 1]] for i in range(len(lists))]
    said: dict[str | None, list[int]] = {None: []}
    if answers is not None:
        end = writer.tokenizer.token_to_id(_END)
        said |= {answer: [*writer.answer(_said(answer, writer.settings)), end] for answer in {*answers} - {None}}
    behind = [said[answer] for answer in answers or [None] * len(prompts)]
    return [
        _Text(torch.from_numpy(np.append(ids, own).astype(np.int64)), len(own))
        for ids, own in zip(prompts, behind, strict=True)
    ]


def _epoch(net: Any, optimizer: torch.optim.Optimizer, texts: list[_Text], rng: np.random.Generator, how: _How) -> None:
    batches = _batches(np.array([len(text.ids) for text in texts]), rng)
    for i, chosen in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = how.learning.rate * _schedule(how.epoch * len(batches) + i, how.epochs * len(batches))
        loss = _loss(net, [texts[j] for j in chosen], how.learning.answer_share, rng)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(net.parameters(), LARGEST_GRADIENT)
        optimizer.step()


def _loss(net: Any, texts: list[_Text], share: float, rng: np.random.Generator) -> torch.Tensor:
    """Return the loss of some texts; see the module."""
    ids = torch.nn.utils.rnn.pad_sequence([text.ids for text in texts], batch_first=True, padding_value=_NO_TOKEN)
    length = torch.tensor([len(text.ids) for text in texts])[:, None]
    answer = torch.tensor([text.answer for text in texts])[:, None]
    at = torch.arange(1, ids.shape[1])
    answers = (at >= length - answer) & (at < length)
    text = at < length - answer
    answered = int((answer > 0).sum())
    if answered:
        text &= torch.from_numpy(rng.random(text.shape) < TEXT_TOKENS)
    place, wanted = text | answers, ids[:, 1:]
    hidden = net.base_model(input_ids=ids.clamp(min=0)[:, :-1], use_cache=False).last_hidden_state
    losses = torch.nn.functional.cross_entropy(head(net, hidden[place]), wanted[place], reduction="none")
    of_answers = answers[place]
    of_text = losses[~of_answers].sum() / max(1, int(text.sum()))
    if not answered:
        return of_text
    return (1 - share) * of_text + share * losses[of_answers].sum() / answered


def _batches(lengths: Ints, rng: np.random.Generator) -> list[Ints]:
    """Return the cells in batches of like length, in an order drawn anew; those of one token say nothing."""
    order = rng.permutation(np.flatnonzero(lengths > 1))
    pools = [order[i : i + _POOL * BATCH_CELLS] for i in range(0, len(order), _POOL * BATCH_CELLS)]
    order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = [order[i : i + BATCH_CELLS] for i in range(0, len(order), BATCH_CELLS)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _schedule(step: int, steps: int) -> float:
    """Return the share of the learning rate: a rise over the first `WARM_UP` of the steps, times half a cosine."""
    rise = min(1.0, (step + 1) / (WARM_UP * steps + 1))
    return rise * max(0.05, 0.5 * (1 + math.cos(math.pi * step / steps)))
