"""An atlas in brief, as plain values for JSON and for the terminal: its metrics, its concepts and their genes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from cellglass.atlas.evidence import label_evidence, label_sizes, leading_order, residual
from cellglass.atlas.partners import read_partners
from cellglass.atlas.schema import COVERAGE_FIELDS, GENES, UNS_COVERAGE, UNS_GENE_SETS, UNS_MODEL, UNS_REPRODUCIBILITY
from cellglass.atlas.tables import Tables, plain
from cellglass.atlas.verdicts import verdicts
from cellglass.attribution.registry import gene_rankings
from cellglass.evaluation.metric import finite_or_none
from cellglass.vocabulary import SIGNIFICANT

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas

TOP_GENES = 10
BEYOND = 0.7
"""Correlation with the most similar cluster below which a concept is more than a cluster."""


def summarize(atlas: Atlas) -> dict[str, Any]:
    """Return what the atlas holds.

    Returns
    -------
    dict
        The keys of `Atlas.summary`; ``title``, one line; ``evaluation``, the metric records; ``concepts``, the live
        ones that are not residual, by reproducibility and then by how well they mark a label (`leading_order`), each
        with ``name``, ``latent``, ``density``, ``best_label``, ``best_label_f1`` and what is known of that F1
        (``best_label_null``, ``best_label_q``, ``best_label_threshold``, ``best_label_n``; see `label_evidence`),
        ``best_term``, ``best_term_q`` and ``best_term_statistic`` (below 0: depleted), ``reproducibility`` (None where
        it is not known), ``beyond_clusters`` (see `beyond_clusters`), ``depth_correlation`` (see `evaluation.depth`)
        and ``genes``, each with ``symbol``, ``score`` (below 0: its absence drives the concept) and ``q``
        (`strongest`); ``reproducibility``, by which rule concepts come back, or None (see
        `schema.UNS_REPRODUCIBILITY`); ``verdicts``, a sentence for each panel of quality (`cellglass.atlas.verdicts`);
        ``coverage``, see `coverage`; ``gene_sets``, see `gene_sets`; ``partners``, by matching how many concepts were
        asked and how many are suspect, where `cellglass partners` was run (else None), and then of each concept
        ``suspect_partners``, the matchings.
    """
    facts = atlas.summary()
    facts["title"] = (
        f"{facts['findings']} concepts of {facts['model']} at site {facts['site']}, "
        f"in {facts['cells']:,} cells: {facts['path']}"
    )
    evaluation = atlas.evaluation.reset_index()
    facts["evaluation"] = [
        {key: value if isinstance(value, str) else finite_or_none(value) for key, value in record.items()}
        for record in evaluation.to_dict("records")
    ]
    facts["coverage"] = coverage(atlas.concepts.uns)
    facts["verdicts"] = verdicts(facts["evaluation"], label_sizes(atlas.concepts.obs))
    facts["gene_sets"] = gene_sets(atlas.concepts.uns)
    facts["reproducibility"] = rule_of(atlas.concepts.uns)
    partners = read_partners(atlas.path, atlas.concepts.var)
    facts["partners"] = None if partners is None else partners.counts
    genes = {concept: strongest(*ends) for concept, ends in extreme_genes(atlas.path / GENES).items()}
    var = atlas.concepts.var
    var = var.join(label_evidence(var, label_sizes(atlas.concepts.obs)), rsuffix="_")
    var = var.iloc[leading_order(var)]
    alive = var[(var["density"] > 0) & ~residual(var)]
    facts["concepts"] = [
        {
            "name": str(name),
            "latent": int(row["latent"]),
            "density": float(row["density"]),
            "best_label": str(row["best_label"]),
            "best_label_f1": float(finite_or_none(row["best_label_f1"]) or 0.0),
            **{f"best_label_{key}": finite_or_none(row[key]) for key in ("null", "q", "threshold", "n")},
            "best_term": str(row["best_term"]),
            **{key: finite_or_none(row.get(key)) for key in ("best_term_q", "best_term_statistic")},
            "reproducibility": finite_or_none(row.get("reproducibility")),
            "beyond_clusters": beyond_clusters(row.get("cluster_correlation")),
            "depth_correlation": finite_or_none(row.get("depth_correlation")),
            "genes": genes.get(int(row["latent"]), []),
            **({} if partners is None else {"suspect_partners": partners.suspect.get(int(row["latent"]), [])}),
        }
        for name, row in alive.iterrows()
    ]
    return facts


def rule_of(uns: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `schema.UNS_REPRODUCIBILITY` from ``uns`` of concepts.zarr as plain values; None where it is unsaid."""
    held = uns.get(UNS_REPRODUCIBILITY)
    if not isinstance(held, Mapping):
        return None
    return {
        "by": str(held["by"]),
        "n": int(held["n"]),
        "least": float(held["least"]),
        "correlation": float(held["correlation"]),
    }


