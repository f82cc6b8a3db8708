"""A synthetic atlas of realistic shape, made with the writers: clusters on a layout, concepts that follow labels,
residual latents, gene tables with standard errors, gene sets with nulls, metrics with spreads. Nothing is a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.atlas import manifest as manifests
from cellglass.atlas import write
from cellglass.atlas.manifest import artefact_digest
from cellglass.atlas.write_counts import write_expression
from cellglass.cells.cells import Cells

TYPES = {
    "CD14+ monocytes": ["S100A9", "LYZ", "S100A8", "FCN1", "CST3", "TYROBP", "AIF1", "LST1"],
    "CD19+ B cells": ["CD79A", "MS4A1", "CD79B", "CD74", "HLA-DRA", "BANK1", "TCL1A", "CD37"],
    "CD56+ NK cells": ["GNLY", "NKG7", "PRF1", "GZMB", "KLRD1", "FGFBP2", "KLRF1", "CTSW"],
    "CD34+ progenitors": ["SPINK2", "CD34", "STMN1", "PRSS57", "SOX4", "EGFL7", "CYTL1", "AVP"],
    "CD8+ cytotoxic T": ["CD8A", "CD8B", "CCL5", "GZMH", "CD3D", "LAG3", "GZMK", "CST7"],
    "CD4+ memory T": ["IL7R", "LTB", "CD3E", "AQP3", "TNFRSF4", "MAL", "LDHB", "CD2"],
    "CD4+ naive T": ["CCR7", "SELL", "TCF7", "LEF1", "NOSIP", "CD27", "PIK3IP1", "FHIT"],
    "CD4+ regulatory T": ["FOXP3", "IL2RA", "CTLA4", "TIGIT", "RTKN2", "IKZF2", "LGALS1", "S100A4"],
}
METHODS = [("path", "preactivation"), ("swap", "activation"), ("knockout", "activation"), ("de", "expression")]
BASES = {"concepts": 0.82, "neurons": 0.66, "clusters": 0.74, "pca": 0.6, "ica": 0.63, "random": 0.42}
RETURNS = {"concepts": (0.74, 14), "clusters": (0.62, 5), "pca": (0.4, 16), "ica": (0.35, 14), "random": (0.08, 4)}
"""Of each basis the share that comes back, and how many: concepts have the largest share, PCA the largest number."""
HALVES = {"by": "halves", "n": 16, "least": 0.8, "correlation": 0.7}
SEEDS = {"by": "seeds", "n": 4, "least": 0.75, "correlation": 0.7}
TERMS = ["Phagocytosis", "B-cell receptor signalling", "Cytotoxic granules", "Stem-cell programme", "T-cell activation"]


def make_cells(n: int, rng: np.random.Generator) -> tuple[Cells, np.ndarray, np.ndarray]:
    kinds = rng.choice(len(TYPES), size=n, p=np.array([5, 3, 3, 1.5, 3, 4, 4, 2]) / 25.5)
    centres = np.array([[-8, 4], [7, 7], [4, -7], [-5, -7], [2, -2], [-1, 2.5], [1.5, 5], [-2, -1]])
    layout = centres[kinds] + rng.normal(size=(n, 2)) * np.array([[1.2, 0.8]]) + rng.normal(size=(n, 1)) * 0.5
    genes = [gene for markers in TYPES.values() for gene in markers] + [f"GENE{i}" for i in range(59)] + ["IGJ"]
    rates = np.full((n, len(genes)), 0.15)
    for kind in range(len(TYPES)):
        rates[np.ix_(kinds == kind, np.arange(8 * kind, 8 * kind + 8))] = 2.5
    counts = sp.csr_matrix(rng.poisson(rates).astype(np.float32))
    obs = pd.DataFrame(
        {
            "cell type": pd.Categorical.from_codes(kinds, list(TYPES)),
            "phase": pd.Categorical(rng.choice(["G1", "S", "G2M"], size=n, p=[0.7, 0.18, 0.12])),
            "n_counts": counts.sum(axis=1).A1,
        },
        index=[f"cell-{i}" for i in range(n)],
    )
    table = pd.DataFrame({"symbol": genes}, index=[f"ENSG{i:011d}" for i in range(len(genes))])
    return Cells(counts, table, obs, source="synthetic"), kinds, layout


def make_codes(kinds: np.ndarray, layout: np.ndarray, n_concepts: int, rng: np.random.Generator) -> sp.csc_matrix:
    columns = []
    for concept in range(n_concepts):
        kind = concept % len(TYPES)
        drive = np.where(kinds == kind, 2.2, -1.0) + rng.normal(size=len(kinds)) * 0.8
        if concept >= len(TYPES):  # parts of types, and gradients across them
            direction = rng.normal(size=2)
            drive += (layout @ direction) / 6 - rng.uniform(0.4, 2.2)
        drive[drive < 0.3] = 0.0
        if concept == n_concepts - 1:
            drive[:] = 0.0
        columns.append(sp.csc_matrix(drive[:, None].astype(np.float32)))
    return sp.hstack(columns, format="csc")


def make_genes(cells: Cells, concepts: Sequence[int], rng: np.random.Generator) -> list[pd.DataFrame]:
    tables = []
    for method, on in METHODS:
        parts = []
        for concept in concepts:
            effect = np.abs(rng.normal(size=cells.n_genes)) * 0.004
            kind = concept % len(TYPES)
            noise = rng.uniform(0.6, 1.3, size=8)
            effect[8 * kind : 8 * kind + 8] += np.linspace(0.12, 0.02, 8) * noise
            lost = 8 * ((kind + 1) % len(TYPES)) + np.arange(3)  # genes whose absence drives it
            effect[lost] += [0.06, 0.05, 0.04]
            sign = np.ones(cells.n_genes)
            sign[lost] = -1
            if method == "knockout":
                effect[8 * kind] *= 0.1
            se = effect * 0.12 + 0.002
            q = np.where(effect > 0.02, 1e-4, rng.uniform(0.2, 1, cells.n_genes))
            parts.append(
                pd.DataFrame(
                    {
                        "method": method,
                        "on": on,
                        "concept": concept,
                        "gene": cells.genes.index.astype(str),
                        "effect": effect * (20 if method == "de" else 1),
                        "se": se * (20 if method == "de" else 1),
                        "score": sign * (effect / se if method == "de" else effect),
                        "q": np.nan if method == "knockout" else q,
                        "n": 100,
                    }
                )
            )
        tables.append(pd.concat(parts, ignore_index=True))
    return tables


def make_pathways(concepts: Sequence[int], rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for concept in concepts:
        for test, ranking in [("gsea", "path"), ("ulm", "path"), ("ora", "de")]:
            for number, term in enumerate(TERMS):
                hit = number == concept % len(TERMS)
                lost = test != "ora" and number == (concept + 1) % len(TERMS)
                q = 10.0 ** -rng.uniform(3, 9) if hit or lost else rng.uniform(0.05, 1)
                rows.append(
                    {
                        "concept": concept,
                        "source": "hallmark" if number % 2 else "cellglass",
                        "term": term,
                        "test": test,
                        "ranking": ranking,
                        "statistic": -rng.uniform(1, 3) if lost else rng.uniform(1, 3),
                        "p": q / 5,
                        "q": q,
                        "null_q": rng.uniform(0.2, 1) if hit and concept % 2 == 0 else min(1.0, 1.5 * q),
                        "n_genes": int(rng.integers(10, 80)),
                        "leading_edge": ";".join(rng.permutation(list(TYPES.values())[concept % len(TYPES)])[:6]),
                    }
                )
    return pd.DataFrame(rows)


def make_records(rng: np.random.Generator, *, plain: bool) -> list[dict[str, object]]:
    """Return metrics; with `plain`, of dictionaries of several seeds, whose stability is measured."""

    def record(
        metric: str, value: float, spread: float | None, null: float | None, definition: str, n: int = 387
    ) -> dict[str, object]:
        return {"metric": metric, "value": value, "spread": spread, "null": null, "n": n, "definition": definition}

    records = [
        record("fidelity.variance_explained", 0.939, 0.004, 0.21, "1 - SSE / SST on held-out cells"),
        record("fidelity.l0", 15.6, 0.1, None, "active concepts a cell, held-out cells"),
        record("fidelity.dead_share", 0.02, 0.01, None, "share of concepts active in no held-out cell"),
        record("probe.cell type.concepts", 0.865, 0.011, 0.2, "accuracy of a logistic probe"),
        record("probe.cell type.site", 0.872, 0.012, 0.2, "accuracy of a logistic probe"),
        record("probe.phase.concepts", 0.71, 0.01, 0.7, "accuracy of a logistic probe"),
        record("probe.phase.site", 0.72, 0.01, 0.7, "accuracy of a logistic probe"),
        record("annotation.hallmark.gsea", 0.62, 0.02, 0.04, "share of concepts with a term at q < 0.05"),
        record("annotation.hallmark.ora", 0.48, 0.02, 0.02, "share of concepts with a term at q < 0.05"),
        record("annotation.cellglass.gsea", 0.81, 0.02, 0.05, "share of concepts with a term at q < 0.05"),
        record("stability.random", 0.38, 0.02, None, "mean best cosine between two seeds"),
    ]
    if plain:
        records += [
            record("stability.concepts", 0.74, 0.02, None, "mean best cosine between two seeds"),
            record("stability.concepts.above_0.7", 0.34, 0.02, 0.04, "share of pairs"),
            record("stability.concepts.coactivation", 0.61, 0.02, 0.04, "mean correlation between two seeds"),
            record("stability.concepts.coactivation.max", 0.65, 0.02, 0.05, "mean best correlation between two seeds"),
        ]
    for basis, (share, number) in RETURNS.items():
        null = 0.03 if basis in ("concepts", "pca") else None
        n, of = round(number / share), f"latents of {basis} that come back in the other half"
        records.append(record(f"reproducibility.{basis}", share, None, null, f"share of the {of}", n))
        records.append(record(f"reproducibility.{basis}.count", number, None, None, f"number of the {of}", n))
    for number, kind in enumerate(TYPES):
        for basis, level in BASES.items():
            value = float(np.clip(level - 0.06 * max(0, number - 3) + rng.normal() * 0.04, 0.02, 0.99))
            records.append(record(f"alignment.cell type.{kind}.{basis}", value, 0.015, None, "held-out F1"))
    for phase in ("G1", "S", "G2M"):
        for basis in BASES:
            records.append(
                record(f"alignment.phase.{phase}.{basis}", float(rng.uniform(0.2, 0.5)), 0.02, None, "held-out F1")
            )
    return records


def evidence(var: pd.DataFrame, genes: pd.DataFrame, pathways: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what stands beside the gene set and the gene of each name: statistic, score and q."""
    genes = genes.sort_values("score").reset_index(drop=True)
    absent = genes.drop_duplicates("concept").set_index("concept").reindex(var["latent"])
    gsea = pathways[pathways["test"] == "gsea"].set_index(["concept", "term"])
    by_gene = genes.set_index(["concept", "symbol"])
    terms = gsea.reindex(pd.MultiIndex.from_frame(var[["latent", "best_term"]]))
    tops = by_gene.reindex(pd.MultiIndex.from_frame(var[["latent", "top_gene"]]))
    return {
        "best_term_statistic": terms["statistic"].to_numpy(),
        "best_term_test": np.where(terms["statistic"].isna(), "", "gsea"),
        "absent_gene": absent["symbol"].fillna("").to_numpy(),
        "absent_gene_score": absent["score"].to_numpy(),
        "absent_gene_q": absent["q"].to_numpy(),
        "top_gene_score": tops["score"].to_numpy(),
        "top_gene_q": tops["q"].to_numpy(),
    }


