"""The page of the study of circuits, from its rows. Measures nothing.

``circuits.py`` measures, and calls `page_of`.
"""

from __future__ import annotations

import textwrap
from typing import Any

from common import Row
from planted_report import table

FILLED = ("total effect", "total effect, others at their mean")
"""Circuits by total effects, with what is not kept off, and at its mean."""
WAYS = (*FILLED, "influence", "live credit")
"""In which circuits are chosen, and tested."""
CHECKS = ("deletion", "deletion in place", "occlusion")
"""What rankings of genes are held against."""
FIRST = 10
"""Genes of a circuit, and markers, that are named."""
MATTER = 20
"""Genes of a cell, the largest by either of two rankings, whose agreement is also told by itself."""
COLUMNS = ("original", "replaced", "zeroed", "kept", "l0", "error")
"""Of the table of losses, those that the page has."""

HEAD = """# How good are circuits? On {source}

Written by `python benchmarks/circuits.py {options}--json FILE --markdown FILE` on {cores} cores ({cpu}); one thread.

A Cell2Sentence of {layers} layers of {width} (GPT-NeoX, {genes} genes a cell) fitted to six sevenths of the {n}
{source} with their labels{dropped}; TopK transcoders with {latents} latents, {k} of them active, of the same cells; one
seed. Circuits are of {cells} of the cells that neither has seen: {asked}. Mean ±
standard deviation over cells.

The model names {own} of the {unseen} unseen cells' labels, a logistic regression on the genes that it reads of each
cell (those among its first {genes}) {read}, one on all counts {plain}.

## What transcoders keep

Of the work of the MLPs of layers from 1 on (layer 0, a lookup table, apart), on cells that no transcoder has seen:
{kept}.

## Scores of graphs

{scores}

Of {scored} cells. *bare*: without any feature. *Rewired*: edges exchanged and weights shuffled at random, within each
kind of source, or across kinds.

## Faithfulness

Share of the answer (the difference of two labels' logits) that is left in the real model when all features are off but
n nodes (layer, token, feature) of some {nodes}; the errors of transcoders stay. Cells count by what features do in
them. Random circuits have as many nodes of each layer and of like norm, and may share nodes with the circuit: {shared}
of {largest} nodes. Those that share none with it have norms as near as there are: {norms} of the circuit's.

{faithful}

*Others at their mean*: every feature that is not kept stands at its mean over cells of the two types, at every token,
in place of off. By type, circuits of nodes with the largest total effects; in brackets random ones, their mean and the
largest of {draws}:

{by_type}

## Genes

How rankings of a cell's genes agree with what the real model's answer loses when the gene's count is 0 (*deletion*:
tokens are made anew, those behind move up, and the next gene comes in), when no token looks at the gene's and all keep
their places (*in place*), and when its states are hidden in their place (*occlusion*). Over all genes of a cell, some
{genes_read}; *of {matter}*: over the {matter} largest by either. *Removal* is what the circuit says that deletion
takes, to first order, by one pass there and back for all genes: every pattern is shared out anew without the gene, at
the new places of tokens. Of *random transcoders* it knows what attention carries to the answer, and of features
nothing. Differential expression, between the two types in the cells that the model was fitted to, knows no model.

{ranked}

The first {first} genes of the circuits, by their total effects (mean over the traced cells of a type, 0 where a cell
lacks the gene), and the first {first} markers, by differential expression of the type and the one that it is told from:

{named}

## Stability

Spearman's correlation of genes' effects, and the Jaccard index of the top ten genes and features: between cells of one
type, after a fifth of the counts has dropped out, and in another order of equal counts.

{stable}

## Kinds of transcoders

Transcoders for each layer, the same with a linear map beside the latents, and one whose latents write to all later
layers too, with as many active latents a layer and each trained for {steps:,} steps on some {rows:,} tokens. *Kept*
is of the layers from 1 on together, with their loss as it is, with transcoders and with zeros; L0 and error are means
over these layers.

{kinds}

Trained for half as many steps, and for twice as many, they keep, with the error in brackets:

{steps_table}
"""

SIZES = (10, 30, 100, 300, 1000)


class Found:
    """Figures by metric and name, as the page tells them."""

    def __init__(self, rows: list[Row]) -> None:
        self.values = {(row.metric, row.name): row.value for row in rows}

    def told(self, metric: str, name: str, digits: int = 2) -> str:
        """Return a figure with its standard deviation, or nothing where there is none."""
        value, sd = self.values.get((metric, name)), self.values.get((f"{metric}, sd", name))
        return "" if value is None else f"{value:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")

    def names(self, metric: str) -> list[str]:
        """Return the names that have a metric, in order."""
        return [name for held, name in self.values if held == metric]

    def starting(self, start: str) -> list[str]:
        """Return what metrics of a start go on with, each once."""
        held = [metric.removeprefix(start) for metric, _ in self.values if metric.startswith(start)]
        return [name for name in dict.fromkeys(held) if not name.endswith(", sd")]


