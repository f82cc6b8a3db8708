"""Runs every measure on every basis over one site and returns the records of ``evaluation.json``.

A basis (``concepts``, ``neurons``, ``pca``, ``ica``, ``random``) is a list of dictionaries, one a seed. Seed i also
draws its own halves and splits of the cells, so a basis without randomness of its own (neurons, PCA) has a spread as
well. Each statistic lives in its own module; nothing is fitted here but probes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from cellglass.dictionaries.base import Dictionary
from cellglass.errors import InputError
from cellglass.evaluation.alignment import alignment_metrics
from cellglass.evaluation.counts import components
from cellglass.evaluation.fidelity import Fidelity, fidelity, fidelity_metrics
from cellglass.evaluation.labels import Labels, encode_labels, sample_rows
from cellglass.evaluation.metric import Metric, over_seeds
from cellglass.evaluation.probes import probe, probe_metric
from cellglass.evaluation.stability import Latents, stability_metrics
from cellglass.progress import Progress, silent
from cellglass.seeds import derive

Array = np.ndarray[Any, Any]
Read = Callable[[Array], torch.Tensor]
"""Activations of the cells at given ascending positions: float32 (n, width)."""

logger = logging.getLogger(__name__)


class CellView(Protocol):
    """What is held against labels: codes and activations with one row for each cell."""

    @property
    def n_cells(self) -> int:
        """Number of cells."""

    def codes(self, dictionary: Dictionary, cells: Array) -> sp.csc_matrix:
        """Return the codes of the cells at ascending positions, CSC (n, n_latents)."""

    def site(self, cells: Array) -> torch.Tensor:
        """Return the activations of the cells at ascending positions, (n, width)."""


@dataclass(frozen=True)
class _CellRows:
    """The view of a site with one row for each cell."""

    read: Read
    n_cells: int

    def codes(self, dictionary: Dictionary, cells: Array) -> sp.csc_matrix:
        return encode_rows(dictionary, self.read, cells)

    def site(self, cells: Array) -> torch.Tensor:
        return self.read(cells)


_BATCH = 1024
MAX_ENTRIES = 4_000_000
"""Activations of a dictionary that are kept for stability, 12 bytes each."""
CONCEPTS = "concepts"


@dataclass(frozen=True)
class _Setting:
    """What every seed shares: how activations are read, the sampled cells with their labels, and the held-out cells."""

    read: Read
    view: CellView
    rows: Array
    heldout: Array
    labels: Mapping[str, Labels]
    site: Array
    counts: Array | None


def evaluate(
    dictionaries: Mapping[str, Sequence[Dictionary]],
    read: Read | torch.Tensor,
    n_rows: int | None = None,
    *,
    labels: pd.DataFrame,
    heldout: Array,
    seed: int,
    control: Sequence[Dictionary] = (),
    view: CellView | None = None,
    counts: Callable[[Array], sp.csr_matrix] | None = None,
    progress: Progress = silent,
) -> list[Metric]:
    """Return every record: fidelity, probes, alignment and stability, with spreads over seeds.

    Parameters
    ----------
    dictionaries : mapping of str to sequence of Dictionary
        For each basis one dictionary a seed; the first of ``concepts`` is the one that the atlas shows.
    read : callable or torch.Tensor
        ``read(rows)`` returns the activations of cells, such as ``functools.partial(store.read, "z")``; or all
        activations.
    n_rows : int, optional
        Number of rows; needed unless `read` is a tensor.
    labels : pandas.DataFrame
        One row for each cell, one categorical column for each label; may have no columns. A column without two values
        of at least four cells is passed over, with a warning in the log.
    heldout : numpy.ndarray
        Positions of the rows that no dictionary was trained on; fidelity looks at these only. Alignment, probes and
        stability use all cells, at most 20,000.
    seed : int
        Of all sampling.
    control : sequence of Dictionary
        The null of fidelity, one a seed: random directions with as many active latents a cell as the concepts, such as
        ``fit("random", x, n_components=k)``. Not the basis ``random``, whose axes may span the whole site.
    view : CellView, optional
        How rows become rows of cells, where the site has one for each gene of a cell; by default a row is a cell.
    counts : callable, optional
        ``counts(cells)`` returns raw counts of the cells at ascending positions, CSR: labels are then probed from their
        principal components too, which need no model.
    progress : Progress
        Told after each basis of each seed.

    Returns
    -------
    list of Metric
    """
    if CONCEPTS not in dictionaries or not all(dictionaries.values()):
        raise InputError(f"evaluation needs a basis {CONCEPTS!r}, and at least one dictionary of every basis")
    if isinstance(read, torch.Tensor):
        n_rows, read = len(read), read.__getitem__
    seen: CellView = _CellRows(read, n_rows or 0) if view is None else view
    if seen.n_cells != len(labels):
        raise InputError(
            f"there are activations of {seen.n_cells} cells and labels of {len(labels)}; give both for the same cells"
        )
    setting = _setting(read, seen, counts, labels, np.sort(np.asarray(heldout)), seed)
    n_seeds = max(len(group) for group in dictionaries.values())
    total, runs = n_seeds * len(dictionaries), []
    stable: dict[str, _Kept] = {basis: _Kept(seed) for basis, group in dictionaries.items() if len(group) > 1}
    for i in range(n_seeds):
        run: list[Metric] = []
        for j, (basis, group) in enumerate(dictionaries.items()):
            codes = setting.view.codes(group[i % len(group)], setting.rows)
            if basis in stable and i < len(group):
                stable[basis].add(group[i], codes)
            run += _of_basis(basis, codes, setting, derive(seed, "evaluation", i))
            progress("evaluation", i * len(dictionaries) + j + 1, total)
        runs.append(_fidelity(dictionaries[CONCEPTS], control, setting, i) + run)
    metrics = over_seeds(runs)
    for basis, kept in stable.items():
        metrics += stability_metrics(kept.latents, seed, basis=basis)
    return metrics


def encode_rows(dictionary: Dictionary, read: Read, rows: Array) -> sp.csc_matrix:
    """Return the codes of the cells at the ascending positions `rows`, CSC (n_rows, n_latents), read in batches."""
    with torch.no_grad():
        pieces = [dictionary.encode(x).to_csr() for x in _batches(read, rows)]
    return sp.vstack(pieces, format="csc")


class _Kept:
    """What stability needs of the dictionaries of one basis: their directions and, in the same cells, their codes.

    A basis whose axes answer in every cell would fill memory: of such, fewer cells are kept.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rows: Array | None = None
        self.latents: list[Latents] = []

    def add(self, dictionary: Dictionary, codes: sp.csc_matrix) -> None:
        if self.rows is None:
            limit = max(1, int(MAX_ENTRIES * codes.shape[0] / max(codes.nnz, 1)))
            self.rows = sample_rows(codes.shape[0], self.seed, limit)
        few = codes if len(self.rows) == codes.shape[0] else codes[self.rows]
        self.latents.append(Latents(dictionary.directions.detach().cpu().numpy(), few))


