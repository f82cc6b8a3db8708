"""The stages that say what concepts are made of: their genes, and the pathways of those genes.

A block of concepts, and a source of gene sets with one test on one ranking, is one unit of work and one folder on disk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellglass.attribution.registry import METHODS, gene_rankings
from cellglass.files import atomic_path
from cellglass.pipeline.runner import Run
from cellglass.pipeline.stages.activations import cell_site, open_activations
from cellglass.pipeline.stages.dictionaries import open_codes, open_concepts
from cellglass.pipeline.stages.model import open_explained, open_model
from cellglass.pipeline.stages.tokens import of_tokens, upper_half
from cellglass.seeds import derive
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.activations.store import Store
    from cellglass.attribution.work import Work
    from cellglass.cells import Cells
    from cellglass.dictionaries.base import Dictionary
    from cellglass.models.base import CellModel

ATTRIBUTION = "work/attribution"
RATES = "work/rates.json"
PAIRS = "pairs.parquet"
BLOCK = 16
FEW_GENES = 50
"""Swapped genes of a concept by default where each swap is a run of a deep model."""

# -- genes -----------------------------------------------------------------------------------------------------------


def make_genes(run: Run) -> None:
    """Attribute every live concept to genes; write genes.parquet, and pairs.parquet with prototypes and partners."""
    from cellglass.atlas.write import write_genes

    codes = open_codes(run)
    alive = np.flatnonzero(np.diff(codes.indptr)).tolist()
    blocks = {f"{start // BLOCK:04d}": alive[start : start + BLOCK] for start in range(0, len(alive), BLOCK)}
    work = _Attribution(run, codes)
    with threads(1):
        folders = run.units("genes", list(blocks), lambda name, path: work(blocks[name], path))
    cells = open_explained(run)
    symbols = dict(zip(cells.genes.index, cells.symbols, strict=True))
    write_genes(run.folder, (pd.read_parquet(folder / "genes.parquet") for folder in folders.values()), symbols)
    _join(folders.values(), run)


class _Attribution:
    """Attributes blocks of concepts; opens model, cells and dictionary when the first block is asked for."""

    def __init__(self, run: Run, codes: Any) -> None:
        self.run, self.all_codes = run, codes

    @cached_property
    def cells(self) -> Cells:
        """The cells that are explained."""
        return open_explained(self.run)

    @cached_property
    def opened(self) -> tuple[CellModel, str, Dictionary, Any]:
        """The model, the site and the dictionary that it is attributed through, and the space of partners."""
        store, site = open_activations(self.run)
        model, dictionary = open_model(self.run), open_concepts(self.run)
        if not of_tokens(store, site):
            return model, site, dictionary, store
        from cellglass.attribution.pooled import Pooled
        from cellglass.attribution.tokens import POOLED, TokenConcepts

        return TokenConcepts(model, site, dictionary), POOLED, Pooled(dictionary.n_latents), _CellSpace(store)

    @cached_property
    def codes(self) -> Any:
        """Which cells have which concepts, and how strongly."""
        store, site = open_activations(self.run)
        return upper_half(self.all_codes) if of_tokens(store, site) else self.all_codes

    @cached_property
    def work(self) -> Work:
        """What is attributed, and how; kept from block to block."""
        from cellglass.attribution.tokens import TokenConcepts
        from cellglass.attribution.work import Work

        model, site, dictionary, activations = self.opened
        config, seed = self.run.config.attribution, derive(self.run.config.seed, "attribution")
        config = replace(config, genes=_most_genes(model, site, config.genes))
        if isinstance(model, TokenConcepts):
            config = replace(config, on=("activation",))
        return Work(model, self.cells, site, dictionary, self.codes, activations, config, seed)

    def __call__(self, concepts: list[int], folder: Path) -> None:
        from cellglass.attribution.run import attribute_concepts

        found = attribute_concepts(self.work, concepts)
        folder.mkdir()
        for name in ("genes", "pairs", "concepts", "gaps"):
            getattr(found, name).to_parquet(folder / f"{name}.parquet", index=False)
        (folder / "notes.json").write_text(json.dumps(found.notes))


class _CellSpace:
    """The space in which partners of token concepts are looked for: the model's site with one row for each cell."""

    def __init__(self, store: Store) -> None:
        self.store, self.site = store, cell_site(store)

    def read(self, site: str, rows: Any) -> Any:  # noqa: ARG002 (it is always the same)
        """Return the activations of cells."""
        return self.store.read(self.site, rows)


def _most_genes(model: CellModel, site: str, asked: int | None) -> int | None:
    """Return for how many genes of a concept swaps are run: all where they are cheap, unless told otherwise."""
    return asked or (None if model.linear_front(site) is not None else FEW_GENES)


