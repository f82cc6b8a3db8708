"""What the stages leave for each other below the atlas's folder, and how each is opened.

A stage imports names and openers from here and never another stage.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.atlas import schema
from cellglass.pipeline.run import Run
from cellglass.seeds import derive, generator

if TYPE_CHECKING:
    from cellglass.activations.store import Store
    from cellglass.cells import Cells
    from cellglass.dictionaries.base import Dictionary
    from cellglass.dictionaries.sparse import SparseConfig
    from cellglass.enrichment.choose import Chosen
    from cellglass.models.base import CellModel

log = logging.getLogger(__name__)

CELLS = schema.CELLS
EXPLAINED = "work/explained"
MODEL = schema.MODEL
COVERAGE = "work/coverage.json"
ACTIVATIONS = "work/activations"
LAYOUT = "work/layout.npy"
CODES = "work/codes.npz"
TOKENS = "work/tokens"
TOKEN_SUMS, TOKEN_MEANS, TOKEN_IDENTITY = "genes.parquet", "means.npz", "identity.npy"
ATTRIBUTION = "work/attribution"
RATES = "work/rates.json"
REPRODUCIBILITY = "work/reproducibility.parquet"
HALVES = "work/halves"
DICTIONARIES = "dictionaries"
REPORT = "report.html"

BASES = ("concepts", "neurons", "clusters", "pca", "ica", "random")
"""The dictionary that is explained, and what single latents are compared with."""
RIVALS = ("clusters", "pca", "ica", "random")
"""Bases that are fitted, so that it can be asked what of them comes back in other cells."""
FEWEST_DONORS = 4
"""Values of the batch column from which on the cells are halved by them."""
CONTROL = "random_k"
"""Random directions, as many as a cell has active concepts: the control of fidelity."""
SEEDED = ("concepts", "clusters", "ica", "random", CONTROL)
"""Bases that depend on a seed, and so are made once for each."""

Rows = np.ndarray[Any, np.dtype[np.int64]]


# -- cells and model -------------------------------------------------------------------------------------------------


def open_explained(run: Run) -> Cells:
    """Return the cells as the model reads them, memory-mapped."""
    from cellglass.cells import open_cells

    return open_cells(run.path(EXPLAINED))


def open_model(run: Run) -> CellModel:
    """Return the model of this run; a transformer on a GPU where there is one."""
    from cellglass import models

    brought = run.inputs.get("model")
    if brought is not None and not models.is_read_back(brought.kind):
        return brought.for_cells(open_explained(run))  # type: ignore[no-any-return]  # its code is with the caller alone
    model = models.load(run.path(MODEL))
    if isinstance(model, models.TransformerModel):
        import torch

        model.to("cuda" if torch.cuda.is_available() else "cpu")
    return model


def open_coverage(run: Run) -> dict[str, dict[str, float]]:
    """Return how the genes of the cells meet the model's, as `schema.COVERAGE_FIELDS`; nothing of an embedding."""
    from cellglass.atlas.schema import UNS_COVERAGE

    path = run.path(COVERAGE)
    return {UNS_COVERAGE: json.loads(path.read_text())} if path.exists() else {}


def open_labels(run: Run) -> pd.DataFrame:
    """Return the columns of obs that concepts are compared with, one row a cell."""
    return open_explained(run).obs[list(dict.fromkeys(run.config.cells.labels))]


def open_best_labels(run: Run) -> pd.DataFrame:
    """Return the label that each latent marks with its cells, those in which it is on, and its threshold.

    See `label_of_concepts`; one row for each latent.
    """
    from cellglass.evaluation import label_of_concepts

    seed, thresholds = derive(run.config.seed, "evaluation", 0), open_thresholds(run)
    table = label_of_concepts(open_codes(run), open_labels(run), seed, thresholds).set_index("latent")
    return table.assign(threshold=thresholds)