def page_of(
    rows: list[Row], about: dict[str, Any], size: dict[str, Any], asked: tuple[str, str], types: dict[str, str]
) -> str:
    """Return the page of results.

    Parameters
    ----------
    rows
        What was measured.
    about
        The machine.
    size
        Of the study.
    asked
        The options that the page's command has, and what its cells are called.
    types
        Which type is told from which.
    """
    found = Found(rows)
    unseen, share = "accuracy on unseen cells", "share kept of layers from 1 on"
    largest = max(n for n in SIZES if ("share kept, live", f"{WAYS[0]}, {n}") in found.values)
    own, read, plain = (f"{found.values[unseen, name]:.0%}" for name in found.names(unseen))
    page = HEAD.format(
        **{name: value for name, value in size.items() if name != "dropped"} | {
            "cells": f"{found.values['cells', 'traced']:.0f}", "scored": f"{found.values['cells', 'scored']:.0f}",
        },
        dropped=", each with up to {:.0%} of its genes dropped anew in each epoch".format(size["dropped"])
        if size["dropped"] else "",
        unseen=f"{found.values['cells', 'unseen']:,.0f}", matter=MATTER, largest=f"{largest:,}",
        genes_read=f"{found.values['genes of a cell', '']:.0f}", steps_table=by_steps(found, size["steps"]),
        shared=f"{found.values['random circuits: shared', f'{WAYS[0]}, {largest}']:.0%}",
        norms=f"{found.values['random circuits: norm_apart', f'{WAYS[0]}, {largest}']:.2f}",
        options=asked[0], source=asked[1], cores=about["cores"], cpu=about["cpu"], latents=8 * size["width"],
        n=f"{found.values['cells', 'all']:,.0f}", own=own, read=read, plain=plain, first=FIRST,
        asked=", ".join(f"{one} told from {other}" for one, other in types.items()),
        kept=", ".join(f"{name} {found.told(share, name, 3)}" for name in found.names(share)),
        scores=table(
            ["", "replacement", "completeness"],
            [[name, *(found.told(what, name) for what in ("replacement", "completeness"))]
             for name in found.names("replacement")],
        ),
        nodes=f"{found.values['active nodes of a cell', '']:,.0f}",
        faithful=faithful(found), by_type=by_type(found, types), ranked=ranked(found), named=named(found, types),
        stable=table(["", *types], [
            [what, *(found.told(f"stability, {what}", one) for one in types)] for what in found.starting("stability, ")
        ]),
        kinds=kinds(found),
    )  # fmt: skip
    return "\n\n".join(wrapped(part) for part in page.rstrip().split("\n\n")) + "\n"


def wrapped(paragraph: str) -> str:
    """Return a paragraph in lines of even length; tables and headings as they are."""
    if paragraph.startswith(("|", "#")):
        return paragraph
    return textwrap.fill(paragraph, 120, break_long_words=False, break_on_hyphens=False)


def faithful(found: Found) -> str:
    """Return the table of what circuits keep, by size."""
    sizes = [n for n in SIZES if ("share kept, live", f"{WAYS[0]}, {n}") in found.values]
    curves = []
    for way in WAYS:
        for label, metric, prefix in (
            (way, "share kept, live", way),
            (f"{way}, patterns frozen", "share kept, frozen", way),
            (f"random, like that by {way}", "share kept, live", f"random like {way}"),
            (f"random, none of that by {way}", "share kept, live", f"random apart from {way}"),
            (f"{way}: lost when it alone is taken out", "share lost, live", way),
        ):
            curves.append([label, *(found.told(metric, f"{prefix}, {n}") for n in sizes)])
    return table(["circuit", *(f"{n:,}" for n in sizes)], curves)


def by_type(found: Found, types: dict[str, str]) -> str:
    """Return the table of what circuits of each type keep, beside random ones."""
    sizes = [n for n in SIZES if found.names(f"share kept by {FILLED[0]}, {n}")]
    rows = []
    for one, way in ((one, way) for one in types for way in FILLED):
        cells = []
        for n in sizes:
            own, mean, high = (
                found.told(f"{what} kept by {way}, {n}", one) for what in ("share", "random", "random_high")
            )
            cells.append(f"{own} ({mean}, {high})")
        rows.append([f"{one}: {way}", *cells])
    return table(["", *(f"{n:,}" for n in sizes)], rows)


def ranked(found: Found) -> str:
    """Return the table of how rankings of genes agree."""
    methods = ("spearman", "pearson", f"spearman of {MATTER}")
    checks = [(check, how) for check in CHECKS for how in methods[: 3 if check == CHECKS[0] else 2]]
    ways = ["occlusion", *(name for name in found.names("genes against deletion, spearman") if name != "occlusion")]
    return table(
        ["", *(f"{check}, {how.capitalize()}" for check, how in checks)],
        [[way, *(found.told(f"genes against {check}, {how}", way) for check, how in checks)] for way in ways],
    )


def named(found: Found, types: dict[str, str]) -> str:
    """Return the table of the first genes of circuits beside the first markers; those in both are bold."""
    rows = []
    for one in types:
        genes, markers = (found.names(f"{what}, {one}") for what in ("first genes of circuits", "first markers"))
        both = {*genes} & {*markers}
        told = [", ".join(f"**{name}**" if name in both else name for name in names) for names in (genes, markers)]
        rows.append([one, *told, str(len(both))])
    return table(["", "circuits", "markers", "in both"], rows)


def kinds(found: Found) -> str:
    """Return the table of what kinds of transcoders keep."""
    rows = []
    for what in found.starting("original of "):
        loss, kind = what.split(", ", 1)
        told = [found.told(f"{column} of {what}", "1+", 3) for column in COLUMNS]
        rows.append([kind, loss, *told])
    return table(["transcoders", "loss", "as is", "replaced", "zeros", "kept", "L0", "error"], rows)


def by_steps(found: Found, steps: int) -> str:
    """Return the table of what kinds of transcoders keep by the steps of their training."""
    times = sorted({float(name.rsplit(", ", 1)[1]) for name in found.names("steps")})
    rows = []
    for what in found.starting("kept of "):
        loss, kind = what.split(", ", 1)
        cells = []
        for one in times:
            start = "" if one == 1 else f"steps {one:g}: "
            kept, error = (found.told(f"{start}{column} of {what}", "1+", 3) for column in ("kept", "error"))
            cells.append(f"{kept} ({error})")
        rows.append([kind, loss, *cells])
    return table(["transcoders", "loss", *(f"{round(one * steps):,} steps" for one in times)], rows)