def beyond_clusters(correlation: float | None) -> bool | None:
    """Say whether no clustering at any level gives a concept: `cluster_correlation` below 0.7; None where unknown."""
    return None if correlation is None or correlation != correlation else bool(correlation < BEYOND)


def coverage(uns: Mapping[str, Any]) -> dict[str, float] | None:
    """Return how the genes of the cells meet the model's, from ``uns`` of concepts.zarr; None where it was not counted.

    Returns
    -------
    dict
        Of `schema.COVERAGE_FIELDS` those that the atlas has: ``found`` and ``missing`` genes of the model, ``unknown``
        genes of the cells (whole numbers), and ``counts``, the share of the cells' counts in the model's genes.
    """
    model = uns.get(UNS_MODEL)
    held = model.get(UNS_COVERAGE) if isinstance(model, Mapping) else None
    if not isinstance(held, Mapping):
        return None
    there = [name for name in COVERAGE_FIELDS if name in held]
    return {name: float(held[name]) if name == "counts" else int(held[name]) for name in there}


def gene_sets(uns: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """Return the ``sources`` of gene sets that were tested, and which were ``mapped`` to mouse; None where unsaid."""
    held = uns.get(UNS_GENE_SETS)
    if not isinstance(held, Mapping):
        return None
    return {name: [str(one) for one in held.get(name, ())] for name in ("sources", "mapped")}


class Extremes(NamedTuple):
    """Genes of one concept at one end of a ranking, the most extreme first."""

    symbol: list[str]
    score: list[float]
    q: list[float]


NO_GENES = Extremes([], [], [])


def strongest(present: Extremes, absent: Extremes, n: int = TOP_GENES) -> list[dict[str, Any]]:
    """Return the `n` strongest genes of both ends: those at q < 0.05 first, and then by their absolute scores."""
    rows = [
        (str(symbol), score, finite_or_none(q))
        for end in (present, absent)
        for symbol, score, q in zip(*end, strict=True)
    ]
    rows.sort(key=lambda row: (row[2] is None or row[2] >= SIGNIFICANT, -abs(row[1])))
    return [{"symbol": symbol, "score": finite_or_none(score), "q": q} for symbol, score, q in rows[:n]]


def extreme_genes(path: Path, n: int = TOP_GENES) -> dict[int, tuple[Extremes, Extremes]]:
    """Return, by latent, the genes that drive it by their presence, and those that do by their absence.

    Parameters
    ----------
    path : pathlib.Path
        A table of genes; of it the first ranking that it has (see `gene_rankings`).
    n : int
        Most genes of each: those with scores above 0, and those with scores below 0.
    """
    tables = Tables(path.parent)
    for method, on in gene_rankings():
        wanted = {"method": method, "on": on}
        table = tables.rows(path.name, wanted, columns=["concept", "symbol", "score", "gene", "q"])
        if len(table):
            table = plain(table)
            found = []
            for rows, sign in ((table[table["score"] > 0], 1), (table[table["score"] < 0], -1)):
                ordered = rows.assign(by=-sign * rows["score"]).sort_values(["concept", "by", "gene"])
                groups: Any = ordered.groupby("concept").head(n).groupby("concept")
                found.append({int(concept): mine for concept, mine in groups})
            return {c: (_extremes(found[0].get(c)), _extremes(found[1].get(c))) for c in sorted({*found[0], *found[1]})}
    return {}


def _extremes(rows: pd.DataFrame | None) -> Extremes:
    return NO_GENES if rows is None else Extremes(*(rows[name].tolist() for name in Extremes._fields))
