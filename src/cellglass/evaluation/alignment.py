"""Alignment: how well a single latent marks the cells of one label value.

A latent with a threshold is a classifier, "activation >= t". For a label value the latent and its threshold are chosen
on one half of the cells (best F1 = 2 TP / (predicted + positives)) and scored on the other half; average precision is
scored beside it. All latents and thresholds are tried, exactly, by sorting only the active cells: inactive cells have
0, below any threshold. The same function serves concepts and every baseline, so that they compare. Trains nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.errors import InputError
from cellglass.evaluation.labels import Labels, encode_labels, shuffled, split
from cellglass.evaluation.metric import Metric
from cellglass.seeds import generator
from cellglass.statistics import benjamini_hochberg
from cellglass.vocabulary import SIGNIFICANT

Array = np.ndarray[Any, Any]

NULL_SHUFFLES = 5


class Alignment(NamedTuple):
    """Every latent against every value of one label column; arrays are float64, shape (n_latents, n_values).

    Attributes
    ----------
    names : list of str
        The label's values.
    chosen : numpy.ndarray
        Best F1 on the choosing half; 0 where the latent is inactive there.
    threshold : numpy.ndarray
        The threshold that gives it, midway between the lowest activation above it and the next one below (0, if none
        is below); of equally good ones the highest. Infinity where the latent is inactive there.
    f1, ap : numpy.ndarray
        F1 at that threshold, and average precision, both on the scoring half.
    n : numpy.ndarray of int64, shape (n_values,)
        Cells of each value on the scoring half.
    """

    names: list[str]
    chosen: Array
    threshold: Array
    f1: Array
    ap: Array
    n: Array

    def best_latents(self) -> Array:
        """Return, for each value, the latent with the highest F1 on the choosing half (n_values,)."""
        return np.asarray(self.chosen.argmax(axis=0))


class _Sorted(NamedTuple):
    """The stored entries of some rows, by latent and then by falling activation."""

    row: Array
    latent: Array
    value: Array
    start: Array  # (n_latents + 1,) first entry of each latent
    last: Array  # positions that end a run of equal activations of a latent: where a threshold may lie


def align(codes: sp.csc_matrix, labels: Labels, seed: int, *, name: str = "") -> Alignment:
    """Align every latent with every value of a label.

    Parameters
    ----------
    codes : scipy.sparse matrix, shape (n_cells, n_latents)
        Activations >= 0.
    labels : Labels
        Of the same cells.
    seed : int
        Of the halves, which are stratified by value and the same for every basis.
    name : str
        Name of the label column; the halves of different columns are drawn independently.

    Returns
    -------
    Alignment
    """
    return _align(labels, *_halves(codes, labels, seed, name))


def alignment_metrics(codes: sp.csc_matrix, labels: Labels, seed: int, *, name: str, basis: str) -> list[Metric]:
    """Return ``alignment.LABEL.VALUE.BASIS`` for every value: the best single latent's held-out F1.

    The null does the same with the labels shuffled within each half, mean of five shuffles.
    """
    first, choose, score = _halves(codes, labels, seed, name)
    n = np.bincount(labels.code[~first & (labels.code >= 0)], minlength=len(labels.names))
    values = _best_scores(labels, first, choose, score)
    rng = generator(seed, "alignment", name, "null")
    nulls = []
    for _ in range(NULL_SHUFFLES):
        fake = labels._replace(code=shuffled(labels.code, first, rng))
        nulls.append(_best_scores(fake, first, choose, score))
    null = np.mean(nulls, axis=0)
    return [
        Metric(
            metric=f"alignment.{name}.{value}.{basis}",
            value=float(values[j]),
            null=float(null[j]),
            n=int(n[j]),
            definition=(
                f"F1 of the best single latent of {basis} for {name} = {value}; latent and threshold chosen on one "
                "half of the cells, scored on the other (of at most 20,000 cells). Null: labels shuffled. "
                "n: cells of this value on the scoring half."
            ),
        )
        for j, value in enumerate(labels.names)
    ]


def label_of_concepts(
    codes: sp.csc_matrix, labels: pd.DataFrame, seed: int, thresholds: Array | None = None
) -> pd.DataFrame:
    """Return the label value that each concept marks best, over all columns of `labels`, and whether it does.

    The value (and the threshold, where none is given) is chosen on one half of the cells, by how far F1 exceeds that of
    calling every cell, 2 s / (1 + s) with s the value's share: a concept that is on in half of the cells has a high F1
    for a value that most cells have, and tells nothing about it. The figures are those of the other half. There

        p = P(TP' >= TP),  TP' ~ hypergeometric(cells, cells of the value, cells at or above the threshold)

    is what permuting the labels of that half gives, exactly: value and threshold do not depend on them. It is taken
    times the number of columns (their halves differ), and ``q`` is Benjamini and Hochberg's over the concepts that are
    active in any cell. A value with q >= 0.05 is not named.

    Parameters
    ----------
    codes : scipy.sparse matrix, shape (n_cells, n_latents)
        Activations >= 0.
    labels : pandas.DataFrame
        One row for each cell, one categorical column for each label; a column without two values to tell apart is
        passed over.
    seed : int
        Of the halves.
    thresholds : numpy.ndarray, shape (n_latents,), optional
        Activation from which on each concept is on, NaN of a silent one. None: that of the best F1 on the first half.

    Returns
    -------
    pandas.DataFrame
        One row for each latent: ``latent`` (int32), ``label_column``, ``value`` (str; empty where none is marked
        significantly), ``f1``, ``ap`` (float64; 0 there), ``null`` (mean F1 under permuted labels), ``threshold``,
        ``p``, ``q`` (float64; NaN where no value is marked better than by calling every cell), ``n`` (int32: cells of
        the value on the scoring half).
    """
    encoded = {}
    for name in labels.columns:
        try:
            encoded[str(name)] = encode_labels(labels[name])
        except InputError:
            continue
    n_latents = codes.shape[1]
    table = pd.DataFrame({"latent": np.arange(n_latents, dtype=np.int32), "label_column": "", "value": ""})
    table[["f1", "ap"]] = 0.0
    table[["null", "threshold", "p"]] = np.nan
    table["n"] = np.int32(0)
    best = np.zeros(n_latents)
    for name, of in encoded.items():
        found, lift = _best_values(codes, of, seed, name, thresholds)
        better = lift > best
        best[better] = lift[better]
        table.loc[better, found.columns] = found.loc[better].astype(table.dtypes[found.columns])
    table["p"] = np.minimum(table["p"] * len(encoded), 1.0)
    live = np.diff(codes.tocsc().indptr) > 0
    p = table["p"].where(live)
    table["q"] = np.nan
    if live.any():
        table.loc[live, "q"] = benjamini_hochberg(p[live].fillna(1.0).to_numpy())
    table.loc[p.isna(), "q"] = np.nan
    unnamed = ~(table["q"] < SIGNIFICANT)
    table.loc[unnamed, ["label_column", "value"]] = ""
    table.loc[unnamed, ["f1", "ap"]] = 0.0
    return table


def _best_values(
    codes: sp.csc_matrix, labels: Labels, seed: int, name: str, thresholds: Array | None
) -> tuple[pd.DataFrame, Array]:
    """Return, for each latent, the value of one column that it marks best, with its figures; and by how much (lift)."""
    from scipy.stats import hypergeom

    first, choose, score = _halves(codes, labels, seed, name)
    result = _align(labels, first, choose, score, thresholds)
    share = np.bincount(labels.code[labels.code >= 0], minlength=len(labels.names)) / (labels.code >= 0).sum()
    lift = result.chosen - 2 * share / (1 + share)  # (n_latents, n_values)
    latent, j = np.arange(len(lift)), lift.argmax(axis=1)
    f1, threshold = result.f1[latent, j], result.threshold[latent, j]
    above = score.value >= threshold[score.latent]
    predicted = np.bincount(score.latent[above], minlength=len(lift))
    n_cells, n_positive = int((~first & (labels.code >= 0)).sum()), result.n[j]
    hits = np.rint(f1 * (predicted + n_positive) / 2)
    chance = 2 * predicted * (n_positive / n_cells) / np.maximum(predicted + n_positive, 1)
    found = pd.DataFrame(
        {
            "label_column": name,
            "value": np.asarray(result.names, dtype=object)[j],
            "f1": f1,
            "ap": result.ap[latent, j],
            "null": chance,
            "threshold": threshold,
            "p": hypergeom.sf(hits - 1, n_cells, n_positive, predicted),
            "n": n_positive.astype(np.int32),
        }
    )
    return found, lift[latent, j]


def _halves(codes: sp.csc_matrix, labels: Labels, seed: int, name: str) -> tuple[Array, _Sorted, _Sorted]:
    """Return the mask of the choosing half, and the entries of the choosing and of the scoring half."""
    if codes.shape[0] != len(labels.code):
        raise InputError(
            f"codes have {codes.shape[0]} cells and labels {len(labels.code)}; give both for the same cells"
        )
    first = split(labels.code, 0.5, generator(seed, "alignment", name))
    return first, _sorted_entries(codes, first), _sorted_entries(codes, ~first & (labels.code >= 0))


def _align(labels: Labels, first: Array, choose: _Sorted, score: _Sorted, thresholds: Array | None = None) -> Alignment:
    second = ~first & (labels.code >= 0)
    n = np.bincount(labels.code[second], minlength=len(labels.names))
    shape = (len(choose.start) - 1, len(labels.names))
    chosen, threshold, f1, ap = (np.zeros(shape) for _ in range(4))
    for j in range(len(labels.names)):
        positive = labels.code == j
        if thresholds is None:
            chosen[:, j], threshold[:, j] = _best_f1(choose, positive, int(positive[first].sum()))
        else:
            threshold[:, j] = np.where(np.isnan(thresholds), np.inf, thresholds)
            chosen[:, j] = _f1_at(choose, threshold[:, j], positive, int(positive[first].sum()))
        f1[:, j] = _f1_at(score, threshold[:, j], positive, int(n[j]))
        ap[:, j] = _average_precision(score, positive, int(n[j]), int(second.sum()))
    return Alignment(labels.names, chosen, threshold, f1, ap, n)


def _best_scores(labels: Labels, first: Array, choose: _Sorted, score: _Sorted) -> Array:
    """Return, for each value, the F1 on the scoring half of the latent that is best on the choosing half."""
    scores = []
    for j in range(len(labels.names)):
        positive = labels.code == j
        chosen, threshold = _best_f1(choose, positive, int(positive[first].sum()))
        best = int(chosen.argmax())
        entries = slice(score.start[best], score.start[best + 1])
        predicted = score.row[entries][score.value[entries] >= threshold[best]]
        scores.append(2 * positive[predicted].sum() / (len(predicted) + positive[~first].sum()))
    return np.array(scores)


def _sorted_entries(codes: sp.csc_matrix, rows: Array) -> _Sorted:
    matrix = codes.tocoo()
    keep = rows[matrix.row] & (matrix.data > 0)
    row, latent, value = matrix.row[keep], matrix.col[keep], matrix.data[keep].astype(np.float64)
    order = np.lexsort((-value, latent))
    row, latent, value = row[order], latent[order], value[order]
    ends = np.ones(len(row), dtype=bool)
    ends[:-1] = (latent[1:] != latent[:-1]) | (value[1:] != value[:-1])
    start = np.searchsorted(latent, np.arange(codes.shape[1] + 1))
    return _Sorted(row, latent, value, start, np.flatnonzero(ends))


def _true_positives(entries: _Sorted, positive: Array) -> Array:
    """Return, for every allowed threshold, how many cells at or above it are positive."""
    total = np.concatenate([[0], np.cumsum(positive[entries.row])])
    return np.asarray(total[entries.last + 1] - total[entries.start[entries.latent[entries.last]]])


def _best_f1(entries: _Sorted, positive: Array, n_positive: int) -> tuple[Array, Array]:
    n_latents = len(entries.start) - 1
    best, threshold = np.zeros(n_latents), np.full(n_latents, np.inf)
    if not len(entries.last):
        return best, threshold
    latent = entries.latent[entries.last]
    predicted = entries.last + 1 - entries.start[latent]
    f1 = 2 * _true_positives(entries, positive) / (predicted + n_positive)
    begins = np.flatnonzero(np.diff(latent, prepend=-1))
    best[latent[begins]] = np.maximum.reduceat(f1, begins)
    top = np.flatnonzero(f1 == best[latent])[::-1]  # backwards, so that the highest threshold of equals is written last
    end = entries.last[top]
    # Below the last entry of a latent lie the inactive cells, with 0.
    below = np.where(end + 1 < entries.start[latent[top] + 1], np.append(entries.value, 0)[end + 1], 0)
    threshold[latent[top]] = (entries.value[end] + below) / 2
    return best, threshold


def _f1_at(entries: _Sorted, threshold: Array, positive: Array, n_positive: int) -> Array:
    n_latents = len(threshold)
    above = entries.value >= threshold[entries.latent]
    predicted = np.bincount(entries.latent[above], minlength=n_latents)
    hits = np.bincount(entries.latent[above & positive[entries.row]], minlength=n_latents)
    return np.asarray(2 * hits / (predicted + n_positive))


def _average_precision(entries: _Sorted, positive: Array, n_positive: int, n_cells: int) -> Array:
    """Return sum over thresholds of (gain in recall) x precision; the last threshold takes in all inactive cells."""
    n_latents = len(entries.start) - 1
    latent = entries.latent[entries.last]
    hits = _true_positives(entries, positive)
    before = np.where(np.diff(latent, prepend=-1) != 0, 0, np.concatenate([[0], hits[:-1]])) if len(hits) else hits
    precision = hits / (entries.last + 1 - entries.start[latent])
    area = np.bincount(latent, weights=(hits - before) * precision, minlength=n_latents)
    found = np.bincount(latent, weights=hits - before, minlength=n_latents)
    return np.asarray((area + (n_positive - found) * n_positive / n_cells) / n_positive)
