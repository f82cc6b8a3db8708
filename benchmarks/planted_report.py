"""Writes the tables of `planted_programs` as markdown; computes nothing but means and spreads over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

IDEAL, TRUTH = "ideal directions", "true activity"
DE = "differential expression"

READING = Path(__file__).with_name("planted_reading.md")
"""The reading of the run of five seeds that the repository holds; stands below the tables, and is written by hand."""

_TITLE = """# Which method finds the genes of a concept?

Tables written by `python benchmarks/planted_programs.py` with {seeds} seeds in {minutes:.0f} minutes on
{cores} cores ({cpu}, load {load} from other work when it began).

Simulated cells ({cells:,} cells, {genes:,} genes, 20 planted programs of 30 genes, some shared by two) are
explained from scVI's `z`. A program is matched to the latent whose activation follows the program's
activity best over cells, without a look at genes; then each method's gene scores are asked to rank the
program's genes above all others. AUROC 0.5 is chance. Mean ± standard deviation over seeds, each with new
programs, cells, scVI weights and dictionaries. {prototypes} prototypes of each concept, {partners} partners
of each prototype; swaps and knock-outs are read from the activation.

*{ideal}* are the best linear readouts of the true activities from `z`: a dictionary without fault.
*{truth}* compares the cells in which a program is truly on with the others, and needs neither model nor
dictionary. Both know the truth: they are yardsticks, not competitors.
"""

_ACROSS = """AUROC again. Half of the programs belong to a type of cells; the others are on in 15 % of the cells,
whatever their type, so that no cluster is one of them.
"""

_QUARTERS = """AUROC of a program's genes in each quarter of mean expression (1: least expressed), against all genes
outside the program. *Sensitivity* is the mean gradient of the latent by each gene's log count over cells,
without pairs.
"""

_WRONG = """
Of as many top genes as the program has: the share that is not the program's, and the share that belongs to
another program that goes with it over cells (correlation above 0.3).
"""


def markdown(
    total: pd.DataFrame,
    tables: Mapping[int, pd.DataFrame],
    lost: Mapping[int, pd.DataFrame],
    facts: pd.DataFrame,
    size: Mapping[str, Any],
    about: Mapping[str, Any],
    seconds: float,
) -> str:
    """Return the page."""
    head = _TITLE.format(
        seeds=len(tables),
        minutes=seconds / 60,
        cores=about["cores"],
        cpu=about["cpu"],
        load=about["load_at_start"],
        ideal=IDEAL,
        truth=TRUTH,
        **size,
    )
    parts = [
        head,
        "## AUROC of gene scores for membership\n",
        grid(total, "auroc"),
        "\n## Programs of a type, and programs that cut across types\n",
        _ACROSS,
        _by_kind(tables),
        "\n## Share of the program's genes among as many top genes\n",
        grid(total, "precision"),
        "\n## How well latents follow programs\n",
        _matches(tables),
        "\nThe concepts' dictionary on cells that it was not trained on: " + _facts(facts) + "\n",
        "## Where it is lost\n",
        _QUARTERS,
        _lost(lost, [f"quarter {i}" for i in range(1, 5)], ["basis", "method"]),
        _WRONG,
        _lost(lost, ["wrong", "wrong, of a partner"], ["basis", "together", "method"]),
        "\n" + READING.read_text(encoding="utf-8").rstrip() if READING.is_file() else "",
    ]
    return "\n".join(parts) + "\n"


def grid(total: pd.DataFrame, figure: str) -> str:
    """Return a table of bases by methods."""
    methods = list(dict.fromkeys(total["method"]))
    cell = {(r["basis"], r["method"]): spread(r[figure], r[f"{figure}_sd"]) for r in total.to_dict(orient="records")}
    rows = [[basis, *(cell.get((basis, m), "") for m in methods)] for basis in dict.fromkeys(total["basis"])]
    return table(["", *methods], rows)


def _by_kind(tables: Mapping[int, pd.DataFrame]) -> str:
    """Return AUROC of path effects and differential expression, of the two kinds of programs apart."""
    found = over_seeds(tables, ["auroc"], ["basis", "method", "across"])["auroc"]
    shown = [(method, kind) for method in ("path", DE) for kind in (False, True)]
    rows = []
    for basis in dict.fromkeys(found.index.get_level_values("basis")):
        cells = [found.loc[(basis, *one)] if (basis, *one) in found.index else None for one in shown]
        rows.append([str(basis), *("" if r is None else spread(r["mean"], r["std"]) for r in cells)])
    return table(["", *(f"{method}, {'across types' if kind else 'of a type'}" for method, kind in shown)], rows)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(mean: float, sd: float) -> str:
    """Return mean ± sd, or the mean alone where one seed ran."""
    return f"{mean:.3f}" if pd.isna(sd) else f"{mean:.3f} ± {sd:.3f}"


def over_seeds(tables: Mapping[int, pd.DataFrame], columns: list[str], by: list[str]) -> pd.DataFrame:
    """Return mean and sd over seeds of each seed's mean of `columns` by groups."""
    seeds = pd.concat([frame.groupby(by, sort=False)[columns].mean() for frame in tables.values()])
    return seeds.groupby(level=list(range(len(by))), sort=False).agg(["mean", "std"])


def _matches(tables: Mapping[int, pd.DataFrame]) -> str:
    one = {s: t[t["method"] == DE].assign(one=1) for s, t in tables.items()}
    found = over_seeds(one, ["correlation"], ["basis"])["correlation"]
    distinct = pd.concat([t.groupby("basis", sort=False)["latent"].nunique() for t in one.values()])
    distinct = distinct.groupby(level=0).mean()
    rows = [
        [str(basis), spread(r["mean"], r["std"]), f"{distinct[basis]:.1f}"]
        for basis, r in found.iterrows()
        if basis != TRUTH
    ]
    return table(["", "correlation of a program with its latent", "different latents for 20 programs"], rows)


def _facts(facts: pd.DataFrame) -> str:
    return ", ".join(
        f"{name} {spread(facts[name].mean(), facts[name].std())}" for name in facts if not name.startswith("seconds")
    )


def _lost(lost: Mapping[int, pd.DataFrame], columns: list[str], by: list[str]) -> str:
    found = over_seeds(lost, columns, by)
    rows = []
    for key, r in found.iterrows():
        names = key if isinstance(key, tuple) else (key,)
        words = [{True: "goes with another", False: "alone"}.get(n, str(n)) for n in names]
        rows.append([*words, *(spread(r[c, "mean"], r[c, "std"]) for c in columns)])
    return table([*(" " if name in ("basis", "method", "together") else name for name in by), *columns], rows)
