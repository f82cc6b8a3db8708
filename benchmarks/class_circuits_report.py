"""The page of the study of class circuits, from its rows. Measures nothing.

``class_circuits.py`` measures, and calls `page_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from circuits_report import Found, wrapped
from common import Row
from planted_report import table

CIRCUIT, RANDOM, DIRECT = "class circuit", "random transcoders", "direct effects"
UNTRAINED, DE, MEAN = "untrained model, direct effects", "differential expression", "mean expression"
RANKINGS = (CIRCUIT, RANDOM, DIRECT, UNTRAINED, DE, MEAN)
"""Of genes."""
DIFFERENCE = ", difference"
"""What is put behind a ranking by the difference between two labels."""
FIRST = (10, 20)
"""Genes of a list that are held against sets."""
MARKERS = 50
"""First genes by differential expression that count as markers."""
MANY = 20
"""First genes that are named, and held against other lists."""
BY = ("effect", "difference")
"""What ranks a class circuit's features."""
OFF, AT_MEAN = "off", "at their mean"
"""Where features that are not kept stand."""
BARE = "no feature, no error"
"""Nothing in the place of the MLPs but what is the same in all cells."""
READ = "genes that are read"
"""The number of genes that may stand in lists."""
ALL = "all types"
"""What the mean over types is called."""
READING = Path(__file__).with_name("class_circuits_reading.md")
"""What the figures of the full study say; written by hand."""
SMALL = "A small run, to see that it works: its figures say nothing."

HEAD = """# What are circuits of classes worth? On real cells

Written by `python benchmarks/class_circuits.py {options}--json FILE --markdown FILE` on {cores} cores ({cpu}); one
thread, one seed.

{reading}

## What is asked of whom

A Cell2Sentence of {layers} layers of {width} ({genes} genes a cell), with its transcoders, is fitted to most of the
cells; circuits are of cells that neither has seen, of up to {cells} a label, and are tested on up to {tested} others.

{models}

{asked}
"""

OF_TYPES = """## First genes of types

How many of the first ten and twenty genes are known of the type (the literature's sets that come with cellglass; first
three columns), and how many are among its {markers} markers by differential expression in the cells that the model has
learnt (Welch's t). In brackets the mean of lists of genes that are read in as many cells, and the share of such lists
with as many hits. AUROC: of known genes among all that the model reads in one cell of twenty; a class circuit names
sixty, and others count as 0. Random transcoders: mean over {random} draws. *Direct effects* pass no feature and need no
transcoder. {counts}

{known}

The first ten of the class circuits and of differential expression; genes in both are bold:

{named}

By the *difference* of the effects between the two labels, without sign, and the known genes and markers of both:

{known_difference}

## First genes by what a deletion takes through features

Made by `python benchmarks/class_deletions.py` and put here by `python docs/fill_readme.py`; model, transcoders, types
and sets are those above, the cells the first of each class circuit's. Every gene that the model reads of a cell is
deleted in turn, which `cellglass trace --class TYPE --without all` does too. Known genes and markers among the first
ten, by signed mean over cells; random transcoders are one draw. The last column says whether so few cells give a steady
list: the Jaccard index of the first ten genes of one half of them and of the other, mean over types.

<!-- deletions -->

<!-- /deletions -->
"""

OF_CONDITIONS = """## First genes of a stimulus

How many of the first twenty genes of "stim" against "ctrl" are in the hallmark sets of the response to interferon alpha
or gamma, within each type, and of the mean over types.

{stimulus}

Of the mean over types, the first ten and twenty beside genes that are read as often, as above; the last columns are by
the difference between stimulated and control cells:

{all_types}

The first twenty of the mean over types: {first_of_all}

{donors}
"""

QUALITY = """## What circuits keep

The answer of a class is the difference of two labels' logits. *Features*: what all features together do to it in the
cells that test the circuit. *Contrast*: answers in cells of the class less those in cells of the other label; *without
features*: the share of the contrast that is left when every feature is off; *without errors too*: when what the
transcoders miss is off as well, so that attention alone carries it from the tokens.

{spans}

Share of what features do to the answer that is kept by the first n features of a class circuit, all others off, ±
standard deviation over cells; in brackets random features of the same layers and norms, and as many of the cell's own:

{shares}

Share of the *contrast* that is kept, and what is left of it without any feature (*none*). Random circuits are the same
features in every cell; in brackets their mean, and the largest of {draws}:

{contrasts}

## Whether halves of the cells agree

Jaccard index of the strongest features, genes and edges of two halves of a class's cells (in brackets that of random
sets as large, and of a half with the other label's cells); of weights, the correlation.

{halves}
"""


