"""Probes: how well a linear classifier reads a label from the concepts, and from the site itself.

A multinomial logistic regression (scikit-learn, one thread) is fitted on three quarters of the cells and scored on the
rest. Sparse codes are divided by each latent's largest activation, dense activations standardised; both by the fitting
cells only. The strength of the L2 penalty is chosen among `STRENGTHS` on a quarter of the fitting cells, because the
two kinds of input need different ones and neither should lose for that. Knows nothing of dictionaries.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cellglass.errors import InputError
from cellglass.evaluation.labels import Labels, split
from cellglass.evaluation.metric import Metric
from cellglass.seeds import generator
from cellglass.threads import threads

Array = np.ndarray[Any, Any]
logger = logging.getLogger(__name__)

STRENGTHS = (0.1, 1.0, 10.0)
"""Inverse strengths of the L2 penalty (scikit-learn's ``C``) that are tried."""

_STEPS = 500
_SOURCES = {
    "concepts": "the concepts' activations",
    "site": "the site's own activations",
    "counts": "the 30 leading principal components of log-normalised counts, without any model",
}


class Probe(NamedTuple):
    """A probe's result: accuracy and majority-class accuracy on the held-out cells, and how many these are."""

    accuracy: float
    majority: float
    n: int


def probe(features: Array | sp.spmatrix, labels: Labels, seed: int, *, name: str = "") -> Probe:
    """Fit a logistic regression and score it on held-out cells.

    Parameters
    ----------
    features : numpy.ndarray or scipy.sparse matrix, shape (n_cells, n_features)
        What the label is read from.
    labels : Labels
        Of the same cells; unlabelled cells take no part.
    seed : int
        Of the split, which is stratified by value and the same for every kind of features.
    name : str
        Name of the label column.

    Returns
    -------
    Probe
        ``majority`` is the null: the accuracy of always answering the value that is most frequent among the fitting
        cells.
    """
    if features.shape[0] != len(labels.code):
        raise InputError(
            f"features have {features.shape[0]} cells and labels {len(labels.code)}; give both for the same cells"
        )
    matrix = sp.csr_matrix(features) if sp.issparse(features) else np.asarray(features, dtype=np.float64)
    fitting, inner, scoring = parts(labels.code, seed, name)
    with threads(1):
        strength = best_strength(matrix, labels.code, inner, fitting & ~inner)
        score = accuracy(matrix, labels.code, fitting, scoring, strength)
    frequent = np.bincount(labels.code[fitting]).argmax()
    return Probe(score, float((labels.code[scoring] == frequent).mean()), int(scoring.sum()))


def parts(code: Array, seed: int, name: str) -> tuple[Array, Array, Array]:
    """Return three masks: of the cells to fit to, of three quarters of those, by which choices are made, and to score.

    Each is bool (n_cells,) and stratified by `code`; unlabelled cells are in none.
    """
    rng = generator(seed, "probe", name)
    fitting = split(code, 0.75, rng)
    inner = split(np.where(fitting, code, -1), 0.75, rng)
    return fitting, inner, ~fitting & (code >= 0)


def best_strength(matrix: Array | sp.csr_matrix, code: Array, inner: Array, judging: Array) -> float:
    """Return the penalty with the highest accuracy in `judging` cells of fits to `inner`; ties go to the stronger."""
    return max(STRENGTHS, key=lambda c: (accuracy(matrix, code, inner, judging, c), -c))


def probe_metric(result: Probe, *, name: str, of: str) -> Metric:
    """Return ``probe.LABEL.OF``, where OF is ``concepts``, ``site`` or ``counts``."""
    return Metric(
        metric=f"probe.{name}.{of}",
        value=result.accuracy,
        null=result.majority,
        n=result.n,
        definition=(
            f"Accuracy of a logistic regression for {name} from {_SOURCES[of]}, on a quarter of the cells (of at most "
            "20,000) that it was not fitted on, stratified. Null: always the most frequent value. n: scored cells."
        ),
    )


def accuracy(matrix: Array | sp.csr_matrix, code: Array, fitting: Array, scoring: Array, strength: float) -> float:
    """Return the share of the `scoring` cells that a logistic regression on the `fitting` cells gets right."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler, StandardScaler

    scaler = MaxAbsScaler() if sp.issparse(matrix) else StandardScaler()
    classifier = make_pipeline(scaler, LogisticRegression(C=strength, max_iter=_STEPS))
    fit_rows, score_rows = np.flatnonzero(fitting), np.flatnonzero(scoring)
    with warnings.catch_warnings():
        # A fit that is stopped early is a slightly worse probe, not a wrong one.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(matrix[fit_rows], code[fit_rows])
    if int(np.max(classifier[-1].n_iter_)) >= _STEPS:
        logger.info("a probe with C = %g was stopped after %d steps", strength, _STEPS)
    return float((classifier.predict(matrix[score_rows]) == code[score_rows]).mean())