def open_thresholds(run: Run) -> np.ndarray[Any, Any]:
    """Return the activation from which on each latent is on, float64 (n_latents,); NaN of a silent one.

    A latent with a threshold of its own is active nowhere below it; of others it is that of
    `cellglass.attribution.work.much`: half of the 99th percentile of the activations above 0.
    """
    from cellglass.attribution.work import much

    codes, own = open_codes(run), open_concepts(run).own_thresholds
    if own is not None:
        return np.where(np.diff(codes.indptr) > 0, own.double().numpy(), np.nan)
    values = (codes.data[codes.indptr[i] : codes.indptr[i + 1]] for i in range(codes.shape[1]))
    return np.array([much(value) if len(value) else np.nan for value in values])


def open_reproducibility(run: Run) -> pd.DataFrame:
    """Return how often each latent comes back, whether it is residual, and the rule; one row for each latent."""
    return pd.read_parquet(run.path(REPRODUCIBILITY))


def open_findings(run: Run) -> Rows:
    """Return the latents that are concepts, ascending: those of the dictionary that is shown that are not residual."""
    return np.arange(open_concepts(run).n_findings)


def by_donor(run: Run) -> bool:
    """Say whether the cells are halved by the values of the batch column: where it has at least four."""
    batch = run.config.cells.batch
    return batch is not None and open_explained(run).obs[batch].nunique() >= FEWEST_DONORS


def dictionary_config(run: Run, width: int, n_rows: int) -> SparseConfig:
    """Return how the dictionary that was asked for is built for a site of `width` and `n_rows` rows to train on."""
    from cellglass.dictionaries import default_config
    from cellglass.dictionaries.kinds.consensus import ConsensusConfig

    asked = run.config.dictionary
    config = default_config(width, n_rows, kind=asked.kind, n_latents=asked.latents, k=asked.k)
    return replace(config, pairs=asked.pairs) if isinstance(config, ConsensusConfig) else config


def groups_of_rows(run: Run, store: Store, site: str) -> Rows | None:
    """Return for every row of the site what goes into the same half of the cells: its donor, or its cell.

    None where rows are cells, and each goes by itself.
    """
    tokens = of_tokens(store, site)
    cell = store.rows(site).cells() if tokens else np.arange(store.n_cells)
    if not by_donor(run):
        return cell if tokens else None
    donor = open_explained(run).obs[run.config.cells.batch].astype(str).to_numpy()
    return np.asarray(np.unique(donor, return_inverse=True)[1][cell])


def open_halves(run: Run, split: int, basis: str) -> list[Dictionary]:
    """Return the two dictionaries of a basis that were fitted to the halves of a split; none where one is missing."""
    from cellglass import dictionaries

    folders = [run.path(HALVES, f"split-{split}-{side}", basis) for side in ("a", "b")]
    return [dictionaries.load(folder) for folder in folders] if all(folder.is_dir() for folder in folders) else []


def choose_gene_sets(run: Run) -> Chosen:
    """Return the gene sets that are tested in the genes that are explained; InputError if asked ones do not fit."""
    from cellglass.cells import open_cells
    from cellglass.enrichment.choose import Chosen, choose

    cells, explained = open_cells(run.path(CELLS)), open_explained(run)
    if not explained.has_counts:
        return Chosen([], [], [])  # no genes are ranked
    return choose(run.config.enrichment, list(cells.symbols), list(explained.symbols))


@lru_cache(maxsize=64)
def say_once(folder: Path, line: str) -> None:  # noqa: ARG001 (once in each run)
    """Warn of what several stages find in a run."""
    log.warning("%s", line)


# -- activations -----------------------------------------------------------------------------------------------------


def open_activations(run: Run) -> tuple[Store, str]:
    """Return the store of activations and the name of the site that is explained."""
    from cellglass.activations import open_store

    store = open_store(run.path(ACTIVATIONS))
    return store, next(iter(store.sites))


def of_tokens(store: Store, site: str) -> bool:
    """Say whether the site that is explained has one row for each gene of a cell."""
    return store.sites[site].granularity == "token"


