"""An atlas in brief, as plain values for JSON and for the terminal: its metrics, its concepts and their genes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellglass.atlas.schema import COVERAGE_FIELDS, GENES, UNS_CONSENSUS, UNS_COVERAGE, UNS_GENE_SETS, UNS_MODEL
from cellglass.atlas.tables import Tables, plain
from cellglass.attribution.registry import gene_rankings
from cellglass.evaluation.metric import finite_or_none

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas

TOP_GENES = 10


def summarize(atlas: Atlas) -> dict[str, Any]:
    """Return what the atlas holds.

    Returns
    -------
    dict
        The keys of `Atlas.summary`; ``title``, one line; ``evaluation``, the metric records; ``concepts``, the live
        ones, best aligned with a label first, each with ``name``, ``latent``, ``density``, ``best_label``,
        ``best_label_f1``, ``best_term``, ``found_in`` and ``consensus`` (None where one seed ran) and ``genes``
        (symbols, the largest score first, of the first of `gene_rankings`); ``other_seeds``, how many dictionaries of
        other seeds the concepts were looked for in; ``coverage``, see `coverage`; ``gene_sets``, see `gene_sets`.
    """
    facts = atlas.summary()
    facts["title"] = (
        f"{facts['alive']} concepts of {facts['model']} at site {facts['site']}, "
        f"in {facts['cells']:,} cells: {facts['path']}"
    )
    evaluation = atlas.evaluation.reset_index()
    facts["evaluation"] = [
        {key: value if isinstance(value, str) else finite_or_none(value) for key, value in record.items()}
        for record in evaluation.to_dict("records")
    ]
    facts["coverage"] = coverage(atlas.concepts.uns)
    facts["gene_sets"] = gene_sets(atlas.concepts.uns)
    facts["other_seeds"] = int(dict(atlas.concepts.uns.get(UNS_CONSENSUS, {})).get("others", 0))
    genes = best_genes(atlas.path / GENES)
    var = atlas.concepts.var
    alive = var[var["density"] > 0].sort_values("best_label_f1", ascending=False, kind="stable")
    facts["concepts"] = [
        {
            "name": str(name),
            "latent": int(row["latent"]),
            "density": float(row["density"]),
            "best_label": str(row["best_label"]),
            "best_label_f1": float(finite_or_none(row["best_label_f1"]) or 0.0),
            "best_term": str(row["best_term"]),
            "found_in": int(row["found_in"]) if "found_in" in row else None,
            "consensus": bool(row["consensus"]) if "consensus" in row else None,
            "genes": genes.get(int(row["latent"]), []),
        }
        for name, row in alive.iterrows()
    ]
    return facts


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


def best_genes(path: Path, n: int = TOP_GENES) -> dict[int, list[str]]:
    """Return, by latent, the symbols with the `n` largest scores of the first ranking that the table at `path` has."""
    tables = Tables(path.parent)
    for method, on in gene_rankings():
        wanted = {"method": method, "on": on}
        table = tables.rows(path.name, wanted, columns=["concept", "symbol", "score", "gene"])
        if len(table):
            table = plain(table).sort_values(["concept", "score", "gene"], ascending=[True, False, True])
            best = table.groupby("concept").head(n)
            groups: Any = best.groupby("concept")
            return {int(concept): list(map(str, rows["symbol"])) for concept, rows in groups}
    return {}
