"""Runs every measure on every basis over one site and returns the records of ``evaluation.json``.

A basis (``concepts``, ``neurons``, ``pca``, ``ica``, ``random``) is a list of dictionaries, one a seed. Seed i also
draws its own halves and splits of the cells, so a basis without randomness of its own (neurons, PCA) has a spread as
well. Each statistic lives in its own module; nothing is fitted here but probes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
    """What is compared with labels: codes and activations with one row for each cell."""

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


class Evaluation:
    """What all measures of one site share: activations, the sampled cells with their labels, the held-out cells.

    Measures of different seeds, and of stability, depend on nothing of each other, so they may be taken in any order.

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
    findings : numpy.ndarray, optional
        The latents of ``concepts`` that are findings: alignment and stability look at these alone, fidelity and probes
        at all latents. By default all.
    counts : callable, optional
        ``counts(cells)`` returns raw counts of the cells at ascending positions, CSR: labels are then probed from their
        principal components too, which need no model.
    """

    def __init__(
        self,
        dictionaries: Mapping[str, Sequence[Dictionary]],
        read: Read | torch.Tensor,
        n_rows: int | None = None,
        *,
        labels: pd.DataFrame,
        heldout: Array,
        seed: int,
        control: Sequence[Dictionary] = (),
        view: CellView | None = None,
        findings: Array | None = None,
        counts: Callable[[Array], sp.csr_matrix] | None = None,
    ) -> None:
        if CONCEPTS not in dictionaries or not all(dictionaries.values()):
            raise InputError(f"evaluation needs a basis {CONCEPTS!r}, and at least one dictionary of every basis")
        if isinstance(read, torch.Tensor):
            n_rows, read = len(read), read.__getitem__
        self.dictionaries, self.control, self.read, self.seed = dictionaries, control, read, seed
        self.view: CellView = _CellRows(read, n_rows or 0) if view is None else view
        if self.view.n_cells != len(labels):
            raise InputError(
                f"there are activations of {self.view.n_cells} cells and labels of {len(labels)}; give both for the "
                "same cells"
            )
        self.heldout, self._table, self._counts = np.sort(np.asarray(heldout)), labels, counts
        self.findings = findings
        self.rows = sample_rows(self.view.n_cells, seed)

    @property
    def n_seeds(self) -> int:
        """The number of seeds: of the basis that has the most dictionaries."""
        return max(len(group) for group in self.dictionaries.values())

    @property
    def seeded(self) -> list[str]:
        """The bases of which there are several dictionaries, so that their stability can be measured."""
        return [basis for basis, group in self.dictionaries.items() if len(group) > 1]

    def of_seed(self, i: int, progress: Progress = silent) -> list[Metric]:
        """Return fidelity, probes and alignment of seed number `i`, which also draws its own halves of the cells."""
        metrics = self._fidelity(i)
        for j, (basis, group) in enumerate(self.dictionaries.items()):
            codes = self.view.codes(group[i % len(group)], self.rows)
            metrics += self._of_basis(basis, codes, derive(self.seed, "evaluation", i))
            progress("evaluation", i * len(self.dictionaries) + j + 1, self.n_seeds * len(self.dictionaries))
        return metrics

    def stability(self, basis: str) -> list[Metric]:
        """Return how far the dictionaries of a basis agree."""
        kept = _Kept(self.seed)
        for dictionary in self.dictionaries[basis]:
            kept.add(dictionary, self.view.codes(dictionary, self.rows))
        if basis == CONCEPTS and self.findings is not None:
            kept.latents = [Latents(one.directions[self.findings], one.codes[:, self.findings]) for one in kept.latents]
        return stability_metrics(kept.latents, self.seed, basis=basis)

    @cached_property
    def labels(self) -> dict[str, Labels]:
        """The labels of the sampled cells; a column that has nothing to tell apart is left out, with a warning."""
        encoded = {}
        for name in self._table.columns:
            try:
                encoded[str(name)] = encode_labels(self._table[name].iloc[self.rows])
            except InputError as error:
                logger.warning("not evaluated: %s", error)
        return encoded

    @cached_property
    def site(self) -> Array:
        """The activations of the sampled cells, float64 (n, width)."""
        return self.view.site(self.rows).detach().cpu().numpy().astype(np.float64)

    @cached_property
    def components(self) -> Array | None:
        """Principal components of the sampled cells' counts, where there are counts and labels."""
        return components(self._counts(self.rows), seed=self.seed) if self._counts is not None and self.labels else None

    def _fidelity(self, i: int) -> list[Metric]:
        concepts = self.dictionaries[CONCEPTS]
        if i >= len(concepts):
            return []  # the held-out cells do not depend on the seed, so there is nothing new to measure

        def of(dictionary: Dictionary) -> Fidelity:
            return fidelity(dictionary, _batches(self.read, self.heldout))

        return fidelity_metrics(of(concepts[i]), of(self.control[i % len(self.control)]) if self.control else None)

    def _of_basis(self, basis: str, codes: sp.csc_matrix, seed: int) -> list[Metric]:
        metrics = []
        for name, labels in self.labels.items():
            if basis == CONCEPTS:
                of = {"concepts": codes, "site": self.site, "counts": self.components}
                for what, values in of.items():
                    if values is not None:
                        metrics.append(probe_metric(probe(values, labels, seed, name=name), name=name, of=what))
            of_findings = basis == CONCEPTS and self.findings is not None
            shown = codes[:, self.findings] if of_findings else codes
            if shown.shape[1]:
                metrics += alignment_metrics(shown, labels, seed, name=name, basis=basis)
        return metrics


def evaluate(
    dictionaries: Mapping[str, Sequence[Dictionary]],
    read: Read | torch.Tensor,
    n_rows: int | None = None,
    *,
    progress: Progress = silent,
    **given: Any,
) -> list[Metric]:
    """Return every record: fidelity, probes, alignment and stability, with spreads over seeds.

    Parameters
    ----------
    dictionaries, read, n_rows, **given
        As for `Evaluation`.
    progress : Progress
        Told after each basis of each seed.

    Returns
    -------
    list of Metric
    """
    evaluation = Evaluation(dictionaries, read, n_rows, **given)
    metrics = over_seeds([evaluation.of_seed(i, progress) for i in range(evaluation.n_seeds)])
    for basis in evaluation.seeded:
        metrics += evaluation.stability(basis)
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


def _batches(read: Read, rows: Array) -> Iterator[torch.Tensor]:
    for start in range(0, len(rows), _BATCH):
        yield read(rows[start : start + _BATCH])
