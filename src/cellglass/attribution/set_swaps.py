"""Swaps of whole sets of genes: in each prototype, all genes of a set take the partner's counts at once.

For a prototype p with readout f of a concept, its partner p' and a set S:

    effect_S = mean over pairs of [f(p) - f(p with the counts of the genes of S in p')] / f(p)

A set matters to a model if this exceeds what sets of as many genes do that are as highly expressed and differ as much
between the two cells. Such a set is drawn by exchanging each gene for another of its bin of mean expression and, within
that, of mean difference of log counts between prototypes and partners; a draw exchanges all genes at once, so that sets
overlap as they did. Each set stands on the scale of its own draws, z = (effect - mean) / sd, and

    p = (1 + #{|z of a draw| >= |z|}) / (1 + number of draws of all sets),

each draw on the scale of the others of its set. Knows nothing of names: sets are rows of a matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cellglass.attribution.work import Subject
from cellglass.errors import InputError
from cellglass.progress import Progress, silent
from cellglass.seeds import generator
from cellglass.statistics import benjamini_hochberg

if TYPE_CHECKING:
    import torch

Array = np.ndarray[Any, Any]

LEVELS, STEPS = 10, 5
"""Bins of mean expression, and of mean difference within each."""
_ROWS = 4096


class SetSwaps(NamedTuple):
    """What swapping each set does to one concept; arrays of shape (n_sets,).

    Attributes
    ----------
    effect, se : float64
        Mean share of the readout that is lost, and its standard error over pairs.
    null, null_sd : float64
        Mean and standard deviation over drawn sets.
    changed : float64
        Genes of the set whose counts differ in a pair, mean over pairs.
    p, q : float64
        See the module; q by Benjamini and Hochberg over the sets. NaN where no draw of a set changes anything.
    """

    effect: Array
    se: Array
    null: Array
    null_sd: Array
    changed: Array
    p: Array
    q: Array


def swap_sets(
    subject: Subject,
    prototype: Array,
    partner: Array,
    concept: int,
    members: sp.csr_matrix,
    *,
    draws: int = 50,
    on: str = "activation",
    seed: int = 0,
    progress: Progress = silent,
) -> SetSwaps:
    """Swap every set of genes in every pair of one concept, and as many drawn sets.

    Parameters
    ----------
    subject : Subject
    prototype, partner : int64, shape (n_pairs,)
        Positions of cells; each prototype has a readout above 0.
    concept : int
        The latent that is read.
    members : scipy.sparse.csr_matrix of bool, shape (n_sets, n_genes)
    draws : int
        Drawn sets for each; at least 5.
    on : {"activation", "preactivation"}
        The readout.
    seed : int
    progress : Progress
        Told of draws that are done.

    Raises
    ------
    InputError
        If there are no pairs or no sets, shapes do not fit, or `draws` is below 5.
    """
    n_genes = subject.cells.n_genes
    if members.shape[1] != n_genes:
        raise InputError(f"set swaps: sets are of {members.shape[1]} genes, but the cells have {n_genes}")
    if not len(prototype) or not members.shape[0]:
        raise InputError(f"set swaps: {len(prototype)} pairs and {members.shape[0]} sets; there must be some of both")
    if draws < 5:
        raise InputError(f"set swaps: draws is {draws}; it must be at least 5")
    ours, theirs = (subject.cells.counts[rows].toarray() for rows in (prototype, partner))  # (n_pairs, n_genes)
    bins, rng = _bins(subject, ours, theirs), generator(seed, "set swaps", concept)
    run = _Run(subject, np.asarray(prototype), ours, theirs, concept, on)
    real = run(members)  # (n_pairs, n_sets)
    drawn = np.empty((draws, members.shape[0]))
    for draw in range(draws):
        drawn[draw] = run(_exchanged(members, bins, rng)).mean(axis=0)
        progress("draw sets", draw + 1, draws)
    effect = real.mean(axis=0)
    p = pooled_p(effect, drawn)
    q, known = np.full_like(p, np.nan), ~np.isnan(p)
    if known.any():
        q[known] = benjamini_hochberg(p[known])
    changed = np.asarray(members.astype(np.float64) @ (ours != theirs).astype(np.float64).mean(axis=0))
    n = len(prototype)
    se = real.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(effect), np.nan)
    return SetSwaps(effect, se, drawn.mean(axis=0), drawn.std(axis=0, ddof=1), changed, p, q)


def exchanged(subject: Subject, prototype: Array, partner: Array, members: sp.csr_matrix, seed: int) -> sp.csr_matrix:
    """Return the sets with every gene exchanged for another of its bin: what a control is made of."""
    ours, theirs = (subject.cells.counts[rows].toarray() for rows in (prototype, partner))
    return _exchanged(members, _bins(subject, ours, theirs), generator(seed, "set swaps, exchanged"))


def _bins(subject: Subject, ours: Array, theirs: Array) -> Array:
    return matched_bins(subject, np.abs(np.log1p(ours) - np.log1p(theirs)).mean(axis=0))


def _exchanged(members: sp.csr_matrix, bins: Array, rng: np.random.Generator) -> sp.csr_matrix:
    exchange = np.empty(len(bins), dtype=np.int64)
    exchange[np.argsort(bins, kind="stable")] = np.argsort(rng.random(len(bins)) + bins)  # gene -> another of its bin
    return sp.csr_matrix(members[:, np.argsort(exchange)])


def matched_bins(subject: Subject, difference: Array) -> Array:
    """Return the bin of each gene, int64 (n_genes,): by mean count, and within that by `difference` (n_genes,)."""
    from scipy.stats import rankdata

    expression = subject.cells.gene_means
    n = len(expression)
    levels = max(1, min(LEVELS, n // 20))
    level = np.minimum(((rankdata(expression, method="ordinal") - 0.5) / n * levels).astype(np.int64), levels - 1)
    bins = np.empty(n, dtype=np.int64)
    for one in range(levels):
        mine = np.flatnonzero(level == one)
        steps = max(1, min(STEPS, len(mine) // 4))
        step = ((rankdata(difference[mine], method="ordinal") - 0.5) / len(mine) * steps).astype(np.int64)
        bins[mine] = one * STEPS + np.minimum(step, steps - 1)
    return bins


def pooled_p(effect: Array, drawn: Array) -> Array:
    """Return p of each effect (n_sets,) against its draws (n_draws, n_sets), each set on its own scale, pooled."""
    n = len(drawn)
    mean, variance = drawn.mean(axis=0), drawn.var(axis=0, ddof=1)
    scale = np.sqrt(variance)
    able = scale > 1e-9 * max(1.0, float(np.abs(drawn).max(initial=0.0)))
    without = (n * mean - drawn) / (n - 1)  # means and variances of the other draws
    square = (n * np.square(drawn).mean(axis=0) - np.square(drawn)) / (n - 1)
    spread = np.sqrt(np.maximum(square - np.square(without), 0) * (n - 1) / (n - 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        null = np.abs((drawn - without) / spread)[:, able]
        z = np.abs((effect - mean) / scale)
    pooled = np.sort(null[np.isfinite(null)])
    p = np.full(len(effect), np.nan)
    p[able] = (1 + len(pooled) - np.searchsorted(pooled, z[able] * (1 - 1e-12))) / (1 + len(pooled))
    return p


class _Run:
    """Runs prototypes with the counts of sets taken from their partners; each call gives (n_pairs, n_sets) shares."""

    def __init__(self, subject: Subject, prototype: Array, ours: Array, theirs: Array, concept: int, on: str) -> None:
        import torch

        self.subject, self.prototype, self.concept, self.on = subject, prototype, concept, on
        self.ours, self.theirs = ours, theirs
        self.front = subject.model.linear_front(subject.site)
        with torch.no_grad():
            x = subject.model.activations(subject.cells[prototype], [subject.site])[subject.site]
            self.whole = self._read(x)  # (n_pairs,)
            if self.front is not None:
                self.start = self.front.front(subject.cells[prototype])  # (n_pairs, k)
        if not np.all(self.whole > 0):
            raise InputError(f"set swaps: a prototype does not have concept {concept}; leave it out")

    def __call__(self, members: sp.csr_matrix) -> Array:
        import torch

        with torch.no_grad():
            rows = [self._pair(i, members) for i in range(len(self.prototype))]
        return np.stack(rows)

    def _pair(self, pair: int, members: sp.csr_matrix) -> Array:
        import torch

        out = np.zeros(members.shape[0])
        if self.front is not None:
            change = np.log1p(self.theirs[pair]) - np.log1p(self.ours[pair])
            genes = np.flatnonzero(change)
            some = members[:, genes].astype(np.float32)
            weight = self.front.weight[:, torch.from_numpy(genes)].numpy() * change[genes]  # (k, genes)
            moved = torch.from_numpy(np.asarray(some @ weight.T, dtype=np.float32))  # (n_sets, k)
            touched = np.flatnonzero(np.diff(some.indptr))
            for first in range(0, len(touched), _ROWS):
                rows = touched[first : first + _ROWS]
                out[rows] = self._read(self.front.rest(self.start[pair] + moved[torch.from_numpy(rows)]))
        else:
            differs = sp.csr_matrix(members[:, np.flatnonzero(self.ours[pair] != self.theirs[pair])])
            touched = np.flatnonzero(np.diff(differs.indptr))
            for first in range(0, len(touched), _ROWS):
                rows = touched[first : first + _ROWS]
                swapped = np.where(members[rows].toarray().astype(bool), self.theirs[pair], self.ours[pair])
                cells = self.subject.cells[np.full(len(rows), self.prototype[pair])]
                x = self.subject.model.activations(cells.with_counts(sp.csr_matrix(swapped)), [self.subject.site])[
                    self.subject.site
                ]
                out[rows] = self._read(x)
        share = np.zeros(members.shape[0])
        share[touched] = (self.whole[pair] - out[touched]) / self.whole[pair]
        return share

    def _read(self, x: torch.Tensor) -> Array:
        from cellglass.attribution.effects import read

        rows = np.arange(len(x))
        values = read(self.subject.dictionary, x, rows, np.full(len(rows), self.concept), (self.on,))[self.on]
        return np.asarray(values, dtype=np.float64)