def _setting(
    read: Read,
    view: CellView,
    counts: Callable[[Array], sp.csr_matrix] | None,
    labels: pd.DataFrame,
    heldout: Array,
    seed: int,
) -> _Setting:
    rows = sample_rows(view.n_cells, seed)
    encoded = {}
    for name in labels.columns:
        try:
            encoded[str(name)] = encode_labels(labels[name].iloc[rows])
        except InputError as error:
            logger.warning("not evaluated: %s", error)
    site = view.site(rows).detach().cpu().numpy().astype(np.float64)
    parts = components(counts(rows), seed=seed) if counts is not None and encoded else None
    return _Setting(read, view, rows, heldout, encoded, site, parts)


def _batches(read: Read, rows: Array) -> Iterator[torch.Tensor]:
    for start in range(0, len(rows), _BATCH):
        yield read(rows[start : start + _BATCH])


def _fidelity(concepts: Sequence[Dictionary], control: Sequence[Dictionary], setting: _Setting, i: int) -> list[Metric]:
    if i >= len(concepts):
        return []  # the held-out cells do not depend on the seed, so there is nothing new to measure

    def of(dictionary: Dictionary) -> Fidelity:
        return fidelity(dictionary, _batches(setting.read, setting.heldout))

    return fidelity_metrics(of(concepts[i]), of(control[i % len(control)]) if control else None)


def _of_basis(basis: str, codes: sp.csc_matrix, setting: _Setting, seed: int) -> list[Metric]:
    metrics = []
    for name, labels in setting.labels.items():
        if basis == CONCEPTS:
            metrics.append(probe_metric(probe(codes, labels, seed, name=name), name=name, of="concepts"))
            metrics.append(probe_metric(probe(setting.site, labels, seed, name=name), name=name, of="site"))
            if setting.counts is not None:
                metrics.append(probe_metric(probe(setting.counts, labels, seed, name=name), name=name, of="counts"))
        metrics += alignment_metrics(codes, labels, seed, name=name, basis=basis)
    return metrics
