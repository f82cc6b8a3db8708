"""A synthetic atlas of realistic shape, made with the writers: clusters on a layout, concepts that follow labels,
gene tables with standard errors, gene sets with nulls, metrics with spreads. Nothing in it is a result.
"""

from __future__ import annotations

from pathlib import Path

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
TERMS = ["Phagocytosis", "B-cell receptor signalling", "Cytotoxic granules", "Stem-cell programme", "T-cell activation"]


def make_cells(n: int, rng: np.random.Generator) -> tuple[Cells, np.ndarray, np.ndarray]:
    kinds = rng.choice(len(TYPES), size=n, p=np.array([5, 3, 3, 1.5, 3, 4, 4, 2]) / 25.5)
    centres = np.array([[-8, 4], [7, 7], [4, -7], [-5, -7], [2, -2], [-1, 2.5], [1.5, 5], [-2, -1]])
    layout = centres[kinds] + rng.normal(size=(n, 2)) * np.array([[1.2, 0.8]]) + rng.normal(size=(n, 1)) * 0.5
    genes = [gene for markers in TYPES.values() for gene in markers] + [f"GENE{i}" for i in range(60)]
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


def make_genes(cells: Cells, n_concepts: int, rng: np.random.Generator) -> list[pd.DataFrame]:
    tables = []
    for method, on in METHODS:
        parts = []
        for concept in range(n_concepts - 1):
            effect = np.abs(rng.normal(size=cells.n_genes)) * 0.004
            kind = concept % len(TYPES)
            noise = rng.uniform(0.6, 1.3, size=8)
            effect[8 * kind : 8 * kind + 8] += np.linspace(0.12, 0.02, 8) * noise
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
                        "score": effect / se if method == "de" else effect,
                        "q": np.nan if method == "path" else q,
                        "n": 100,
                    }
                )
            )
        tables.append(pd.concat(parts, ignore_index=True))
    return tables


def make_pathways(n_concepts: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for concept in range(n_concepts - 1):
        for test, ranking in [("gsea", "path"), ("ulm", "path"), ("ora", "de")]:
            for number, term in enumerate(TERMS):
                hit = number == concept % len(TERMS)
                q = 10.0 ** -rng.uniform(3, 9) if hit else rng.uniform(0.05, 1)
                rows.append(
                    {
                        "concept": concept,
                        "source": "hallmark" if number % 2 else "cellglass",
                        "term": term,
                        "test": test,
                        "ranking": ranking,
                        "statistic": rng.uniform(1, 3),
                        "p": q / 5,
                        "q": q,
                        "null_q": min(1.0, 1.5 * q),
                        "n_genes": int(rng.integers(10, 80)),
                        "leading_edge": ";".join(rng.permutation(list(TYPES.values())[concept % len(TYPES)])[:6]),
                    }
                )
    return pd.DataFrame(rows)


def make_records(rng: np.random.Generator) -> list[dict[str, object]]:
    def record(
        metric: str, value: float, spread: float | None, null: float | None, definition: str
    ) -> dict[str, object]:
        return {"metric": metric, "value": value, "spread": spread, "null": null, "n": 387, "definition": definition}

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
        record("stability.concepts", 0.74, 0.02, None, "mean best cosine between two seeds"),
        record("stability.concepts.above_0.7", 0.34, 0.02, 0.04, "share of pairs"),
        record("stability.concepts.coactivation", 0.61, 0.02, 0.04, "mean correlation between two seeds"),
        record("stability.concepts.coactivation.max", 0.65, 0.02, 0.05, "mean best correlation between two seeds"),
        record("stability.random", 0.38, 0.02, None, "mean best cosine between two seeds"),
    ]
    base = {"concepts": 0.82, "neurons": 0.66, "pca": 0.6, "ica": 0.63, "random": 0.42}
    for number, kind in enumerate(TYPES):
        for basis, level in base.items():
            value = float(np.clip(level - 0.06 * max(0, number - 3) + rng.normal() * 0.04, 0.02, 0.99))
            records.append(record(f"alignment.cell type.{kind}.{basis}", value, 0.015, None, "held-out F1"))
    for phase in ("G1", "S", "G2M"):
        for basis in base:
            records.append(
                record(f"alignment.phase.{phase}.{basis}", float(rng.uniform(0.2, 0.5)), 0.02, None, "held-out F1")
            )
    return records


def make_atlas(folder: Path, *, n_cells: int = 700, n_concepts: int = 24, seed: int = 0, hostile: bool = False) -> Path:
    """Write a finished synthetic atlas of five seeds; with `hostile`, of one, and every name tries to be markup."""
    rng = np.random.default_rng(seed)
    cells, kinds, layout = make_cells(n_cells, rng)
    codes = make_codes(kinds, layout, n_concepts, rng)
    active = np.diff(codes.indptr)
    sums = np.asarray(codes.sum(axis=0)).ravel()
    types, tops = list(TYPES), list(TYPES.values())
    var = pd.DataFrame(
        {
            "latent": np.arange(n_concepts),
            "density": active / n_cells,
            "mean_activation": np.divide(sums, active, out=np.zeros(n_concepts), where=active > 0),
            "max_activation": codes.max(axis=0).toarray().ravel(),
            "best_label": [types[c % len(types)] if active[c] else "" for c in range(n_concepts)],
            "best_label_f1": [rng.uniform(0.5, 0.97) if active[c] else np.nan for c in range(n_concepts)],
            "best_term": [TERMS[c % len(TERMS)] if active[c] else "" for c in range(n_concepts)],
            "top_gene": [tops[c % len(types)][c // len(types) % 8] if active[c] else "" for c in range(n_concepts)],
            "name_by": "machine",
        }
    )
    var.index = [
        f"{r.best_term} · {r.best_label} · {r.top_gene} #{r.latent}" if r.density else f"silent #{r.latent}"
        for r in var.itertuples()
    ]
    found = np.where(active > 0, rng.integers(0, 5, n_concepts), 0)
    consensus = {"found_in": found, "stability": np.where(active > 0, 0.2 + found / 6, np.nan), "consensus": found >= 3}
    if not hostile:  # with one seed nothing is known
        var = var.assign(**consensus)
    genes, pathways, records = make_genes(cells, n_concepts, rng), make_pathways(n_concepts, rng), make_records(rng)
    if hostile:
        evil = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>"
        cells.obs["cell type"] = cells.obs["cell type"].cat.rename_categories({types[0]: evil})
        cells.genes.loc[cells.genes.index[0], "symbol"] = evil
        pathways["term"] = pathways["term"] + evil
        var["best_label"] = var["best_label"] + evil
        var.index = [f"{name}{evil}" for name in var.index]
        records[0]["definition"] = evil
    folder.mkdir(parents=True, exist_ok=True)
    uns = {
        "site": "z",
        "cells": "synthetic cells",
        "model": {"kind": "scvi", "n_latent": 30, "n_hidden": 128, "epochs": 100},
        "dictionary": {"kind": "matryoshka", "k": 16, "n_latents": n_concepts},
    }
    if not hostile:
        uns["consensus"] = {"others": 4, "needed": 3, "threshold": 0.7}
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