def cell_site(store: Store) -> str:
    """Return the site of the store with one row for each cell: the explained one, or the one beside it."""
    return next(name for name, kept in store.sites.items() if kept.granularity == "cell")


# -- dictionaries ----------------------------------------------------------------------------------------------------


def held_out(run: Run, n: int) -> tuple[Rows, Rows, Rows]:
    """Return the cells to train on, those that no dictionary sees, and those that training stops by; each ascending."""
    order = generator(run.config.seed, "split").permutation(n)
    tenth = max(1, n // 10)
    seen, test, valid = order[2 * tenth :], order[:tenth], order[tenth : 2 * tenth]
    return np.sort(seen), np.sort(test), np.sort(valid)


def held_out_rows(run: Run, store: Store, site: str) -> tuple[Rows, Rows, Rows]:
    """Return the rows of those cells: at a site with one row for each cell they are the cells."""
    parts = held_out(run, store.n_cells)
    if not of_tokens(store, site):
        return parts
    cell = store.rows(site).cells()
    seen, test, valid = (np.flatnonzero(np.isin(cell, part)) for part in parts)
    return seen, test, valid


def cell_of_rows(store: Store, site: str, rows: Rows) -> Rows:
    """Return the cell of each of the rows."""
    return store.rows(site).cells()[rows] if of_tokens(store, site) else rows


def dictionary_name(basis: str, seed: int) -> str:
    """Return the folder of the dictionary of a basis from seed number `seed`."""
    return basis if seed == 0 else f"{basis}-{seed}"


def open_dictionaries(run: Run, basis: str) -> list[Dictionary]:
    """Return the dictionaries of a basis, that of the first seed first; none where the site does not allow it."""
    from cellglass import dictionaries

    folders = (run.path(DICTIONARIES, dictionary_name(basis, i)) for i in range(run.config.dictionary.seeds))
    return [dictionaries.load(folder) for folder in folders if folder.is_dir()]


def open_concepts(run: Run) -> Dictionary:
    """Return the dictionary whose latents are the concepts."""
    return open_dictionaries(run, "concepts")[0]


# -- codes -----------------------------------------------------------------------------------------------------------


def open_codes(run: Run) -> sp.csc_matrix:
    """Return the activations of all concepts in all cells, CSC."""
    return load_sparse(run.path(CODES))


def open_means(run: Run) -> sp.csc_matrix:
    """Return the mean activation of each concept over the tokens of each cell, CSC."""
    return load_sparse(run.path(TOKENS, TOKEN_MEANS))


def open_identity(run: Run) -> np.ndarray[Any, Any]:
    """Return how much of each concept's variance over all tokens gene identity explains."""
    found: np.ndarray[Any, Any] = np.load(run.path(TOKENS, TOKEN_IDENTITY), allow_pickle=False)
    return found


def open_token_genes(run: Run) -> pd.DataFrame:
    """Return the genes on whose tokens each concept is active, with ids and symbols; see `GeneSums.table`."""
    table = pd.read_parquet(run.path(TOKENS, TOKEN_SUMS))
    cells = open_explained(run)
    position = table["gene"].to_numpy()
    return table.assign(
        gene=cells.genes.index.to_numpy(dtype=object)[position], symbol=np.asarray(cells.symbols)[position]
    )


# -- arrays on disk --------------------------------------------------------------------------------------------------


def save_sparse(path: Path, matrix: sp.csc_matrix) -> None:
    """Write a CSC matrix as plain arrays."""
    matrix.sort_indices()
    with path.open("wb") as file:
        np.savez(file, data=matrix.data, indices=matrix.indices, indptr=matrix.indptr, shape=np.array(matrix.shape))


def load_sparse(path: Path) -> sp.csc_matrix:
    """Read what `save_sparse` wrote."""
    with np.load(path, allow_pickle=False) as kept:
        return sp.csc_matrix((kept["data"], kept["indices"], kept["indptr"]), shape=tuple(kept["shape"]))


def save_array(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Write an array without pickling."""
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