def page_of(
    rows: list[Row], about: dict[str, Any], size: dict[str, Any], asked: Mapping[str, Mapping[str, str]], *, quick: bool
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
        Of each part of the study, which class is told from which.
    quick
        Whether this is the small one, of which nothing was read.
    """
    only = f"--only {next(iter(asked))} " if len(asked) == 1 else ""
    found, network = Found(rows), size["network"]
    parts = [HEAD.format(
        layers=network.layers, width=network.width, genes=network.genes, cells=size["cells"], tested=size["tested"],
        options=only + ("--quick " if quick else ""), cores=about["cores"], cpu=about["cpu"],
        reading=SMALL if quick else READING.read_text(encoding="utf-8").strip(), models=models(found),
        asked=" ".join(f"*{part[0].upper()}{part[1:]}*: {'; '.join(f'{a} from {b}' for a, b in some.items())}."
                       for part, some in asked.items()),
    )]  # fmt: skip
    if "types" in asked:
        kinds = [*asked["types"]]
        parts.append(OF_TYPES.format(
            markers=MARKERS, random=size["random"], counts=counts(found, kinds),
            known=known(found, kinds, ""), named=named(found, kinds),
            known_difference=known(found, kinds, DIFFERENCE),
        ))  # fmt: skip
    if "conditions" in asked:
        first = "; ".join(f"{one}: {', '.join(genes(found, f'conditions, {ALL}', one))}" for one in (CIRCUIT, DE))
        parts.append(OF_CONDITIONS.format(
            stimulus=stimulus(found, [*asked["conditions"]]), all_types=all_types(found), first_of_all=f"{first}.",
            donors=donors(found),
        ))  # fmt: skip
    parts.append(QUALITY.format(
        spans=spans(found), shares=shares(found), draws=size["draws"],
        contrasts=contrasts(found), halves=halves(found),
    ))  # fmt: skip
    return "\n\n".join(wrapped(part) for part in "\n".join(parts).rstrip().split("\n\n")) + "\n"


def keys_of(found: Found) -> list[tuple[str, str]]:
    """Return every class with its key."""
    return [(name.split(", ", 1)[1], name) for name in found.names("answer")]


def tested(found: Found) -> list[tuple[str, str]]:
    """Return the classes whose circuits were tested on other cells, with their keys."""
    return [(one, key) for one, key in keys_of(found) if sizes_of(found, key)]


def models(found: Found) -> str:
    """Return the table of the two models."""
    accuracy, share = "accuracy on unseen cells", "share kept of layers from 1 on"
    rows = []
    for part in found.names("cells"):
        own = [found.told(accuracy, f"{part}, {name}") for name in (
            "Cell2Sentence", "Cell2Sentence, condition", "logistic regression, the genes that it reads",
            "logistic regression, all counts")]  # fmt: skip
        cells = [f"{found.values[name, part]:,.0f}" for name in ("cells", "cells, learnt from")]
        rows.append([part, *cells, *own, *(found.told(share, f"{part}, {name}", 3) for name in ("genes", "label"))])
    head = ["cells", "learnt from", "labels named", "condition named", "regression, genes read", "all counts",
            "transcoders keep, genes", "label"]  # fmt: skip
    return table(["", *head], rows)


def counts(found: Found, classes: Sequence[str]) -> str:
    """Return how many genes may stand in lists, and how many of them are known."""
    told = []
    for one in classes:
        read, known_of_it = (found.values[name, f"types, {one}"] for name in (READ, f"known {READ}"))
        told.append(f"{known_of_it:.0f} of {read:.0f} of {one}")
    return f"Of the genes that are read so often few are known: {', '.join(told)}."


def hits(found: Found, what: str, n: int, way: str, name: str) -> str:
    """Return hits of a list with its null and p."""
    metric = f"{what} among first {n}{way}"
    if (metric, name) not in found.values:
        return ""
    own, null, p = (found.values.get((f"{metric}{more}", name)) for more in ("", ", null", ", p"))
    return f"{own:.3g} ({null:.1f}" + ("" if p is None else f", p {p:.2g}") + ")"


def known(found: Found, classes: Sequence[str], way: str) -> str:
    """Return the table of what first genes of types are."""
    rows = []
    for one in classes:
        for ranking in RANKINGS:
            name = f"types, {one}, {ranking}"
            if (f"known among first {FIRST[0]}{way}", name) not in found.values:
                continue
            told = [hits(found, "known", n, way, name) for n in FIRST]
            area = found.told(f"AUROC of known{way}", name)
            rows.append([f"{one}: {ranking}", *told, area, *(hits(found, "markers", n, way, name) for n in FIRST)])
    return table(["", *(f"known, first {n}" for n in FIRST), "AUROC", *(f"markers, first {n}" for n in FIRST)], rows)


def genes(found: Found, key: str, ranking: str) -> list[str]:
    """Return the first genes of a list."""
    start = f"{key}, "
    return [name.removeprefix(start) for name in found.names(f"first genes, {ranking}") if name.startswith(start)]


def named(found: Found, classes: Sequence[str]) -> str:
    """Return the table of the first genes of types."""
    rows = []
    for one in classes:
        lists = [genes(found, f"types, {one}", ranking)[: FIRST[0]] for ranking in (CIRCUIT, DE)]
        both = {*lists[0]} & {*lists[1]}
        rows.append([one, *(", ".join(f"**{name}**" if name in both else name for name in some) for some in lists)])
    return table(["", CIRCUIT, DE], rows)


def stimulus(found: Found, classes: Sequence[str]) -> str:
    """Return the table of known genes among the first twenty, by type."""
    rows = []
    for ranking in RANKINGS:
        told = [hits(found, "known", FIRST[1], "", f"conditions, {one}, {ranking}") for one in (*classes, ALL)]
        rows.append([ranking, *told])
    return table(["", *(one.split(", ")[0] for one in classes), ALL], rows)


def all_types(found: Found) -> str:
    """Return the table of known genes of the mean over types."""
    rows = []
    for ranking in RANKINGS:
        name = f"conditions, {ALL}, {ranking}"
        told = []
        for way in ("", DIFFERENCE):
            told += [hits(found, "known", n, way, name) for n in FIRST] + [found.told(f"AUROC of known{way}", name)]
        rows.append([ranking, *told])
    columns = [f"first {n}" for n in FIRST] + ["AUROC"]
    return table(["", *columns, *(f"{name}, by difference" for name in columns)], rows)


def spans(found: Found) -> str:
    """Return the table of what features do in all."""
    rows = []
    for one, key in keys_of(found):
        sizes = sizes_of(found, key)
        span = found.values.get((f"kept, live: span, others {OFF}", f"{key}, {BY[0]}, {sizes[0]}")) if sizes else None
        none = [found.told(f"contrast kept, others {OFF}", f"{key}, {name}") for name in ("no feature", BARE)]
        rows.append([
            one, *(found.told(what, key, 0) for what in ("cells traced", "cells traced, other")),
            *(f"{found.values[what, key]:+.2f}" for what in ("answer", "answer, other")),
            "" if span is None else f"{span:+.2f}", found.told(f"contrast, others {OFF}", key),
            *none,
        ])  # fmt: skip
    head = [
        "cells",
        "of the other label",
        "answer",
        "answer, other label",
        "features",
        "contrast",
        "without features",
        "without errors too",
    ]
    return table(["", *head], rows)


def sizes_of(found: Found, key: str) -> list[int]:
    """Return the sizes of the circuits of a class."""
    start = f"{key}, {BY[0]}, "
    names = found.names(f"kept, live: share, others {OFF}")
    return [int(name.removeprefix(start)) for name in names if name.startswith(start)]


def shares(found: Found) -> str:
    """Return the table of what circuits keep of the answer."""
    rows, sizes = [], sorted({n for _, key in tested(found) for n in sizes_of(found, key)})
    for one, key in tested(found):
        for by in BY:
            told = []
            for n in sizes:
                share, sd, random, own = (
                    found.values.get((f"kept, live: {what}, others {OFF}", f"{key}, {by}, {n}"))
                    for what in ("share", "sd", "random", "own")
                )
                told.append("" if share is None else f"{share:.2f}" + ("" if sd is None else f" ± {sd:.2f}")
                            + f" ({random:.2f}; {own:.2f})")  # fmt: skip
            rows.append([f"{one}: by {by}", *told])
    return table(["", *map(str, sizes)], rows)


def contrasts(found: Found) -> str:
    """Return the table of what circuits keep of the contrast."""
    rows, sizes = [], sorted({n for _, key in tested(found) for n in sizes_of(found, key)})
    for one, key in tested(found):
        for filled in (OFF, AT_MEAN):
            for by in BY:
                told = []
                for n in sizes:
                    own, random, most = (
                        found.told(f"contrast kept{more}, others {filled}", f"{key}, {by}, {n}")
                        for more in ("", ", random", ", random, most")
                    )
                    told.append(f"{own} ({random}, {most})" if own else "")
                none = found.told(f"contrast kept, others {filled}", f"{key}, no feature")
                rows.append([f"{one}: by {by}, others {filled}", none, *told])
    return table(["", "none", *map(str, sizes)], rows)


def halves(found: Found) -> str:
    """Return the table of how far halves of the cells agree."""
    rows, kinds = [], ("features", "genes", "edges", "weights")
    for one, key in keys_of(found):
        told = []
        for kind in kinds:
            mean, null, other = (found.told(f"halves, {kind}: {what}", key) for what in ("mean", "null", "other"))
            told.append(f"{mean} ({null}; {other})" if mean else "")
        if any(told):
            rows.append([one, *told])
    return table(["", *kinds], rows) if rows else "No class has four units."


def donors(found: Found) -> str:
    """Return how far first genes agree between donors and types."""
    told = []
    for what in ("donors", "types"):
        metric = f"first genes of two {what}, Jaccard"
        told.append(f"{what} {found.told(metric, f'conditions, {CIRCUIT}')} by class circuits and "
                    f"{found.told(metric, f'conditions, {DE}')} by differential expression")  # fmt: skip
    return f"Jaccard index of the first {MANY} genes of a stimulus, between two {'; between two '.join(told)}."
