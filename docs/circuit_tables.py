"""Tables of circuits in pages of docs, from the files of results; ``fill_readme.py`` puts them there."""

from __future__ import annotations

import json
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
Values = dict[tuple[str, str], float]

STEPS = {
    "capture": "capture, parameters x tokens",
    "step": "a step of a transcoder, rows x width x latents",
    "trace": "a cell's graph, parameters x tokens x targets",
    "deletion": "a gene's deletion, parameters x tokens",
}
PARTS = ("capture", "training", "table of losses", "class circuit", "deletions")
SPACE = ("checkpoint", "tokens on disk", "transcoders", "memory, training", "memory, tracing")
LISTED = 40
"""Paths that the explorer lists."""
RANKINGS = {
    "trained, total": "total effect",
    "random, total": "total effect, random transcoders",
    "trained, removal": "removal",
    "random, removal": "removal, random transcoders",
    "trained, features": "**deletion, through features**",
    "random, features": "deletion, through features, random transcoders",
    "trained, deletion": "deletion in the real model, no transcoder",
    "differential expression": "differential expression",
}


def read(name: str) -> tuple[Values, str]:
    """Return figures by metric and name, and the machine in words."""
    result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    about = result["machine"]
    return {(row["metric"], row["name"]): row["value"] for row in result["rows"]}, (
        f"{about['cpu']}, {about['cores']} cores"
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a markdown table; all columns but the first are numbers, or short."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(head), *lines[1:]]) + "\n"


def names(values: Values, metric: str) -> list[str]:
    """Return the names that have a metric."""
    return [name for held, name in values if held == metric]


# -- published checkpoints -------------------------------------------------------------------------------------------


def costs() -> str:
    """Return what the recipe takes of each published checkpoint."""
    values, about = read("published")
    models = names(values, "hours: capture")
    rows = [["parameters, of these no embedding", *(
        f"{values['parameters', one] / 1e6:,.0f} M, {values['parameters but embeddings', one] / 1e6:,.0f} M"
        for one in models)]]  # fmt: skip
    for part in PARTS:
        rows.append([f"{part}, hours of one core", *(f"{values[f'hours: {part}', one]:,.1f}" for one in models)])
    for part in SPACE:
        rows.append([f"{part}, GB", *(f"{values[f'GB: {part}', one]:,.1f}" for one in models)])
    end = (
        "Of 1,000 cells, 200 genes a cell, some 660 tokens (three a gene's name, which is assumed), 100,000 tokens to "
        "learn from, transcoders of 8 latents a dimension, 20 cells of each of two labels with 1,000 features a graph, "
        "and the deletion of every gene in 5 cells of each. Memory is of the arrays that are largest, the model's "
        f"weights among them. Estimated from rates on an {about}, one thread, which does "
        f"{2e-9 / values['capture: rate', 'gpt_neox']:.0f}e9 operations a second in capture; not run."
    )
    return table(["", *models], rows) + "\n" + end + "\n"


def rates() -> str:
    """Return what was measured, and the lines that were fitted."""
    values, about = read("published")
    architectures = names(values, "capture: rate")
    rows = []
    for architecture in architectures:
        sizes = [one for one in names(values, "capture: seconds") if one.startswith(f"{architecture} ")]
        for step, what in STEPS.items():
            taken = ", ".join(f"{values[f'{step}: seconds', one]:.3g}" for one in sizes)
            rows.append([
                f"{architecture}: {what}", f"{taken} s", f"{values[f'{step}: fixed', architecture]:.2g} s",
                f"{2e-9 / max(values[f'{step}: rate', architecture], 1e-30):,.1f}",
                f"{values[f'{step}: most that the line is off', architecture]:.0%}",
            ])  # fmt: skip
    sizes = "; ".join(", ".join(one.removeprefix(f"{a} ") for one in names(values, "capture: seconds")
                                if one.startswith(f"{a} ")) for a in architectures[:1])  # fmt: skip
    head = ["step, its work", f"layers x width: {sizes}", "fixed", "G operations / s beyond", "line off by at most"]
    end = (
        f"Measured on an {about}, one thread, in seconds of the processor, beside other work. Two operations are "
        "counted for each unit of work; a walk back passes the layers and tokens before its target alone, so a graph "
        "does fewer."
    )
    return table(head, rows) + "\n" + end + "\n"


# -- deletions -------------------------------------------------------------------------------------------------------


def deletions() -> str:
    """Return what first genes of types are by what a deletion takes through features, beside other rankings."""
    values, about = read("class_deletions")
    types = names(values, "cells")
    rows = []
    for ranking, what in RANKINGS.items():
        told = []
        for own in types:
            name = f"{own}, {ranking}"
            markers = values.get(("markers among first 10", name))
            known = values["known among first 10", name]
            told.append(f"{known:.3g}" if markers is None else f"{known:.3g}; {markers:.3g}")
        halves = [values.get(("halves, Jaccard of the first genes", f"{own}, {ranking}")) for own in types]
        agree = [one for one in halves if one is not None]
        rows.append([what, *told, f"{sum(agree) / len(agree):.2f}" if agree else ""])
    null = [["mean of lists of genes read as often, by the first row", *(
        "; ".join(f"{values[f'{kind} among first 10, null', f'{own}, trained, total']:.2g}"
                  for kind in ("known", "markers")) for own in types), ""]]  # fmt: skip
    lists = []
    for ranking in ("trained, total", "trained, features", "random, features"):
        for own in types:
            start = f"{own}, {ranking}, "
            genes = [name.removeprefix(start) for name in names(values, "first genes") if name.startswith(start)]
            lists.append([f"{own}: {RANKINGS[ranking].strip('*')}", ", ".join(genes)])
    accuracy = values["accuracy on unseen cells", "Cell2Sentence"]
    end = (
        f"{values['cells', types[0]]:.0f} cells of each type; the model names {accuracy:.2f} of unseen cells' labels. "
        f"Measured on an {about}."
    )
    return "\n".join(
        [
            table(["known; markers, of the first 10", *types, "halves agree, Jaccard"], rows + null),
            table(["", "first ten genes"], lists),
            f"{end}\n",
        ]
    )


# -- planted hops ----------------------------------------------------------------------------------------------------


def hops() -> str:
    """Return in how many seeds the circuit of a class shows the planted rule as two hops."""
    values, about = read("planted_hops")
    first = "the first path of a gene through two layers is of the rule"
    groups: dict[str, list[str]] = {}
    for name in names(values, first):
        network, _, kind = name.rsplit(", ", 2)
        groups.setdefault(f"{network}: {kind}", []).append(name)
    rows = []
    for group, some in groups.items():
        place = [[values[f"place of the first path through two layers, of {one}", name] for one in "ACD"]
                 for name in some]  # fmt: skip
        n = len(some)
        listed = [sum(0 < seed[i] <= LISTED for seed in place) for i in range(3)]
        both = sum(min(seed[:2]) > 0 and max(seed[:2]) <= LISTED for seed in place)
        led = sum(values[first, name] for name in some)
        shown = sum(any(0 < one <= LISTED for one in seed) for seed in place)
        size = sum(values["size of the strongest path of the rule through two layers", name] for name in some) / n
        told = (shown, *listed, both, round(led))
        rows.append([group, *(f"{one} of {n}" for one in told), f"{size:.3f}"])
    head = ["networks: transcoders", "any listed", "A listed", "C listed", "D listed", "A and C listed",
            "first of all such", "its size"]  # fmt: skip
    end = f"Measured on an {about}."
    return table(head, rows) + "\n" + end + "\n"
