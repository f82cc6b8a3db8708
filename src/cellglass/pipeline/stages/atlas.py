"""The stage that names the concepts and writes the tables that an atlas shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.pipeline.run import Run
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.workspace import (
    CONSENSUS,
    LAYOUT,
    choose_gene_sets,
    of_tokens,
    open_activations,
    open_codes,
    open_concepts,
    open_coverage,
    open_explained,
    open_identity,
    open_labels,
    open_means,
    open_model,
    open_token_genes,
)
from cellglass.seeds import derive


class AtlasStage(Stage):
    """Names the concepts; writes concepts.zarr and expression.zarr, and tokens.parquet where there are gene tokens."""

    name = "atlas"
    does = "name the concepts"
    outputs = ("concepts.zarr",)
    needs = ("cells", "model", "activations", "layout", "codes", "genes", "pathways", "consensus")
    optional = ("tokens.parquet", "expression.zarr")
    revision = 4

    def settings(self) -> Any:
        """Return what the tables show beside what earlier stages made."""
        cells = self.run.config.cells
        return {"labels": list(cells.labels), "counts": cells.keep_counts, "seed": self.run.config.seed}

    def units(self) -> Sequence[str]:
        """Return the parts: concepts, and counts where they are kept."""
        kept = self.run.config.cells.keep_counts and open_explained(self.run).has_counts
        return ["concepts", *(["expression"] if kept else [])]

    def do(self, name: str, folder: Path) -> None:
        """Write one of them."""
        from cellglass.atlas.write_counts import write_expression

        if name == "expression":
            write_expression(folder, open_explained(self.run))
        else:
            self._concepts(folder)

    def _concepts(self, folder: Path) -> None:
        from cellglass.atlas.write import write_concepts, write_tokens

        run, codes = self.run, open_codes(self.run)
        var, means = concept_table(run, codes), None
        if of_tokens(*open_activations(run)):
            means = open_means(run)
            var["gene_identity"] = open_identity(run)[var["latent"]]
            write_tokens(folder, open_token_genes(run))
        layout = np.load(run.path(LAYOUT), allow_pickle=False)
        write_concepts(folder, codes, open_explained(run).obs, layout, var, _facts(run), means=means)


def _facts(run: Run) -> dict[str, Any]:
    """Return what ``uns`` of concepts.zarr says of site, model, dictionary, cells and consensus."""
    store, site = open_activations(run)
    model, dictionary = open_model(run), open_concepts(run)
    return {
        "site": {
            "name": site,
            "width": store.sites[site].width,
            **({"granularity": "token"} if of_tokens(store, site) else {}),
        },
        "model": {
            "kind": model.kind,
            "genes": len(model.genes),
            "fingerprint": model.fingerprint(),
            **open_coverage(run),
        },
        "dictionary": {"kind": dictionary.kind, "latents": dictionary.n_latents},
        "cells": open_explained(run).source,
        "gene_sets": _gene_set_facts(run),
        **_consensus_facts(run),
    }


def _gene_set_facts(run: Run) -> dict[str, Any]:
    """Return which gene sets were tested, and which of them by mouse orthologs."""
    chosen = choose_gene_sets(run)
    return {"sources": [sets.name for sets in chosen.sources], "mapped": chosen.mapped}


def _consensus_facts(run: Run) -> dict[str, Any]:
    """Return how many other seeds there were, and when a concept is one; nothing of one seed."""
    from cellglass.evaluation.consensus import THRESHOLD, needed

    others = int(pd.read_parquet(run.path(CONSENSUS), columns=["others"])["others"].max())
    return {"consensus": {"others": others, "needed": needed(others), "threshold": THRESHOLD}} if others else {}


def concept_table(run: Run, codes: sp.csc_matrix) -> pd.DataFrame:
    """Return one row for each concept: how often and how strongly it is active, its best label, term, gene, name.

    Where several seeds ran, also in how many of the others it is found; of one seed alone that is not known.
    """
    from cellglass.atlas.schema import CONSENSUS_COLUMNS
    from cellglass.enrichment import machine_names
    from cellglass.evaluation import label_of_concepts

    n_cells, n_latents = codes.shape
    active = np.diff(codes.indptr)
    table = pd.DataFrame({"latent": np.arange(n_latents, dtype=np.int32), "density": active / n_cells})
    table["mean_activation"] = np.asarray(codes.sum(axis=0)).ravel() / np.maximum(active, 1)
    table["max_activation"] = np.asarray(codes.max(axis=0).todense()).ravel()
    labels = label_of_concepts(codes, open_labels(run), derive(run.config.seed, "evaluation", 0)).set_index("latent")
    table["best_label"] = table["latent"].map(labels["value"]).fillna("").astype(str)
    table["best_label_f1"] = table["latent"].map(labels["f1"]).astype("float32")
    table["top_gene"] = table["latent"].map(_top_gene(run)).fillna("")
    terms = _best_term(run)
    table["best_term"] = table["latent"].map(terms["term"]).fillna("")
    table["best_term_q"] = table["latent"].map(terms["q"]).astype("float32")
    table["name_by"] = "machine"
    found = pd.read_parquet(run.path(CONSENSUS)).set_index("latent")
    for name in CONSENSUS_COLUMNS if found["others"].max() else ():
        table[name] = found[name].loc[table["latent"]].to_numpy()
    columns = ("best_label", "best_label_f1", "best_term", "best_term_q", "top_gene", "latent")
    return table.set_index(pd.Index(machine_names(*(table[name].tolist() for name in columns))))


def _top_gene(run: Run) -> dict[int, str]:
    from cellglass.atlas.summary import best_genes

    return {concept: genes[0] for concept, genes in best_genes(run.path("genes.parquet"), n=1).items()}


def _best_term(run: Run) -> pd.DataFrame:
    """Return, by concept, the term that names it: enriched, lowest q on the first ranking, then the strongest."""
    from cellglass.atlas.schema import PATHWAYS

    table = pd.read_parquet(
        run.path(PATHWAYS), columns=["concept", "term", "test", "ranking", "q", "null_q", "statistic"]
    )
    if not len(table):
        return pd.DataFrame({"term": [], "q": []})
    table = table[(table["ranking"] == table["ranking"].iloc[0]) & (table["statistic"] > 0)]
    worse = table[["q", "null_q"]].max(axis=1)  # a name should pass both
    table = table.assign(q=worse, strength=-table["statistic"]).sort_values(
        ["concept", "q", "test", "strength", "term"]
    )
    best: pd.DataFrame = table.drop_duplicates("concept").set_index("concept")[["term", "q"]]
    return best
