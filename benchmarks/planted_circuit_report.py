"""The tables of ``planted_circuit.py``, from what its seeds found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

METHODS = {
    "total": "**total effect**, patterns frozen (what `cellglass trace` ranks by)",
    "features": "the same through features alone: total less direct",
    "linear": "total effect, through what shapes patterns too",
    "lost": "what deletion takes through features (`cellglass trace --without all`)",
    "random total": "random transcoders: total effect",
    "random features": "random transcoders: through features alone",
    "random linear": "random transcoders: through what shapes patterns too",
    "random lost": "random transcoders: what deletion takes through features",
    "direct": "direct effect: through no feature, patterns frozen",
    "removal": "removal: deletion to first order",
    "gradient": "gradient x input of the real model",
    "integrated": "integrated gradients of the real model",
    "occlusion": "occlusion in the real model",
    "deletion": "deletion in the real model",
    "correlation": "correlation of counts with the rule over cells",
}
RULES = {"one hop": "A and not B", "two hops": "A if C, else D"}
GROUPS = ("A, not B", "A and B", "A and C")
"""Cells by the markers that they count of the rule that is asked about: those of the first rule, and of the second."""


def led_by(effects: pd.Series[Any], wanted: set[str]) -> bool:
    """Return whether the genes of largest effect, as many as are wanted, are the wanted ones."""
    order = effects.abs().sort_values(ascending=False, kind="stable")
    return set(order.index[: len(wanted)]) == wanted


def group_of(rule: str, cell: dict[str, Any]) -> str:
    """Return which of `GROUPS` a cell is of."""
    return GROUPS[2] if rule == "two hops" else GROUPS[len(cell["markers"]) - 1]


def cells_right(found: list[dict[str, Any]]) -> pd.DataFrame:
    """Return for each seed, cell and method whether the markers that the cell counts lead (``right``).

    ``pivotal``: whether those lead without which the rule would say otherwise; of a cell with A and B, B alone.
    """
    rows = []
    for seed in found:
        for rule in RULES:
            for number, cell in enumerate(seed[rule]["cells"]):
                where = {"seed": seed["seed"], "cells": group_of(rule, cell), "cell": number}
                for method, values in cell["effects"].items():
                    led = [led_by(pd.Series(values), set(cell[name])) for name in ("markers", "pivotal")]
                    rows.append({**where, "method": method, "right": led[0], "pivotal": led[1]})
    return pd.DataFrame(rows)


def seeds_right(found: list[dict[str, Any]]) -> pd.DataFrame:
    """Return by group of cells and method in how many seeds most cells are right, and the share of cells that are."""
    grouped = cells_right(found).groupby(["cells", "method"])
    most = cells_right(found).groupby(["cells", "method", "seed"])[["right", "pivotal"]].mean() > 0.5
    made = most.groupby(["cells", "method"]).sum()
    made["share"], made["pivotal_share"] = grouped["right"].mean(), grouped["pivotal"].mean()
    return made.reset_index().assign(seeds=len(found))


def classes_right(found: list[dict[str, Any]]) -> pd.DataFrame:
    """Return by group of cells and method in how many seeds the markers lead in the mean effect over the group's cells.

    As in the circuit of a class: an effect is 0 in a cell that does not count the gene. ``pivotal`` as of
    `cells_right`; ``cells``, how many a mean is over.
    """
    rows = []
    for seed in found:
        for rule in RULES:
            groups: dict[str, list[dict[str, Any]]] = {}
            for cell in seed[rule]["cells"]:
                groups.setdefault(group_of(rule, cell), []).append(cell)
            for group, cells in groups.items():
                for method in cells[0]["effects"]:
                    mean = pd.DataFrame([cell["effects"][method] for cell in cells]).fillna(0.0).mean()
                    right, pivotal = (led_by(mean, set(cells[0][name])) for name in ("markers", "pivotal"))
                    rows.append({"cells": group, "method": method, "right": right, "pivotal": pivotal})
    made = pd.DataFrame(rows).groupby(["cells", "method"])[["right", "pivotal"]].sum()
    return made.reset_index().assign(seeds=len(found))


def lengths(found: list[dict[str, Any]], rule: str) -> np.ndarray[Any, Any]:
    """Return by seed the mean shares of a rule's genes' path weight that pass 0, 1, 2, ... features."""
    return np.array(
        [np.mean([one for cell in seed[rule]["cells"] for one in cell["lengths"]], axis=0) for seed in found]
    )


def markdown(
    found: list[dict[str, Any]], even: list[dict[str, Any]], size: dict[str, int], about: dict[str, Any]
) -> str:
    """Return the page, of networks as they learn and of those whose heads look everywhere alike."""
    known, steps = [one["accuracy"] for one in found], [one["steps"] for one in found]
    error = np.mean([cell["error"] for one in found for rule in RULES for cell in one[rule]["cells"]], axis=0)
    return _PAGE.format(
        rankings="\n".join(_rankings(seeds_right(found).set_index(["method", "cells"]))),
        alike="\n".join(_rankings(seeds_right(even).set_index(["method", "cells"]))),
        alike_classes="\n".join(_classes(classes_right(even).set_index(["method", "cells"]))),
        **_leading("", seeds_right(found).set_index(["method", "cells"])),
        **_leading("even_", seeds_right(even).set_index(["method", "cells"])),
        even_known=f"{np.mean([one['accuracy'] for one in even]):.3f}",
        classes="\n".join(_classes(classes_right(found).set_index(["method", "cells"]))),
        paths="\n".join(_paths(found)),
        seeds=len(found),
        half=size["cells"] // 2,
        known=f"{np.mean(known):.3f} on average, {min(known):.3f} at the lowest",
        taken=f"{min(steps)} to {max(steps)}",
        error=", ".join(f"{one:.4f}" for one in error),
        minutes=f"{sum(one['seconds'] for one in [*found, *even]) / 60:.0f}",
        cpu=about["cpu"],
        **size,
    )


def _leading(start: str, table: pd.DataFrame) -> dict[str, str]:
    """Return in how many seeds some rankings have the pivotal genes first: A not B, B of A and B, A and C."""
    found = {}
    for method in ("lost", "random lost", "total", "random total", "removal"):
        right = [table.loc[(method, group), "pivotal"] for group in GROUPS]
        found[start + method.replace(" ", "_")] = "{}, {} and {}".format(*map(int, right))
    return found


def _rankings(table: pd.DataFrame) -> list[str]:
    titles = [f"{name}: seeds | cells" for name in GROUPS] + ["A and B, B first: seeds | cells"]
    lines = ["| ranking of genes | " + " | ".join(titles) + " |", "| --- |" + " ---: | ---: |" * len(titles)]
    for method, name in METHODS.items():
        own = [table.loc[(method, group)] for group in GROUPS]
        told = [(one.right, one.share) for one in own] + [(own[1].pivotal, own[1].pivotal_share)]
        cells = " | ".join(f"{int(seeds)} of {int(own[0].seeds)} | {share:.2f}" for seeds, share in told)
        lines.append(f"| {name} | {cells} |")
    return lines


def _classes(table: pd.DataFrame) -> list[str]:
    lines = ["| ranking of genes | " + " | ".join([*GROUPS, "A and B, B first"]) + " |", "| --- |" + " ---: |" * 4]
    for method, name in METHODS.items():
        own = [table.loc[(method, group)] for group in GROUPS]
        told = [*(int(one.right) for one in own), int(own[1].pivotal)]
        lines.append(f"| {name} | " + " | ".join(f"{n} of {int(own[0].seeds)}" for n in told) + " |")
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

Which genes are the markers, the cells, the network and its transcoders are new in each of {seeds} seeds. A ranking is
right in a cell where the genes of largest effect, as many as the cell counts of the rule's markers, are these; in a
seed, where it is right in more than half of the seed's cells ({half} with A and not B, {half} with A and B, {cells}
with A and C). In cells with A and B the rule hangs on B alone, so the last columns ask for B first.

## Which genes lead

{rankings}

Random transcoders keep each row's length and the number of active latents, and are drawn anew for each cell. What they
leave over is an error node, where paths end, so the direct paths of their graph are those of the trained one: what
attention alone carries is found by them too; *through features alone* leaves those paths out.

## Which genes lead in the mean over cells

What `cellglass trace --class` ranks genes by: the mean effect over cells that hang on the same markers ({half}, {half}
and {cells} of a seed), 0 where a gene is not counted. Seeds in which the markers lead:

{classes}

## Where heads cannot choose

The same cells, rules and seeds, but queries and keys stay 0: every head looks at all tokens before it alike, and no
pattern can hold a rule. Accuracy on unseen cells: {even_known} on average.

{alike}

In the mean over cells that hang on the same markers:

{alike_classes}

## What it says

Wanted were the rule's genes in nine of ten seeds with trained transcoders, in at most one with random ones, and more
paths of two features for the second rule. Read the rows against that; of networks as they learn none of the three
groups of cells meets all.

- A gene that the answer hangs on by being there (A, not B) leads in the graph of trained transcoders. With random ones
  it leads in far fewer seeds, but in more than one: attention, which is not random, has picked the markers already.
- Genes that act on what *another* gene is worth (B, which vetoes A; C, which lets A count) are often missed: others
  stand above them, where deletion and occlusion in the real model put them first. Credit for patterns to first order
  does not mend that.
- **What deletion takes through features**, of both inputs, finds the genes that the rule hangs on (A without B; B first
  of A and B; A with C) in {lost} of {seeds} seeds, with random transcoders in {random_lost}. Where heads cannot choose,
  and patterns can hold nothing, in {even_lost}, with random ones in {even_random_lost}; total effects there in
  {even_total}: B keeps features out, which are not active and have no node.
- *Removal*, which is to first order, misses most of them ({removal}; where heads cannot choose {even_removal}), though
  over all genes of real cells it follows deletions well: it does not see features that come on either.
- Cells with A and C are no test of features: direct paths alone rank A and C first more often than features do, so
  random transcoders, whose direct paths are the same, do as well or better.
- In graphs of single cells the second rule does not show as two hops: its genes' paths pass two or more features less
  than the first rule's. In the circuit of a class it shows in part, where heads cannot choose (section below): a path
  of A or D through features of two layers is listed in half of the seeds, with random transcoders in none, whose paths
  are some forty times weaker. C, which says which of the two counts, has none that is listed in any seed. Whose path is
  the first of such says nothing: it is the rule's with random transcoders too, since attention reads these genes.
- The mean over cells of one kind does not mend it: the total effect finds the markers in one more seed of ten than most
  single cells do, or in none more; of A and C random transcoders are ahead of it here too.
- Correlation over cells finds the markers of a rule that adds up, without any model, but not C.

## Networks and transcoders

GPT-NeoX of {layers} layers x {width}, trained on the type alone and on new cells in every step, until 0.99 of 400
unseen cells are right (at most {steps} steps of {batch} cells; {taken} were taken).
Accuracy on 400 others: {known}.
TopK transcoders of {latents} latents, k {k}, trained on {transcoded} other cells; they leave over these shares of each
MLP's variance over a cell's tokens: {error}.

## How many features the paths of the rule's genes pass

Shares of the summed sizes of all paths from a pivotal gene to the answer, in graphs of all active features: one cell a
seed for each set of pivotal genes.

{paths}

## The second rule in the circuit of a class

Made by `python benchmarks/planted_hops.py --only "heads cannot choose"` and put here by `python docs/fill_readme.py`;
networks as they learn were not measured. The circuit of cells of which
the second rule alone is true, against cells of which none is: the merged graph of 20 cells of each, whatever they hang
on. A path shows the rule as two hops where it goes from A, C or D through features of two layers to the answer.
*Listed*: such a path stands among the 40 strongest of all, which the page lists; *first of all such*: of the paths of
genes that pass two layers, the strongest is of A, C or D; *its size*: mean over seeds of what the strongest one
carries, in units of the answer.

<!-- hops -->

<!-- /hops -->

{minutes} minutes of processes, added up, on {cpu}, one thread each, beside much other work; the section above apart.
"""