def _join(folders: Any, run: Run) -> None:
    """Write what the blocks found beside genes: pairs for the atlas; gaps, skipped concepts and notes."""
    folders = list(folders)

    def joined(name: str) -> pd.DataFrame:
        tables = [pd.read_parquet(folder / f"{name}.parquet") for folder in folders]
        return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)

    with atomic_path(run.path(PAIRS)) as temporary:
        joined("pairs").to_parquet(temporary, index=False)
    notes = sorted({note for folder in folders for note in json.loads((folder / "notes.json").read_text())})
    with atomic_path(run.path(ATTRIBUTION)) as temporary:
        temporary.mkdir()
        joined("gaps").to_parquet(temporary / "gaps.parquet", index=False)
        joined("concepts").to_parquet(temporary / "concepts.parquet", index=False)
        (temporary / "notes.json").write_text(json.dumps(notes, indent=1))


def rankings(run: Run) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each ranking's name and its scores: a table of concepts x genes with 0 where a gene was not measured."""
    import pyarrow.parquet as pq

    from cellglass.atlas.schema import GENES

    genes = open_explained(run).genes.index
    for method, on in gene_rankings():
        conditions = [("method", "=", method), ("on", "=", on)]
        table = pq.read_table(run.path(GENES), filters=conditions, columns=["concept", "gene", "score"]).to_pandas()
        if len(table):
            yield method, _dense(table, genes)


def _dense(table: pd.DataFrame, genes: pd.Index[Any]) -> pd.DataFrame:
    concepts, row = np.unique(table["concept"].to_numpy(), return_inverse=True)
    scores = np.zeros((len(concepts), len(genes)), dtype=np.float32)
    scores[row, genes.get_indexer(pd.Index(table["gene"]))] = np.nan_to_num(table["score"].to_numpy())
    return pd.DataFrame(scores, index=pd.Index(concepts, name="concept"), columns=genes)


# -- pathways --------------------------------------------------------------------------------------------------------


def pathway_settings(run: Run) -> Any:
    """Return how gene sets are tested, with the sha256 of each source; one that is not there is found here."""
    from cellglass.enrichment import load_source

    config = run.config.enrichment
    sources = [load_source(name) for name in config.gene_sets]
    digests = [hashlib.sha256(repr(sorted(source.sets.items())).encode()).hexdigest() for source in sources]
    asked = {key: getattr(config, key) for key in ("tests", "min_size", "max_size", "permutations")}
    return {**asked, "seed": run.config.seed, "sources": dict(zip([s.name for s in sources], digests, strict=True))}


def on_scale(scores: pd.DataFrame, ranking: str, test: str) -> pd.DataFrame:
    """Return what is tested: t statistics and gene lists as they are, effects as normal scores."""
    from cellglass.enrichment.normal_scores import normal_scores

    if METHODS[ranking].scale == "raw" or test == "ora":
        return scores
    return pd.DataFrame(normal_scores(scores.to_numpy()), index=scores.index, columns=scores.columns)


def make_pathways(run: Run) -> None:
    """Test each source of gene sets, by each test, on each ranking of genes; write pathways and null rates."""
    from cellglass.atlas.write import write_pathways
    from cellglass.enrichment import enrich, load_source

    config = run.config.enrichment
    sources = {f"{number:02d}": load_source(name) for number, name in enumerate(config.gene_sets)}
    ranked = dict(rankings(run))
    cells = open_explained(run)
    mean_expression = np.asarray(cells.counts.mean(axis=0)).ravel()
    names = [f"{ranking}.{source}.{test}" for ranking in ranked for source in sources for test in config.tests]

    def work(name: str, folder: Path) -> None:
        ranking, source, test = name.split(".")
        found = enrich(
            on_scale(ranked[ranking], ranking, test),
            list(cells.symbols),
            mean_expression,
            [sources[source]],
            tests=[test],
            n_permutations=config.permutations,
            min_size=config.min_size,
            max_size=config.max_size,
            seed=run.config.seed,
            ranking=ranking,
        )
        folder.mkdir()
        found.pathways.to_parquet(folder / "pathways.parquet", index=False)
        (folder / "rates.json").write_text(json.dumps(found.rates))

    folders = run.units("pathways", names, work).values()
    write_pathways(run.folder, (pd.read_parquet(folder / "pathways.parquet") for folder in folders))
    rates = [rate for folder in folders for rate in json.loads((folder / "rates.json").read_text())]
    with atomic_path(run.path(RATES)) as temporary:
        temporary.write_text(json.dumps(rates, indent=1))
