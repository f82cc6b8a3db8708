"""Small Geneformers fitted on a user's cells, by the published objective, in minutes on a CPU.

Medians come from the cells, tokens are their genes, and the network learns to name masked genes: of each cell's genes
15 % are chosen, of which 80 % become ``<mask>``, 10 % another gene and 10 % stay (Devlin et al. 2019; Theodoris et al.
2023), and the loss is the cross-entropy at the chosen places. As published: ReLU, an MLP twice as wide as the model,
AdamW with a linear warm-up and a linear decay, batches of like length.

What differs, since some cells are seen for some minutes and not 30 million for days:

- There is no dropout.
- A step reads at most 128 tokens of a cell, drawn anew each time and shown at their own ranks (see `drawn`), so that it
  costs the same however many genes a cell has. The fitted model reads cells whole.
- The genes' embeddings do not start at random but from the cells' leading singular vectors (see `gene_vectors`). From a
  random start the first thing that is learned is that masked genes follow from their neighbours in rank, and cell types
  come much later.

Every epoch draws its order, its tokens and its masks from the seed and the epoch's number alone, so the state between
two epochs is the weights, AdamW's moments and a count: one safetensors file. Knows neither sites nor folders.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.checkpoint import digest_of, read_state, write_state
from cellglass.models.geneformer.files import Dictionaries, GeneformerConfig, put_weights, weights_of
from cellglass.models.transformer.gene_vectors import gene_vectors
from cellglass.models.transformer.rank_values import nonzero_medians, rank_tokens
from cellglass.models.transformer.tokens import Ints, Padded, TokenLists
from cellglass.progress import Progress, silent
from cellglass.seeds import derive, generator
from cellglass.threads import threads

logger = logging.getLogger(__name__)

BATCH_CELLS = 8
BUDGET = 2_400_000
"""Tokens that are read in all, about, unless `epochs` says how often the cells are: 5 to 6 minutes on one core."""
MOST_EPOCHS = 20
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.001
WARM_UP = 0.1
MASKED = 0.15
CHECKPOINT_EPOCHS = 2
LIMIT = {False: 2048, True: 4096}
_POOL = 8  # batches whose cells are sorted by length together
_MASK = 1
_FEWEST = 4
_TINY = 1e-9

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Fitted = tuple[GeneformerConfig, dict[str, torch.Tensor], Dictionaries]


def fit_weights(
    cells: Cells,
    *,
    layers: int = 4,
    width: int = 128,
    heads: int = 4,
    epochs: int | None = None,
    tokens: int = 128,
    special: bool = False,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> Fitted:
    """Train a small Geneformer; same cells, settings and seed, same weights, bit for bit on one machine.

    Genes that no cell has are left out of the vocabulary. Global random state and the number of threads are left as
    they were.

    Parameters
    ----------
    cells : Cells
        Raw counts of all genes that were measured: medians are of count / total * 10,000.
    layers, width, heads : int
        Size of the network; the MLP is twice as wide as the model.
    epochs : int, optional
        Passes over the cells, 0 for the network as it starts; by default as many as read `BUDGET` tokens, from 1 to
        `MOST_EPOCHS`.
    tokens : int
        Tokens of a cell that a step reads at most.
    special : bool
        V2: each cell begins with ``<cls>`` and ends with ``<eos>``, and holds up to 4,096 tokens in place of 2,048.
    seed : int
    checkpoint : Path, optional
        A file in which the state of training is kept, so that a killed run goes on from there to the same weights.
    progress : Progress

    Returns
    -------
    GeneformerConfig, weights by name, Dictionaries

    Raises
    ------
    InputError
        If a size, `epochs` or `tokens` cannot be, `width` cannot be shared by `heads`, or no cell has counts.
    """
    _check(layers=layers, width=width, heads=heads)
    if epochs is not None and epochs < 0:
        raise InputError(f"epochs={epochs} must be at least 0")
    if tokens < _FEWEST:
        raise InputError(f"tokens={tokens} must be at least {_FEWEST}: a masked gene is named by the others")
    cfg, dictionaries, lists = _prepare(cells, layers, width, heads, special)
    if epochs is None:
        epochs = epochs_for(lists.lengths, tokens)
    settings = ["geneformer", cfg.to_json(), dictionaries.to_json(), epochs, tokens, seed, BATCH_CELLS, LEARNING_RATE]
    belongs = digest_of(cells.counts, cells.genes.index, settings)
    with threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "geneformer", "weights"))
        net = cfg.new_net()
        _put_vectors(net, cells, dictionaries, derive(seed, "geneformer", "vectors"))
        _train(net, lists, tokens, epochs, seed, (checkpoint, belongs), progress)
    tensors = weights_of(net)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise RuntimeError(f"training Geneformer on {cells.source} ended in weights that are not finite")
    return cfg, tensors, dictionaries


def epochs_for(lengths: Ints, tokens: int) -> int:
    """Return how often cells of these lengths are read by default."""
    return int(np.clip(round(BUDGET / int(np.minimum(lengths, tokens).sum())), 1, MOST_EPOCHS))


def drawn(batch: Padded, tokens: int, rng: np.random.Generator) -> tuple[Ints, Bools, Bools, Ints]:
    """Return at most `tokens` tokens of each cell, drawn at random: ids, mask, where a gene stands, and their ranks.

    Special tokens are always among them, and the order stays. All results are (n, t).
    """
    ids, mask, gene = batch.ids.numpy(), batch.mask.numpy(), batch.gene.numpy() >= 0
    if ids.shape[1] <= tokens:
        return ids, mask, gene, np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy()
    lot = np.where(gene, rng.random(ids.shape), np.where(mask, -1.0, 2.0))
    place = np.sort(np.argpartition(lot, tokens - 1, axis=1)[:, :tokens], axis=1)
    taken = [np.take_along_axis(part, place, axis=1) for part in (ids, mask, gene)]
    return taken[0], taken[1], taken[2], place


def masked(
    ids: Ints, may: Bools, mask_id: int, others: tuple[int, int], rng: np.random.Generator
) -> tuple[Ints, Bools, Ints]:
    """Return token ids with some of the places `may` masked, those places, and what stood there.

    Each place is chosen with probability `MASKED`, by itself; see the head of this file for what takes its place.

    Parameters
    ----------
    ids : numpy.ndarray of int64
    may : numpy.ndarray of bool, of the same shape
        Where a gene stands.
    mask_id : int
    others : tuple of int
        First token of a gene, and one past the last.
    rng : numpy.random.Generator
    """
    places = may & (rng.random(ids.shape) < MASKED)
    wanted = ids[places]
    lot, other = rng.random(len(wanted)), rng.integers(*others, len(wanted))
    changed = ids.copy()
    changed[places] = np.where(lot < 0.8, mask_id, np.where(lot < 0.9, other, wanted))
    return changed, places, wanted


def _check(**sizes: int) -> None:
    if min(sizes.values()) < 1:
        raise InputError(f"{', '.join(f'{name}={size}' for name, size in sizes.items())} must be at least 1")


def _prepare(
    cells: Cells, layers: int, width: int, heads: int, special: bool
) -> tuple[GeneformerConfig, Dictionaries, TokenLists]:
    medians = nonzero_medians(cells.counts)
    kept = np.flatnonzero(np.isfinite(medians))
    if not len(kept):
        raise InputError(f"{cells.source}: no cell has any counts; choose other cells")
    if len(kept) < cells.n_genes:
        logger.info("%s: %d genes that no cell has are left out", cells.source, cells.n_genes - len(kept))
    ids = [str(gene) for gene in cells.genes.index[kept]]
    extra = ["<pad>", "<mask>", *(["<cls>", "<eos>"] if special else [])]
    tokens = {token: i for i, token in enumerate([*extra, *ids])}
    names = {str(name): gene for name, gene in zip(cells.symbols[kept], ids, strict=True) if str(name) != gene}
    dictionaries = Dictionaries(tokens, dict(zip(ids, medians[kept].tolist(), strict=True)), names)
    longest = min(LIMIT[special], len(ids) + 2 * special)
    cfg = GeneformerConfig(
        len(tokens), width, layers, heads, 2 * width, longest, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    lists = rank_tokens(
        cells.select_genes(kept).counts,
        medians[kept],
        np.arange(len(ids)) + len(extra),
        longest,
        pad=tokens["<pad>"],
        frame=(tokens["<cls>"], tokens["<eos>"]) if special else None,
    )
    return cfg, dictionaries, lists


# -- the start ---------------------------------------------------------------------------------------------------------


def _put_vectors(net: Any, cells: Cells, dictionaries: Dictionaries, seed: int) -> None:
    """Put `gene_vectors` in place of the genes' random embeddings, at their size; genes without one keep theirs."""
    genes = [gene for gene in dictionaries.tokens if gene in dictionaries.medians]
    medians = np.array([dictionaries.medians[gene] for gene in genes])
    counts = cells.select_genes(cells.genes.index.astype(str).get_indexer(pd.Index(genes))).counts
    vectors = torch.from_numpy(gene_vectors(counts, medians, net.config.hidden_size, seed)).float()
    known = vectors.abs().sum(1) > 0
    tokens = torch.tensor([dictionaries.tokens[gene] for gene in genes])
    with torch.no_grad():
        net.bert.embeddings.word_embeddings.weight[tokens[known]] = vectors[known] * net.config.initializer_range


