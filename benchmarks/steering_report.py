"""Writes what `steering` measured as a page; computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import Row
from planted_report import table

from cellglass.vocabulary import STEERED

READING = Path(__file__).with_name("steering_reading.md")
"""The reading of the run that the repository holds; stands below the tables, and is written by hand."""

WAYS = ("concepts", "difference", "pca", "random concepts", "random", "expression")
VARIANTS = {"other types": "Other types", "other donor": "The other donor", "type never seen": "A type never seen"}
METRICS = {
    "pearson": "Pearson's correlation over all genes",
    "pearson_top": "The same over the 50 genes that really change most",
    "sign": "Share of these 50 whose sign is right (no change: 0.50)",
    "explained": "Share of the squared change that is predicted (no change: 0; below 0: no change were better)",
    "interferon": "AUROC of the genes of HALLMARK_INTERFERON_ALPHA_RESPONSE by predicted change",
}
_HEAD = """# Steering by concepts, against a real response

Written by `python benchmarks/steering.py --json benchmarks/results/steering.json --markdown docs/results/steering.md`
on {cores} cores ({cpu}); {seeds}.

kang_ctrl_stim_1556x1267: 1,556 blood cells of two donors before and after interferon-beta, five types. scVI and its
concepts are fitted to all of these cells as `cellglass run` fits them, without labels. The control cells of a type are
moved at `z` by the mean shift of the concepts *in the other types* (each type counted alike), decoded, and the change
of each gene is compared with the real one of that type ([formulas and controls](../interventions.md)). So nothing that
moves the cells has seen the type's response; but scVI and the dictionary were fitted to its stimulated cells too, and
the decoder knows them. Below, the same with the shift of the same type in *the other donor*, and with a *type never
seen*: there its stimulated cells are left out of all fits (one seed).

**Mean difference of expression** is the change of each gene in the other cells, without any model: the trivial rival.
**Random** concepts and directions move each cell as far as the concepts do, mean over 10 draws. **Two halves**: the
real change in halves of the type's cells, noisier than the whole that predictions are held against; **most** is what a
prediction without fault would reach with the whole, √(2 r / (1 + r)) of the halves' correlation r. Mean ± standard
deviation over seeds.
"""


def markdown(rows: Sequence[Row], about: dict[str, Any], seeds: int) -> str:
    """Return the page."""
    found = {(row.metric, row.name): row.value for row in rows}
    types = list(dict.fromkeys(row.name.split(": ")[1] for row in rows))
    told = f"{seeds} seeds of everything" if seeds > 1 else "one seed"
    parts = [_HEAD.format(cores=about["cores"], cpu=about["cpu"], seeds=told)]
    for variant, title in VARIANTS.items():
        if not any(row.name.startswith(f"{variant}: ") for row in rows):
            continue
        parts.append(f"## {title}\n")
        for metric, words in METRICS.items():
            parts.append(f"{words}:\n\n{_metric(found, variant, metric, types)}\n")
    parts += [
        f"## Doses\n\nOther types; Pearson's correlation, and the share of the squared change that is predicted:\n\n"
        f"{_doses(found, types)}\n",
        f"## How many concepts\n\n{_concepts(found, types)}\n",
    ]
    if READING.exists() and seeds > 1:
        parts.append(READING.read_text(encoding="utf-8").rstrip())
    return "\n".join(parts).rstrip() + "\n"


def _metric(found: dict[tuple[str, str], float], variant: str, metric: str, types: Sequence[str]) -> str:
    ceilings = {"pearson": ("halves", "most"), "pearson_top": ("halves",), "sign": ("halves",), "interferon": ("real",)}
    titles = {"halves": "two halves of the type's cells", "most": "**most**", "real": "the real change"}
    lines = [[STEERED[way], *(_spread(found, metric, f"{variant}: {name}: {way}") for name in types)] for way in WAYS]
    for way in () if variant == "other donor" else ceilings.get(metric, ()):  # of both donors
        lines.append([titles[way], *(_spread(found, metric, f"halves: {name}: {way}") for name in types)])
    return table(["", *types], lines)


def _doses(found: dict[tuple[str, str], float], types: Sequence[str]) -> str:
    lines = []
    for way in ("concepts", "difference"):
        for dose in ("0.25", "0.5", "1", "2"):
            name = way if dose == "1" else f"{way}, dose {dose}"
            cells = [
                " / ".join(_value(found, metric, f"other types: {one}: {name}") for metric in ("pearson", "explained"))
                for one in types
            ]
            lines.append([f"{STEERED[way]}, {dose}", *cells])
    return table(["", *types], lines)


def _concepts(found: dict[tuple[str, str], float], types: Sequence[str]) -> str:
    """Return the table of sets of concepts."""
    wanted = {
        "concepts": ("concepts", "concepts"),
        "share of the others' difference that they carry": ("carried, learnt", "concepts"),
        "share of the type's own difference": ("carried", "concepts"),
        "the same of the others' mean difference": ("carried", "difference"),
        "length of the shift": ("moved", "concepts"),
        "length of the mean difference": ("moved", "difference"),
        "fewest that carry 50 % of the others'": ("concepts", "fewest, 0.5"),
        "Pearson's correlation of these": ("pearson", "fewest, 0.5"),
        "of as many random ones": ("pearson", "random for fewest, 0.5"),
        "fewest that carry 90 %": ("concepts", "fewest, 0.9"),
        "Pearson's correlation of those": ("pearson", "fewest, 0.9"),
        "of as many random ones, again": ("pearson", "random for fewest, 0.9"),
    }
    lines = []
    for title, (metric, way) in wanted.items():
        digits = 1 if metric == "concepts" else 2
        lines.append([title, *(_spread(found, metric, f"other types: {name}: {way}", digits) for name in types)])
    return table(["other types", *types], lines)


def _value(found: dict[tuple[str, str], float], metric: str, name: str, digits: int = 2) -> str:
    return f"{found[metric, name]:.{digits}f}" if (metric, name) in found else ""


def _spread(found: dict[tuple[str, str], float], metric: str, name: str, digits: int = 2) -> str:
    sd = _value(found, f"{metric}, sd", name, digits)
    return _value(found, metric, name, digits) + (f" ± {sd}" if sd else "")
