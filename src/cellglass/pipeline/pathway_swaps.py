"""Pathway swaps of an atlas: what swapping whole gene sets does to its concepts, beside GSEA of their genes.

The formulas are in `cellglass.attribution.set_swaps`. Beside each source of gene sets stands its control: the same sets
with every gene exchanged for another of like expression and difference, taken through the same test. Each concept and
source that is finished is kept below ``work/``, so that a call that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.errors import InputError
from cellglass.files import atomic_path
from cellglass.pipeline.config import make_config
from cellglass.pipeline.run import Run
from cellglass.pipeline.workspace import CELLS, choose_gene_sets, open_explained
from cellglass.progress import Progress, silent
from cellglass.seeds import derive
from cellglass.threads import threads
from cellglass.vocabulary import SIGNIFICANT

if TYPE_CHECKING:
    from cellglass.attribution.work import Work
    from cellglass.enrichment import GeneSets

Array = np.ndarray[Any, Any]

_RANKINGS = {"gsea_path": "path", "gsea_expression": "de"}


def swap_pathways(
    folder: Path | str,
    concepts: Sequence[int],
    *,
    gene_sets: Sequence[str] = (),
    pairs: int = 40,
    draws: int = 50,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Swap every gene set in some concepts of an atlas.

    Parameters
    ----------
    folder
        The atlas, with what a run keeps below ``work/``.
    concepts
        Latent numbers.
    gene_sets
        Named sources or GMT files; by default those that the atlas tested.
    pairs
        Pairs of cells of each concept, of as many prototypes as there are.
    draws
        Drawn sets for each set.
    progress
        Told of what is done.

    Returns
    -------
    pandas.DataFrame
        One row for each concept and set, by rising p within a concept: ``concept``, ``source``, ``term``, ``n_genes``
        (of the set, in the model), ``control`` (whether its genes were exchanged), the fields of `SetSwaps`, and the
        null_q of GSEA of the concept's genes by path (``gsea_path``) and by expression (``gsea_expression``), NaN where
        the atlas has none.

    Raises
    ------
    InputError
        If the atlas has no counts, no pairs of a concept, or no gene set fits.
    """
    path = Path(folder)
    run, sources = _opened(path, gene_sets)
    work = _work(run)
    symbols = list(open_explained(run).symbols)
    with threads(1):
        frames: list[pd.DataFrame] = []
        for number, concept in enumerate(concepts):
            frames += _of_concept(run, work, int(concept), sources, symbols, pairs, draws)
            progress("pathway swaps", number + 1, len(concepts))
    table = pd.concat(frames, ignore_index=True)
    return _beside_gsea(path, table).sort_values(["concept", "control", "p"], kind="stable", ignore_index=True)


def found_by(table: pd.DataFrame) -> dict[str, int]:
    """Return in how many concepts and sets a swap is significant, also GSEA of path effects, or of expression.

    ``concepts`` with any set at q < 0.05 of ``of`` them, ``control``, those with any set of exchanged genes; ``sets``;
    of these ``gsea_path`` and ``gsea_expression`` say so too; ``only``, neither does.
    """
    real, control = table[~table["control"]], table[table["control"]]
    sure = real[real["q"] < SIGNIFICANT]
    too = {name: sure[name] < SIGNIFICANT for name in _RANKINGS}
    return {
        "of": int(real["concept"].nunique()),
        "concepts": int(sure["concept"].nunique()),
        "control": int(control.loc[control["q"] < SIGNIFICANT, "concept"].nunique()),
        "sets": len(sure),
        **{name: int(hits.sum()) for name, hits in too.items()},
        "only": int((~too["gsea_path"] & ~too["gsea_expression"]).sum()),
    }


def _opened(path: Path, gene_sets: Sequence[str]) -> tuple[Run, list[GeneSets]]:
    from cellglass.atlas.manifest import read_manifest

    config = make_config(read_manifest(path)["config"], where=str(path / "manifest.json"))
    if gene_sets:
        config = replace(config, enrichment=replace(config.enrichment, gene_sets=tuple(gene_sets)))
    if not (path / CELLS).exists():
        raise InputError(f"{path / CELLS} is gone, so there are no counts to swap; make the atlas with --keep-counts")
    run = Run(path, config, {"cells": None, "model": None})
    sources = choose_gene_sets(run).sources
    if not sources:
        raise InputError(f"{path}: no gene set fits the genes of the atlas; name some with --gene-sets")
    return run, sources