def reproducibility(var: pd.DataFrame, by: str, residual: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Return the columns of how often latents come back, by a rule; those of a consensus dictionary by halves alone."""
    silent, n = var["density"].to_numpy() == 0, len(var)
    if by == "seeds":
        found = np.where(silent, 0, rng.integers(0, 5, n))
        found[[0, 1]] = [0, 4]
        return pd.DataFrame({"reproducibility": found / SEEDS["n"], "residual": False}, index=var.index)
    share = np.where(residual, rng.choice([0, 8, 12], n), rng.choice([13, 14, 15, 16], n)) / HALVES["n"]
    share[[0, 1]] = [13 / 16, 1]
    correlation = rng.uniform(0.45, 0.98, n)
    correlation[[2, 3]] = [0.95, 0.5]
    columns = {"reproducibility": np.where(silent, 0, share), "residual": residual, "cluster_correlation": correlation}
    return pd.DataFrame({**columns, "agreement": rng.uniform(0.8, 1, n)}, index=var.index)


def label_columns(var: pd.DataFrame, codes: sp.csc_matrix, kinds: np.ndarray) -> pd.DataFrame:
    """Return what an atlas states of each best label, and the activation from which on a latent is on."""
    active = np.diff(codes.indptr) > 0
    least = [codes.data[a:b].min() if b > a else np.nan for a, b in zip(codes.indptr, codes.indptr[1:], strict=False)]
    sizes = np.bincount(kinds, minlength=len(TYPES)) // 2
    return pd.DataFrame(
        {
            "best_label_column": np.where(active, "cell type", ""),
            "best_label_null": np.where(active, 0.1 + 0.001 * np.arange(len(var)), np.nan),
            "best_label_q": np.where(active, 0.001, np.nan),
            "best_label_n": np.where(active, sizes[np.arange(len(var)) % len(TYPES)], 0),
            "threshold": least,
        },
        index=var.index,
    )


def make_atlas(
    folder: Path,
    *,
    n_cells: int = 700,
    n_concepts: int = 24,
    seed: int = 0,
    hostile: bool = False,
    by: Literal["halves", "seeds"] = "halves",
) -> Path:
    """Write a finished synthetic atlas.

    Parameters
    ----------
    n_concepts : int
        Latents, of which the last is silent.
    hostile : bool
        Whether every name tries to be markup. Such an atlas is of one plain dictionary: nothing says what comes back,
        and it states nothing of its labels beside their F1.
    by : {"halves", "seeds"}
        Of a consensus dictionary, whose last quarter of latents is residual and has no genes; or of a plain one and
        four other seeds.
    """
    rng = np.random.default_rng(seed)
    cells, kinds, layout = make_cells(n_cells, rng)
    codes = make_codes(kinds, layout, n_concepts, rng)
    active = np.diff(codes.indptr)
    residual = np.arange(n_concepts) >= n_concepts - n_concepts // 4
    if hostile or by == "seeds":
        residual[:] = False
    named = (active > 0) & ~residual
    sums = np.asarray(codes.sum(axis=0)).ravel()
    types, tops = list(TYPES), list(TYPES.values())
    f1 = np.where(active > 0, rng.uniform(0.5, 0.97, n_concepts), np.nan)
    f1[[0, *np.flatnonzero(residual & (active > 0))[:1]]] = [0.98, 0.99][: 1 + residual.any()]  # what must lead no list
    var = pd.DataFrame(
        {
            "latent": np.arange(n_concepts),
            "density": active / n_cells,
            "mean_activation": np.divide(sums, active, out=np.zeros(n_concepts), where=active > 0),
            "max_activation": codes.max(axis=0).toarray().ravel(),
            "best_label": [types[c % len(types)] if active[c] else "" for c in range(n_concepts)],
            "best_label_f1": f1,
            "best_term": [TERMS[c % len(TERMS)] if named[c] else "" for c in range(n_concepts)],
            "top_gene": [tops[c % len(types)][c // len(types) % 8] if named[c] else "" for c in range(n_concepts)],
            "name_by": "machine",
        }
    )
    var.index = [
        f"{' · '.join(part for part in (r.best_term, r.best_label, r.top_gene) if part) or 'silent'} #{r.latent}"
        for r in var.itertuples()
    ]
    explained = np.flatnonzero(named).tolist()
    genes, pathways = make_genes(cells, explained, rng), make_pathways(explained, rng)
    records = make_records(rng, plain=by == "seeds")
    var = var.assign(**evidence(var, genes[0].merge(cells.genes, left_on="gene", right_index=True), pathways))
    if hostile:
        evil = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>"
        cells.obs["cell type"] = cells.obs["cell type"].cat.rename_categories({types[0]: evil})
        cells.genes.loc[cells.genes.index[0], "symbol"] = evil
        pathways["term"] = pathways["term"] + evil
        var["best_label"] = var["best_label"] + evil
        var.index = [f"{name}{evil}" for name in var.index]
        records[0]["definition"] = evil
    else:
        var = var.join([reproducibility(var, by, residual, rng), label_columns(var, codes, kinds)])
    folder.mkdir(parents=True, exist_ok=True)
    kind = "consensus" if residual.any() else "matryoshka"
    uns = {
        "site": "z",
        "cells": "synthetic cells",
        "model": {"kind": "scvi", "n_latent": 30, "n_hidden": 128, "epochs": 100},
        "dictionary": {"kind": kind, "latents": n_concepts},
    }
    if not hostile:
        uns["reproducibility"] = HALVES if by == "halves" else SEEDS
    outputs = [
        write.write_concepts(folder, codes, cells.obs, layout, var, uns),
        write_expression(folder, cells),
        write.write_genes(folder, genes, dict(zip(cells.genes.index, cells.symbols, strict=True))),
        write.write_pathways(folder, pathways),
        write.write_evaluation(folder, records),
    ]
    manifest = manifests.new_manifest(seed, {"labels": ["cell type"]})
    manifest["stages"]["all"] = {
        "fingerprint": "0" * 64,
        "state": "done",
        "seconds": 1.0,
        "outputs": {path.name: artefact_digest(path) for path in outputs},
    }
    manifests.write_manifest(folder, manifest)
    return folder
