"""The stages that learn: dictionaries from several seeds with their baselines, and the codes of all cells.

Each dictionary is one unit. The cells are split once: four fifths to train on, a tenth to stop training by, a tenth
that no dictionary sees, on which fidelity is measured.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from cellglass.errors import InputError
from cellglass.files import atomic_path
from cellglass.pipeline.runner import Run
from cellglass.pipeline.stages.activations import open_activations
from cellglass.pipeline.stages.tokens import encode_tokens, load_sparse, of_tokens, save_sparse
from cellglass.seeds import derive, generator
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.activations.store import Store
    from cellglass.dictionaries.base import Dictionary

log = logging.getLogger(__name__)

DICTIONARIES = "dictionaries"
CODES = "work/codes.npz"
BASES = ("concepts", "neurons", "pca", "ica", "random")
"""The dictionary that is explained, and what single latents are held against."""
CONTROL = "random_k"
"""Random directions, as many as a cell has active concepts: the control of fidelity."""
SEEDED = ("concepts", "ica", "random", CONTROL)
"""Bases that depend on a seed, and so are made once for each."""

Rows = np.ndarray[Any, np.dtype[np.int64]]


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


def make_dictionaries(run: Run) -> None:
    """Train the dictionary from each seed, and fit the baselines."""
    config = run.config.dictionary
    names = [_name(basis, i) for basis in (*BASES, CONTROL) for i in range(config.seeds if basis in SEEDED else 1)]
    with threads(1):
        folders = run.units("dictionaries", names, lambda name, path: _make(run, name, path))
    with atomic_path(run.path(DICTIONARIES)) as temporary:
        temporary.mkdir()
        for name, folder in folders.items():
            if any(folder.iterdir()):  # a baseline that this site does not allow leaves an empty folder
                folder.rename(temporary / name)


def _name(basis: str, seed: int) -> str:
    return basis if seed == 0 else f"{basis}-{seed}"


def _make(run: Run, name: str, folder: Path) -> None:
    """Write one dictionary; a baseline that cannot be had at this site leaves an empty folder."""
    basis, _, number = name.partition("-")
    seed = derive(run.config.seed, "dictionary", int(number or 0))
    if basis == "concepts":
        _train(run, seed, run.unit_folder("dictionaries") / f"{name}.checkpoint").save(folder)
        return
    try:
        found = _baseline(run, basis, seed)
    except InputError as error:
        log.warning("no baseline %s: %s", basis, error)
        folder.mkdir()
    else:
        found.save(folder)


def _train(run: Run, seed: int, checkpoint: Path) -> Dictionary:
    from cellglass import dictionaries

    rows, seen, valid, config = _setting(run)
    return dictionaries.fit(
        run.config.dictionary.kind,
        rows,
        config=config,
        rows_train=seen,
        rows_valid=valid,
        seed=seed,
        checkpoint=checkpoint,
        progress=run.progress,
    )


def _baseline(run: Run, basis: str, seed: int) -> Dictionary:
    from cellglass import dictionaries

    rows, seen, valid, config = _setting(run)
    n_components = {"random": max(1, config.n_latents // 2), CONTROL: config.k}.get(basis)
    kind = "random" if basis == CONTROL else basis
    return dictionaries.fit(kind, rows, n_components=n_components, rows_train=seen, rows_valid=valid, seed=seed)


def _setting(run: Run) -> Any:
    """Return the site's rows, the cells to train on and to stop by, and how the dictionary is built."""
    from cellglass.dictionaries import default_config

    store, site = open_activations(run)
    rows = store.rows(site)
    seen, _test, valid = held_out_rows(run, store, site)
    asked = run.config.dictionary
    config = default_config(rows.width, len(seen), kind=asked.kind, n_latents=asked.latents, k=asked.k)
    return rows, seen, valid, config


def open_dictionaries(run: Run, basis: str) -> list[Dictionary]:
    """Return the dictionaries of a basis, that of the first seed first; none where the site does not allow it."""
    from cellglass import dictionaries

    folders = (run.path(DICTIONARIES, _name(basis, i)) for i in range(run.config.dictionary.seeds))
    return [dictionaries.load(folder) for folder in folders if folder.is_dir()]


def open_concepts(run: Run) -> Dictionary:
    """Return the dictionary whose latents are the concepts."""
    return open_dictionaries(run, "concepts")[0]


def make_codes(run: Run) -> None:
    """Encode all cells, batch by batch; what is kept is a few numbers a cell."""
    store, site = open_activations(run)
    dictionary = open_concepts(run)
    codes = encode_tokens(run, dictionary) if of_tokens(store, site) else _encode_cells(store, site, dictionary)
    with atomic_path(run.path(CODES)) as temporary:
        save_sparse(temporary, codes)


def _encode_cells(store: Store, site: str, dictionary: Dictionary) -> sp.csc_matrix:
    import torch

    n, step = store.n_rows(site), 8192
    with threads(1), torch.no_grad():
        pieces = [
            dictionary.encode(store.read(site, np.arange(start, min(start + step, n)))).to_csr()
            for start in range(0, n, step)
        ]
    return sp.vstack(pieces, format="csc", dtype=np.float32)


def open_codes(run: Run) -> sp.csc_matrix:
    """Return the activations of all concepts in all cells, CSC."""
    return load_sparse(run.path(CODES))
