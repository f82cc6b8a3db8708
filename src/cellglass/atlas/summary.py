"""An atlas in brief, as plain values for JSON and for the terminal: its metrics, its concepts and their genes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.atlas.schema import GENES, UNS_CONSENSUS, UNS_MODEL
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
        ``best_label_f1``, ``best_label_null`` and ``best_label_q`` (F1 under permuted labels, and its q),
        ``best_term``, ``best_term_q`` and ``best_term_statistic`` (below 0: depleted), ``found_in`` and ``consensus``
        (None where one seed ran), ``genes`` and ``absent_genes`` (symbols, of the first of `gene_rankings`: those that
        drive it by their presence, and by their absence, the most extreme first); ``other_seeds``, how many
        dictionaries of other seeds the concepts were looked for in; ``coverage``, how many of the model's genes were
        ``found`` in the cells and ``missing``, and how many of the cells' are ``unknown`` to it (None where it was
        not counted).
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
    genes = extreme_genes(atlas.path / GENES)
    var = atlas.concepts.var
    alive = var[var["density"] > 0].sort_values("best_label_f1", ascending=False, kind="stable")
    facts["concepts"] = [
        _concept(str(name), row, *genes.get(int(row["latent"]), (NO_GENES, NO_GENES))) for name, row in alive.iterrows()
    ]
    return facts


def _concept(name: str, row: pd.Series[Any], present: Extremes, absent: Extremes) -> dict[str, Any]:
    """Return what is said of one concept; of what an older atlas lacks None."""
    return {
        "name": name,
        "latent": int(row["latent"]),
        "density": float(row["density"]),
        "best_label": str(row["best_label"]),
        "best_label_f1": float(finite_or_none(row["best_label_f1"]) or 0.0),
        "best_label_null": finite_or_none(row.get("best_label_null")),
        "best_label_q": finite_or_none(row.get("best_label_q")),
        "best_term": str(row["best_term"]),
        "best_term_q": finite_or_none(row.get("best_term_q")),
        "best_term_statistic": finite_or_none(row.get("best_term_statistic")),
        "found_in": int(row["found_in"]) if "found_in" in row else None,
        "consensus": bool(row["consensus"]) if "consensus" in row else None,
        "genes": present.symbol,
        "absent_genes": absent.symbol,
    }


class Extremes(NamedTuple):
    """Genes of one concept at one end of a ranking, the most extreme first."""

    symbol: list[str]
    score: list[float]
    q: list[float]


NO_GENES = Extremes([], [], [])


def best_genes(path: Path, n: int = TOP_GENES) -> dict[int, list[str]]:
    """Return, by latent, the symbols with the `n` largest scores of the first ranking that the table at `path` has."""
    return {concept: genes.symbol for concept, (genes, _) in extreme_genes(path, n, least=-np.inf).items()}


def extreme_genes(path: Path, n: int = TOP_GENES, *, least: float = 0.0) -> dict[int, tuple[Extremes, Extremes]]:
    """Return, by latent, the genes that drive it by their presence, and those that do by their absence.

    Parameters
    ----------
    path : pathlib.Path
        A table of genes; of it the first ranking that it has (see `gene_rankings`).
    n : int
        Most genes of each.
    least : float
        Genes of the first kind have a score above this; those of the second have one below 0.
    """
    tables = Tables(path.parent)
    for method, on in gene_rankings():
        wanted = {"method": method, "on": on}
        table = tables.rows(path.name, wanted, columns=["concept", "symbol", "score", "gene", "q"])
        if len(table):
            table = plain(table)
            found = []
            for rows, sign in ((table[table["score"] > least], 1), (table[table["score"] < 0], -1)):
                ordered = rows.assign(by=-sign * rows["score"]).sort_values(["concept", "by", "gene"])
                groups: Any = ordered.groupby("concept").head(n).groupby("concept")
                found.append({int(concept): mine for concept, mine in groups})
            return {c: (_extremes(found[0].get(c)), _extremes(found[1].get(c))) for c in sorted({*found[0], *found[1]})}
    return {}


def _extremes(rows: pd.DataFrame | None) -> Extremes:
    return NO_GENES if rows is None else Extremes(*(rows[name].tolist() for name in Extremes._fields))
