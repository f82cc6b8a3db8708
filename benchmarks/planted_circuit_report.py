"""The tables of ``planted_circuit.py``, from what its seeds found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

METHODS = {
    "total": "**total effect** (`cellglass trace`'s ranking)",
    "features": "total less direct: through features alone",
    "random total": "total effect, random transcoders",
    "random features": "through features alone, random transcoders",
    "direct": "direct effect: through no feature",
    "gradient": "gradient x input of the real model",
    "deletion": "deletion in the real model",
    "correlation": "correlation of counts with the rule over cells",
}
RULES = {"one hop": "A and not B", "two hops": "A if C, else D"}


def seeds_right(found: list[dict[str, Any]]) -> pd.DataFrame:
    """Return by rule and method in how many seeds most cells are right, and the mean share of cells that are."""
    rows = []
    for rule in RULES:
        for method in METHODS:
            shares = np.array([np.mean(one[rule]["right"][method]) for one in found])
            rows.append((rule, method, int((shares > 0.5).sum()), len(found), float(shares.mean())))
    return pd.DataFrame(rows, columns=["rule", "method", "right", "seeds", "share"])


def lengths(found: list[dict[str, Any]], rule: str) -> np.ndarray[Any, Any]:
    """Return by seed the mean shares of a rule's genes' path weight that pass 0, 1, 2, ... features."""
    return np.array([np.mean(one[rule]["lengths"], axis=0) for one in found])


def markdown(found: list[dict[str, Any]], size: dict[str, int], about: dict[str, Any]) -> str:
    """Return the page."""
    known, steps = [one["accuracy"] for one in found], [one["steps"] for one in found]
    error = np.mean([one[rule]["error"] for one in found for rule in RULES], axis=0)
    return _PAGE.format(
        rankings="\n".join(_rankings(seeds_right(found).set_index(["method", "rule"]))),
        paths="\n".join(_paths(found)),
        seeds=len(found),
        known=f"{np.mean(known):.3f} on average, {min(known):.3f} at the lowest",
        taken=f"{min(steps)} to {max(steps)}",
        error=", ".join(f"{one:.3f}" for one in error),
        minutes=f"{sum(one['seconds'] for one in found) / 60:.0f}",
        cpu=about["cpu"],
        **size,
    )


def _rankings(table: pd.DataFrame) -> list[str]:
    lines = ["| ranking of genes | " + " | ".join(f"{rule}: seeds | {rule}: cells" for rule in RULES) + " |"]
    lines.append("| --- |" + " ---: | ---: |" * len(RULES))
    for method, name in METHODS.items():
        own = [table.loc[(method, rule)] for rule in RULES]
        told = " | ".join(f"{int(one.right)} of {int(one.seeds)} | {one.share:.2f}" for one in own)
        lines.append(f"| {name} | {told} |")
    return lines


def _paths(found: list[dict[str, Any]]) -> list[str]:
    lines = ["| rule | none | one | two or more | two or more, by seed |", "| --- | ---: | ---: | ---: | --- |"]
    for rule, says in RULES.items():
        shares = lengths(found, rule)
        more = shares[:, 2:].sum(1)
        means = " | ".join(f"{one:.3f}" for one in (shares[:, 0].mean(), shares[:, 1].mean(), more.mean()))
        lines.append(f"| {rule}: {says} | {means} | {', '.join(f'{one:.2f}' for one in more)} |")
    return lines


_PAGE = """# A planted circuit

Made by `benchmarks/planted_circuit.py`, which says how; do not edit. Simulated cells of 24 genes (about ten counted in
a cell, each independently of the others) are of four types, by what two rules say of them:

- **one hop**: A is counted and B is not. Asked about in cells that hang on A alone, and on B alone.
- **two hops**: A is counted, if C is; where C is not, D is. So A counts for something only beside C, and no sum of the
  genes decides. Asked about in cells that hang on A and C together. The two rules share no marker.

The question is the cell's type against the one that differs in this rule alone. Every cell asked about hangs on a gene
of the other rule too, which the network has to read for its answer and which is not what is asked about.

Which genes are the markers, the cells, the network and its transcoders are new in each of {seeds} seeds. A gene is
pivotal in a cell if the rule would say otherwise without it. A ranking is right in a cell where the genes of largest
effect, as many as are pivotal, are the pivotal ones; in a seed, where it is right in more than half of its {cells}
cells.

## Which genes lead

{rankings}

Random transcoders keep each row's length and the number of active latents, and are drawn anew for each cell. What they
leave over is an error node, where paths end, so the direct paths of their graph are those of the trained one: what
attention alone carries is found by them too. Effects *through features alone* are what tells trained from random ones.

## Networks and transcoders

GPT-NeoX of {layers} layers x {width}, trained on the type alone and on new cells in every step, until 0.99 of 400
unseen cells are right (at most {steps} steps of {batch} cells; {taken} were taken). Accuracy on 400 others: {known}.
TopK transcoders of {latents} latents, k {k}, trained on {transcoded} other cells; they leave over these shares of each
MLP's variance over a cell's tokens: {error}.

## How many features the paths of the rule's genes pass

Shares of the summed sizes of all paths from a pivotal gene to the answer, in graphs of all active features: one cell a
seed for each set of pivotal genes.

{paths}

{minutes} minutes of processes on {cpu}, one thread each, beside other work.
"""