def _work(run: Run) -> Work:
    from cellglass.pipeline.stages.genes import GenesStage

    return GenesStage(run).work


def _of_concept(
    run: Run, work: Work, concept: int, sources: Sequence[GeneSets], symbols: list[str], pairs: int, draws: int
) -> Iterator[pd.DataFrame]:
    """Yield the rows of each source and of its control, from disk where they are there."""
    cells = _pairs(run, concept, pairs)
    for source in sources:
        terms, members = _members(run, source, symbols)
        for control in (False, True):
            asked = [concept, source.name, control, pairs, draws, run.config.seed, cells.tolist(), terms]
            sha = hashlib.sha256(json.dumps(asked).encode() + members.indices.tobytes()).hexdigest()[:16]
            place = run.path("work", "pathway_swaps", f"{concept}-{sha}.parquet")
            if not place.exists():
                rows = _swapped(work, concept, cells, members, control=control, draws=draws, seed=run.config.seed)
                rows.insert(0, "term", list(terms))
                place.parent.mkdir(parents=True, exist_ok=True)
                with atomic_path(place) as temporary:
                    rows.to_parquet(temporary, index=False)
            yield pd.read_parquet(place).assign(concept=concept, source=source.name, control=control)


def _pairs(run: Run, concept: int, most: int) -> Array:
    """Return real pairs of a concept, int64 (n, 2): first one of each prototype, then a second, and so on."""
    table = pd.read_parquet(run.path("pairs.parquet"), filters=[("concept", "==", concept), ("kind", "==", "real")])
    if not len(table):
        raise InputError(f"{run.folder}: concept {concept} has no pairs of cells; it may be residual, or in all cells")
    turn = table.groupby("prototype").cumcount().to_numpy()
    chosen = table.iloc[np.argsort(turn, kind="stable")[:most]]
    return chosen[["prototype", "partner"]].to_numpy(dtype=np.int64)


def _members(run: Run, source: GeneSets, symbols: list[str]) -> tuple[tuple[str, ...], sp.csr_matrix]:
    """Return terms, and which genes of the model belong to each, (n_terms, n_genes)."""
    from cellglass.enrichment.members import members, one_gene_per_symbol

    config, cells = run.config.enrichment, open_explained(run)
    keep = one_gene_per_symbol(symbols, cells.gene_means)
    found = members(source, [symbols[i] for i in keep], min_size=config.min_size, max_size=config.max_size)
    wide = sp.csc_matrix((len(symbols), len(found.terms)), dtype=bool).tolil()
    for term in range(len(found.terms)):
        wide[keep[found.genes_of(term)], term] = True
    return found.terms, sp.csr_matrix(wide.T)


def _swapped(
    work: Work, concept: int, cells: Array, members: sp.csr_matrix, *, control: bool, draws: int, seed: int
) -> pd.DataFrame:
    from cellglass.attribution.set_swaps import exchanged, swap_sets

    sizes = np.diff(members.indptr)
    if control:
        members = exchanged(work, cells[:, 0], cells[:, 1], members, derive(seed, "control", concept))
    found = swap_sets(work, cells[:, 0], cells[:, 1], concept, members, draws=draws, seed=seed)
    return pd.DataFrame({"n_genes": sizes, **found._asdict()})


def _beside_gsea(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with null_q of GSEA of the concept's genes, by path and by expression."""
    place = path / "pathways.parquet"
    for name, ranking in _RANKINGS.items():
        table[name] = np.nan
        if place.exists():
            wanted = [("test", "==", "gsea"), ("ranking", "==", ranking)]
            rows = pd.read_parquet(place, filters=wanted, columns=["concept", "source", "term", "null_q"])
            known = rows.astype({"source": str, "term": str}).drop_duplicates(["concept", "source", "term"])
            key = pd.MultiIndex.from_frame(table[["concept", "source", "term"]])
            table[name] = known.set_index(["concept", "source", "term"])["null_q"].reindex(key).to_numpy()
    return table
