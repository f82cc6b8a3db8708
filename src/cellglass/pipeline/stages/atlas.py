"""The last stages: every metric with its spread and null, names for concepts, and the tables that the atlas shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.evaluation.metric import Metric, to_records
from cellglass.files import atomic_path
from cellglass.pipeline.runner import Run
from cellglass.pipeline.stages.activations import LAYOUT, open_activations
from cellglass.pipeline.stages.dictionaries import (
    BASES,
    CONTROL,
    held_out_rows,
    open_codes,
    open_concepts,
    open_dictionaries,
)
from cellglass.pipeline.stages.genes import ATTRIBUTION, RATES
from cellglass.pipeline.stages.model import open_coverage, open_explained, open_model
from cellglass.pipeline.stages.tokens import of_tokens, open_identity, open_means, open_token_genes
from cellglass.seeds import derive
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.dictionaries.base import Dictionary
    from cellglass.evaluation.tokens import TokenCells

CONSENSUS = "work/consensus.parquet"

# -- evaluation ------------------------------------------------------------------------------------------------------


def make_evaluation(run: Run) -> None:
    """Write evaluation.json: fidelity, probes, alignment, stability, annotation rates, completeness of path effects."""
    from cellglass.atlas.write import write_evaluation
    from cellglass.evaluation import evaluate
    from cellglass.evaluation.tokens import TokenCells

    store, site = open_activations(run)
    dictionaries = {basis: found for basis in BASES if (found := open_dictionaries(run, basis))}
    explained = open_explained(run)
    view = TokenCells(store, site) if of_tokens(store, site) else None
    with threads(1):
        metrics = evaluate(
            dictionaries,
            partial(store.read, site),
            store.n_rows(site),
            labels=_labels(run),
            heldout=held_out_rows(run, store, site)[1],
            seed=derive(run.config.seed, "evaluation"),
            control=open_dictionaries(run, CONTROL),
            view=view,
            counts=lambda rows: explained.counts[rows],
            progress=run.progress,
        )
        if view is not None:
            metrics += _identity(run, view, dictionaries)
    write_evaluation(run.folder, to_records([*metrics, *_annotation(run), *_completeness(run)]))


def _identity(run: Run, view: TokenCells, dictionaries: Mapping[str, Sequence[Dictionary]]) -> list[Metric]:
    """Return how far gene identity explains the concepts, and the neurons, on the kept tokens."""
    from cellglass.evaluation.run import encode_rows
    from cellglass.evaluation.tokens import GeneSums, identity_metric

    n_genes = open_explained(run).n_genes
    shares = {}
    for basis in ("concepts", "neurons"):
        if basis in dictionaries:
            dictionary = dictionaries[basis][0]
            sums = GeneSums(dictionary.n_latents, n_genes)
            for rows in np.array_split(np.arange(view.rows.n_rows), -(-view.rows.n_rows // 8192)):
                sums.add(encode_rows(dictionary, view.rows.read, rows).tocsr(), view.rows.genes(rows))
            shares[basis] = sums.identity()
    return identity_metric(shares["concepts"], shares.get("neurons"), view.rows.n_rows)


def _labels(run: Run) -> pd.DataFrame:
    obs = open_explained(run).obs
    return obs[list(dict.fromkeys(run.config.cells.labels))]


def _annotation(run: Run) -> list[Metric]:
    """Return ``annotation.SOURCE.TEST`` on the first ranking, ``annotation.SOURCE.TEST.RANKING`` on the others."""
    rates = json.loads(run.path(RATES).read_text())
    first = rates[0]["ranking"] if rates else ""
    metrics = []
    for rate in rates:
        suffix = "" if rate["ranking"] == first else f".{rate['ranking']}"
        name = f"annotation.{rate['source']}.{rate['test']}{suffix}"
        ranked = f"{rate['test']} on genes ranked by {rate['ranking']}"
        on = f"at least one of {rate['n_terms']} terms enriched by {ranked}"
        matched = f"genes exchanged for genes of like mean expression, mean of {rate['draws']} draws"
        plain = f"Share of concepts with {on}, at q < {rate['alpha']} (BH over concepts and terms); null: {matched}"
        strict = (
            f"Share of concepts with {on}, at null_q < {rate['alpha']}, which compares each term with what it gets "
        )
        strict += f"from matched random genes; null: {matched}"
        n = rate["n_concepts"]
        metrics.append(Metric(name, rate["value"], None, rate["null"], n, plain))
        metrics.append(Metric(f"{name}.calibrated", rate["calibrated"], None, rate["calibrated_null"], n, strict))
    return metrics


def _completeness(run: Run) -> list[Metric]:
    gaps = pd.read_parquet(run.path(ATTRIBUTION, "gaps.parquet"))
    real = gaps[(gaps["kind"] == "real") & (gaps["on"] == "activation")] if len(gaps) else gaps
    if not len(real):
        return []
    return [
        Metric(
            metric="attribution.path.gap",
            value=float(real["median"].median()),
            n=int(real["n"].sum()),
            definition=(
                "Completeness gap of path effects, |sum of effects - difference in activation| / |difference|: the "
                "median over a concept's pairs, of which the median over concepts"
            ),
        )
    ]


# -- consensus -------------------------------------------------------------------------------------------------------


def consensus_settings(run: Run) -> Any:
    """Return what the sample of cells depends on."""
    return {"seed": run.config.seed}


def make_consensus(run: Run) -> None:
    """Look for each concept in the dictionaries of the other seeds, in the cells that the evaluation looks at too."""
    from cellglass.evaluation.consensus import consensus
    from cellglass.evaluation.labels import sample_rows
    from cellglass.evaluation.run import encode_rows

    store, site = open_activations(run)
    rows = sample_rows(store.n_rows(site), derive(run.config.seed, "evaluation"))
    with threads(1):
        codes = [encode_rows(one, partial(store.read, site), rows) for one in open_dictionaries(run, "concepts")]
        table = consensus(codes).assign(others=len(codes) - 1)
    with atomic_path(run.path(CONSENSUS)) as temporary:
        table.to_parquet(temporary, index=False)


# -- atlas -----------------------------------------------------------------------------------------------------------


def atlas_settings(run: Run) -> Any:
    """Return what the tables show beside what earlier stages made."""
    return {"labels": list(run.config.cells.labels), "seed": run.config.seed}


def make_atlas(run: Run) -> None:
    """Name the concepts and write concepts.zarr and expression.zarr."""
    from cellglass.atlas.write import write_concepts, write_tokens
    from cellglass.atlas.write_counts import write_expression

    codes, cells = open_codes(run), open_explained(run)
    store, site = open_activations(run)
    var = concept_table(run, codes)
    model, dictionary = open_model(run), open_concepts(run)
    uns = {
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
        "cells": cells.source,
        **_consensus_facts(run),
    }
    layout = np.load(run.path(LAYOUT), allow_pickle=False)
    means = None
    if of_tokens(store, site):
        means = open_means(run)
        var["gene_identity"] = open_identity(run)[var["latent"]]
        write_tokens(run.folder, open_token_genes(run))
    write_concepts(run.folder, codes, cells.obs, layout, var, uns, means=means)
    write_expression(run.folder, cells)


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
    labels = label_of_concepts(codes, _labels(run), derive(run.config.seed, "evaluation", 0)).set_index("latent")
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


def _consensus_facts(run: Run) -> dict[str, Any]:
    """Return what ``uns`` says of the consensus: how many other seeds there were, and when a concept is one."""
    from cellglass.evaluation.consensus import THRESHOLD, needed

    others = int(pd.read_parquet(run.path(CONSENSUS), columns=["others"])["others"].max())
    return {"consensus": {"others": others, "needed": needed(others), "threshold": THRESHOLD}} if others else {}


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


def make_report(run: Run) -> None:
    """Write report.html."""
    from cellglass.atlas import open_atlas
    from cellglass.explorer.report import write_report

    write_report(open_atlas(run.folder, unfinished=True), run.path("report.html"))
