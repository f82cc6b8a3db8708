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
    LAYOUT,
    choose_gene_sets,
    of_tokens,
    open_activations,
    open_best_labels,
    open_codes,
    open_concepts,
    open_coverage,
    open_explained,
    open_identity,
    open_means,
    open_model,
    open_reproducibility,
    open_token_genes,
)


class AtlasStage(Stage):
    """Names the concepts; writes concepts.zarr and expression.zarr, and tokens.parquet where there are gene tokens."""

    name = "atlas"
    does = "name the concepts"
    outputs = ("concepts.zarr",)
    needs = ("cells", "model", "activations", "layout", "codes", "genes", "pathways", "reproducibility")
    optional = ("tokens.parquet", "expression.zarr")
    revision = 6

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
    """Return what ``uns`` of concepts.zarr says of site, model, dictionary, cells and reproducibility."""
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
            **({"control": run.config.model.control} if run.config.model.control else {}),
            **open_coverage(run),
        },
        "dictionary": {"kind": dictionary.kind, "latents": dictionary.n_latents},
        "cells": open_explained(run).source,
        "gene_sets": _gene_set_facts(run),
        **_reproducibility_facts(run),
    }


def _gene_set_facts(run: Run) -> dict[str, Any]:
    """Return which gene sets were tested, and which of them by mouse orthologs."""
    chosen = choose_gene_sets(run)
    return {"sources": [sets.name for sets in chosen.sources], "mapped": chosen.mapped}


def _reproducibility_facts(run: Run) -> dict[str, Any]:
    """Return by which rule concepts come back; nothing of one plain dictionary."""
    from cellglass.atlas.schema import UNS_REPRODUCIBILITY

    first = open_reproducibility(run).iloc[0]
    if not first["n"]:
        return {}
    rule = {"by": str(first["by"]), "n": int(first["n"])}
    return {UNS_REPRODUCIBILITY: {**rule, **{name: float(first[name]) for name in ("least", "correlation")}}}


def concept_table(run: Run, codes: sp.csc_matrix) -> pd.DataFrame:
    """Return one row for each latent: how often and how strongly it is on, its best label, term, genes, name.

    Beside these how often it comes back and whether it is residual; of one plain dictionary that is not known.
    """
    from cellglass.atlas.evidence import named_gene
    from cellglass.atlas.schema import READOUT_CONCEPT_COLUMNS, REPRODUCIBILITY_COLUMNS
    from cellglass.enrichment import machine_names
    from cellglass.evaluation.depth import depth_correlations

    n_cells, n_latents = codes.shape
    active, labels = np.diff(codes.indptr), open_best_labels(run)
    on = _on(codes, labels["threshold"].to_numpy())
    table = pd.DataFrame({"latent": np.arange(n_latents, dtype=np.int32), "density": on / n_cells})
    table["mean_activation"] = np.asarray(codes.sum(axis=0)).ravel() / np.maximum(active, 1)
    table["max_activation"] = np.asarray(codes.max(axis=0).todense()).ravel()
    for name, source in _LABEL.items():
        table[name] = labels[source].to_numpy()
    for name, values in {**_ends(run), **_best_term(run)}.items():
        table[name] = table["latent"].map(values)
    texts = ["top_gene", "absent_gene", "best_term", "best_term_test"]
    table[texts] = table[texts].fillna("").astype(str)
    table["name_by"] = "machine"
    found = open_reproducibility(run).set_index("latent")
    cells = open_explained(run)
    if cells.has_counts:
        table["depth_correlation"] = depth_correlations(codes, cells.totals)
    for name in (*REPRODUCIBILITY_COLUMNS, *READOUT_CONCEPT_COLUMNS) if found["n"].max() else ():
        if name in found:
            table[name] = found[name].loc[table["latent"]].to_numpy()
    gene = named_gene(table)
    names = machine_names(
        table["best_label"].tolist(),
        table["best_label_f1"].tolist(),
        table["best_term"].tolist(),
        table["best_term_q"].tolist(),
        gene["gene"].tolist(),
        table["latent"].tolist(),
        best_label_q=table["best_label_q"].tolist(),
        best_term_statistic=table["best_term_statistic"].tolist(),
        top_gene_score=gene["score"].tolist(),
        top_gene_q=gene["q"].tolist(),
        residual=table["residual"].tolist() if "residual" in table else None,
    )
    return table.set_index(pd.Index(names))


_LABEL = {
    "best_label": "value",
    "best_label_f1": "f1",
    "best_label_column": "label_column",
    "best_label_null": "null",
    "best_label_q": "q",
    "best_label_n": "n",
    "threshold": "threshold",
}
"""Columns of the table of concepts, and those of `open_best_labels`."""


def _on(codes: sp.csc_matrix, thresholds: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return in how many cells each latent is on."""
    latent = np.repeat(np.arange(codes.shape[1]), np.diff(codes.indptr))
    return np.bincount(latent[codes.data >= thresholds[latent]], minlength=codes.shape[1])


def _ends(run: Run) -> dict[str, dict[int, Any]]:
    """Return, by concept, the gene that drives it most by its presence, and by its absence, with score and q."""
    from cellglass.atlas.summary import extreme_genes

    found: dict[str, dict[int, Any]] = {}
    ends = extreme_genes(run.path("genes.parquet"), n=1)
    for place, name in enumerate(("top_gene", "absent_gene")):
        for part, suffix in (("symbol", ""), ("score", "_score"), ("q", "_q")):
            values = {concept: getattr(genes[place], part) for concept, genes in ends.items()}
            found[name + suffix] = {concept: value[0] for concept, value in values.items() if value}
    return found


def _best_term(run: Run) -> dict[str, dict[int, Any]]:
    """Return, by concept, the term that names it, with its test, statistic and q: what stands first on its card.

    Of those that are significant by the test and ranking that open first it is the one of the lowest q (null_q is too
    coarse to choose by), else the one whose larger q is lowest; see `surest`. Its q is the larger of its `null_q` and
    its `q`, unknown where no random genes were drawn. Depleted terms count where the test sees both ends of a ranking.
    """
    from cellglass.atlas.evidence import opening, surest
    from cellglass.atlas.schema import PATHWAYS
    from cellglass.enrichment.registry import both_ends

    columns = ["concept", "term", "test", "ranking", "q", "null_q", "statistic"]
    table = pd.read_parquet(run.path(PATHWAYS), columns=columns)
    if len(table):
        depletion = table["test"].map({name: both_ends(name) for name in table["test"].unique()}).astype(bool)
        findings = (table["statistic"] > 0) | ((table["statistic"] < 0) & depletion)
        test, ranking = opening(table)
        table = table[(table["test"] == test) & (table["ranking"] == ranking) & findings]
    worse = np.maximum(table["q"], table["null_q"])  # NaN where one is: nothing is claimed then
    by = surest(table["q"].to_numpy(), table["null_q"].to_numpy())
    table = table.assign(worse=worse, by=by, strength=-table["statistic"].abs())
    best = table.sort_values(["concept", "by", "test", "strength", "term"]).drop_duplicates("concept")
    of = {"best_term": "term", "best_term_q": "worse", "best_term_statistic": "statistic", "best_term_test": "test"}
    return {name: dict(zip(best["concept"], best[column], strict=True)) for name, column in of.items()}
