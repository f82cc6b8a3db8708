"""An atlas in brief, as plain values for JSON and for the terminal: its metrics, its concepts and their genes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cellglass.atlas.best_label import label_evidence, label_sizes, leading_order
from cellglass.atlas.schema import GENES, UNS_CONSENSUS, UNS_MODEL
from cellglass.atlas.tables import Tables, plain
from cellglass.attribution.registry import gene_rankings
from cellglass.evaluation.metric import finite_or_none
from cellglass.vocabulary import SIGNIFICANT

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas

TOP_GENES = 10


def summarize(atlas: Atlas) -> dict[str, Any]:
    """Return what the atlas holds.

    Returns
    -------
    dict
        The keys of `Atlas.summary`; ``title``, one line; ``evaluation``, the metric records; ``concepts``, the live
        ones, those that most other seeds find first and then by how well they mark a label (`leading_order`), each
        with ``name``, ``latent``, ``density``, ``best_label``, ``best_label_f1`` and what is known of that F1
        (``best_label_null``, ``best_label_q``, ``best_label_threshold``, ``best_label_n``; see `label_evidence`),
        ``best_term``, ``best_term_q`` and ``best_term_statistic`` (below 0: depleted), ``found_in`` and ``consensus``
        (None where one seed ran) and ``genes``, each with ``symbol``, ``score`` (below 0: its absence drives the
        concept) and ``q`` (`strongest_genes`); ``other_seeds``, how many dictionaries of
        other seeds the concepts were looked for in; ``coverage``, how many of the model's genes were ``found`` in the
        cells and ``missing``, and how many of the cells' are ``unknown`` to it (None where it was not counted).
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
    model = atlas.concepts.uns.get(UNS_MODEL)
    coverage = model.get("coverage") if isinstance(model, Mapping) else None
    facts["coverage"] = None if coverage is None else {str(name): int(n) for name, n in coverage.items()}
    facts["other_seeds"] = int(dict(atlas.concepts.uns.get(UNS_CONSENSUS, {})).get("others", 0))
    genes: dict[int, list[dict[str, Any]]] = {}
    for row in strongest_genes(atlas.path / GENES).itertuples(index=False):
        gene = {"symbol": str(row.symbol), "score": finite_or_none(row.score), "q": finite_or_none(row.q)}
        genes.setdefault(int(row.concept), []).append(gene)
    var = atlas.concepts.var
    var = var.join(label_evidence(var, label_sizes(atlas.concepts.obs)), rsuffix="_")
    var = var.iloc[leading_order(var)]
    alive = var[var["density"] > 0]
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
            "found_in": int(row["found_in"]) if "found_in" in row else None,
            "consensus": bool(row["consensus"]) if "consensus" in row else None,
            "genes": genes.get(int(row["latent"]), []),
        }
        for name, row in alive.iterrows()
    ]
    return facts


def strongest_genes(path: Path, n: int = TOP_GENES) -> pd.DataFrame:
    """Return the `n` strongest genes of each concept by the first ranking that the table at `path` has.

    Genes whose presence drives a concept (score above 0) and genes whose absence does (below 0) stand together, the
    largest absolute score first; those at q < 0.05 before all others. Differential expression ranks what is higher
    first, since it is no effect that the sign of a change could turn.

    Returns
    -------
    pandas.DataFrame
        ``concept``, ``symbol``, ``score``, ``q``, sorted by concept; without rows where no genes were ranked.
    """
    columns = ["concept", "symbol", "gene", "score", "q"]
    tables = Tables(path.parent)
    for method, on in gene_rankings():
        table = tables.rows(path.name, {"method": method, "on": on}, columns=columns)
        if len(table):
            strength = table["score"] if on == "expression" else table["score"].abs()
            table = plain(table).assign(sure=table["q"] < SIGNIFICANT, strength=strength)
            order = ["concept", "sure", "strength", "gene"]
            table = table.sort_values(order, ascending=[True, False, False, True])
            return table.groupby("concept").head(n)[["concept", "symbol", "score", "q"]].reset_index(drop=True)
    return pd.DataFrame({name: [] for name in ("concept", "symbol", "score", "q")})
