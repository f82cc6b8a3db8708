"""The stage that tests what the genes mean: a source of gene sets with one test on one ranking is one unit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellglass.attribution.registry import METHODS, gene_rankings
from cellglass.files import atomic_path
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.workspace import RATES, choose_gene_sets, open_explained, say_once

if TYPE_CHECKING:
    from cellglass.cells import Cells
    from cellglass.enrichment import GeneSets


class PathwaysStage(Stage):
    """Tests each source of gene sets, by each test, on each ranking of genes; writes pathways and null rates."""

    name = "pathways"
    does = "test what the genes mean"
    outputs = ("pathways.parquet", RATES)
    needs = ("cells", "model", "genes")
    revision = 2

    def settings(self) -> Any:
        """Return how gene sets are tested, with the sha256 of each source; one that is not there is found here."""
        from cellglass.enrichment import load_source

        config = self.run.config.enrichment
        named = [load_source(name) for name in config.source_names]
        digests = {s.name: hashlib.sha256(repr(sorted(s.sets.items())).encode()).hexdigest() for s in named}
        asked = {key: value for key, value in dataclasses.asdict(config).items() if key != "gene_sets"}
        return {**asked, "seed": self.run.config.seed, "sources": digests}

    @cached_property
    def sources(self) -> dict[str, GeneSets]:
        """The gene sets, by their number, in the symbols of the cells; none where none fits, which is said."""
        chosen = choose_gene_sets(self.run)
        for note in chosen.notes:
            say_once(self.run.folder, note)
        return {f"{i:02d}": sets for i, sets in enumerate(chosen.sources)}

    @cached_property
    def cells(self) -> Cells:
        """The cells that are explained."""
        return open_explained(self.run)

    @cached_property
    def _ranked(self) -> dict[str, pd.DataFrame]:
        return {}

    def ranked(self, method: str) -> pd.DataFrame:
        """Return the scores of a ranking: concepts x genes, with 0 where a gene was not measured; empty if none was."""
        if method not in self._ranked:
            self._ranked[method] = ranking(self.run.path("genes.parquet"), method, self.cells.genes.index)
        return self._ranked[method]

    def units(self) -> Sequence[str]:
        """Return ranking, source and test of each unit."""
        methods = [method for method, _ in gene_rankings() if len(self.ranked(method))]
        tests = self.run.config.enrichment.tests
        return [f"{method}.{source}.{test}" for method in methods for source in self.sources for test in tests]

    def do(self, name: str, folder: Path) -> None:
        """Test one source by one test on one ranking."""
        from cellglass.enrichment import enrich

        method, source, test = name.split(".", 2)
        config = self.run.config.enrichment
        found = enrich(
            on_scale(self.ranked(method), method, test),
            list(self.cells.symbols),
            self.cells.gene_means,
            [self.sources[source]],
            dataclasses.replace(config, tests=(test,)),
            seed=self.run.config.seed,
            ranking=method,
        )
        found.pathways.to_parquet(folder / "pathways.parquet", index=False)
        (folder / "rates.json").write_text(json.dumps(found.rates))

    def join(self, made: Mapping[str, Path]) -> None:
        """Write the rows and the rates of all units."""
        from cellglass.atlas.write import write_pathways

        write_pathways(self.run.folder, (pd.read_parquet(folder / "pathways.parquet") for folder in made.values()))
        rates = [rate for folder in made.values() for rate in json.loads((folder / "rates.json").read_text())]
        with atomic_path(self.run.path(RATES)) as temporary:
            temporary.write_text(json.dumps(rates, indent=1))


def ranking(genes_table: Path, method: str, genes: pd.Index[Any]) -> pd.DataFrame:
    """Return the scores of `method` in the table at `genes_table`, float32 (concepts, genes); 0 where not measured."""
    import pyarrow.parquet as pq

    conditions = [("method", "=", method), ("on", "=", dict(gene_rankings())[method])]
    table = pq.read_table(genes_table, filters=conditions, columns=["concept", "gene", "score"]).to_pandas()
    concepts, row = np.unique(table["concept"].to_numpy(), return_inverse=True)
    scores = np.zeros((len(concepts), len(genes)), dtype=np.float32)
    scores[row, genes.get_indexer(pd.Index(table["gene"]))] = np.nan_to_num(table["score"].to_numpy())
    return pd.DataFrame(scores, index=pd.Index(concepts, name="concept"), columns=genes)


def on_scale(scores: pd.DataFrame, method: str, test: str) -> pd.DataFrame:
    """Return what is tested: t statistics as they are, effects as the test wants them."""
    from cellglass.enrichment import TESTS
    from cellglass.enrichment.normal_scores import normal_scores

    if METHODS[method].scale == "raw" or TESTS[test].wants == "raw":
        return scores
    return pd.DataFrame(normal_scores(scores.to_numpy()), index=scores.index, columns=scores.columns)