# -- training ----------------------------------------------------------------------------------------------------------


def _train(
    net: Any,
    lists: TokenLists,
    tokens: int,
    epochs: int,
    seed: int,
    saved: tuple[Path | None, str],
    progress: Progress,
) -> None:
    """Train `net`, going on from the state in the file that `saved` names, where that is of this very run."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    path, belongs = saved
    start, weights = read_state(path, belongs, optimizer)
    if weights:
        put_weights(net, weights)
    progress("Geneformer epochs", start, epochs)
    for epoch in range(start, epochs):
        _epoch(net, optimizer, lists, tokens, seed, (epoch, epochs))
        if path is not None and ((epoch + 1) % CHECKPOINT_EPOCHS == 0 or epoch + 1 == epochs):
            write_state(path, belongs, epoch + 1, weights_of(net), optimizer)
        progress("Geneformer epochs", epoch + 1, epochs)


def _epoch(
    net: Any, optimizer: torch.optim.Optimizer, lists: TokenLists, tokens: int, seed: int, at: tuple[int, int]
) -> None:
    """Train on all cells once; `at` is the epoch and the number of epochs."""
    epoch, epochs = at
    rng = generator(seed, "geneformer", "epoch", epoch)
    batches = _batches(np.minimum(lists.lengths, tokens), rng)
    others = (int(lists.ids[lists.gene >= 0].min()), net.config.vocab_size)
    net.train()
    for i, chosen in enumerate(batches):
        ids, mask, genes, ranks = drawn(lists.padded(chosen, net.config.pad_token_id), tokens, rng)
        ids, places, wanted = masked(ids, genes, _MASK, others, rng)
        if not len(wanted):
            continue
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _schedule(epoch * len(batches) + i, epochs * len(batches))
        read = {"input_ids": ids, "attention_mask": mask, "position_ids": ranks}
        hidden = net.bert(**{name: torch.from_numpy(part) for name, part in read.items()}).last_hidden_state
        logits = net.cls(hidden[torch.from_numpy(places)])
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(wanted))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()


def _batches(lengths: Ints, rng: np.random.Generator) -> list[Ints]:
    """Return all cells in batches of like length, in a new order: pools of some batches are sorted by length."""
    order = rng.permutation(len(lengths))
    pools = [order[i : i + _POOL * BATCH_CELLS] for i in range(0, len(order), _POOL * BATCH_CELLS)]
    order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = [order[i : i + BATCH_CELLS] for i in range(0, len(order), BATCH_CELLS)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _schedule(step: int, steps: int) -> float:
    """Return the share of the learning rate: a linear rise over the first `WARM_UP` of the steps, a linear fall."""
    warm_up = max(1.0, WARM_UP * steps)
    return min((step + 1) / warm_up, (steps - step) / max(1.0, steps - warm_up))
