r"""Influence in a graph of effects, and the scores of a graph; pure functions of arrays.

With A the weights (rows: targets, columns: sources), N = |A| with rows that add up to 1, and w the weights of the
answers, the influence of a node on the answers over all paths is

    B = w (N + N^2 + N^3 + ...)                                             a row vector over nodes

    replacement  = sum B[tokens] / (sum B[tokens] + sum B[errors])
    completeness = sum_i (1 - N[i, errors]) (B_i + w_i) / sum_i (B_i + w_i)   over all nodes i

as circuit-tracer defines them (Ameisen et al. 2025, transformer-circuits.pub). A graph without any feature whose tokens
have a direct share t scores t and (1 + t) / 2, so no score means anything without that beside it. Biases have no part
in N: they are constants, and neither tokens nor errors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

Array = np.ndarray[Any, Any]

_LEAST = 1e-10


class Scores(NamedTuple):
    """How much of a graph's influence comes from tokens; see the module."""

    replacement: float
    completeness: float


def normalised(weights: Array) -> Array:
    """Return |weights| with rows that add up to 1; a row of zeros stays."""
    size = np.abs(weights)
    return np.asarray(size / np.maximum(size.sum(axis=1, keepdims=True), _LEAST))


def normalised_sparse(weights: sp.csr_matrix, without: Array) -> sp.csr_matrix:
    """Return the same of sparse weights, in float64, with 0 in columns `without`, bool (n_nodes,)."""
    size = abs(weights).astype(np.float64)
    size.data[without[size.indices]] = 0
    total = np.maximum(np.asarray(size.sum(axis=1)).ravel(), _LEAST)
    size.data /= np.repeat(total, np.diff(size.indptr))
    return size


def influence(rows: Array | sp.csr_matrix, target: Array, answers: Array) -> Array:
    """Return B of every node, float64 (n_nodes,).

    Parameters
    ----------
    rows : numpy.ndarray or scipy.sparse.csr_matrix, (n_targets, n_nodes)
        N, of the targets that have a row.
    target : numpy.ndarray of int64, (n_targets,)
        Node of each row.
    answers : numpy.ndarray, (n_targets,)
        w: 0 but for answers.

    Notes
    -----
    A graph has no circle, so that the sum ends; it is stopped when nothing is left to be passed on.
    """
    found = np.zeros(rows.shape[1])
    passed = np.asarray(answers, dtype=np.float64)
    for _ in range(rows.shape[1] + 1):
        step = passed @ rows
        if not step.any():
            break
        found += step
        passed = step[target]
    return found


def scores(rows: Array | sp.csr_matrix, target: Array, answers: Array, tokens: Array, errors: Array) -> Scores:
    """Return the scores of a graph.

    Parameters
    ----------
    rows, target, answers
        As of `influence`.
    tokens, errors : numpy.ndarray of bool, (n_nodes,)
        Which nodes are tokens, and which are errors.
    """
    b = influence(rows, target, answers)
    of_tokens, of_errors = float(b[tokens].sum()), float(b[errors].sum())
    everything = float(b.sum() + np.sum(answers))
    lost = float(((rows @ errors.astype(np.float64)) * (b[target] + answers)).sum())
    both = of_tokens + of_errors
    return Scores(of_tokens / both if both else float("nan"), 1 - lost / everything if everything else float("nan"))
