"""What a person sees in a terminal: bars for what is going on, and tables of what came out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from cellglass.progress import Progress as Listener
from cellglass.progress import silent


@contextmanager
def listening(*, quiet: bool = False) -> Iterator[Listener]:
    """Yield a listener that draws one bar for each thing that is told of; on a pipe, one line as each ends."""
    if quiet:
        yield silent
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        yield _Bars(bars)


class _Bars:
    """Draws each told thing as a bar; a total of 0 is a bar without an end."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, Any] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(escape(what), total=total or None)
        self.bars.update(self.tasks[what], completed=done, total=total or None)


class _Lines:
    """Prints a line when a thing begins, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seen: set[str] = set()

    def __call__(self, what: str, done: int, total: int) -> None:  # noqa: ARG002  # the listener's face
        if what not in self.seen:
            self.seen.add(what)
            self.console.print(escape(f"... {what}"), highlight=False)


def show_summary(summary: Mapping[str, Any]) -> None:
    """Print what an atlas holds and its metrics."""
    console = Console()
    console.print(escape(summary["title"]), style="bold", highlight=False)
    coverage = summary.get("coverage") or {}
    if coverage.get("missing") or coverage.get("unknown"):
        console.print(
            f"Of the model's genes the cells have {coverage['found']:,} and lack {coverage['missing']:,}; "
            f"{coverage['unknown']:,} genes of the cells are unknown to the model.",
            highlight=False,
        )
    metrics = Table("metric", "value", "spread", "null", box=None, pad_edge=False, header_style="dim")
    for record in summary["evaluation"]:
        if _is_shown(record["metric"]):
            metrics.add_row(escape(record["metric"]), *(_number(record[key]) for key in ("value", "spread", "null")))
    console.print(metrics)
    if summary.get("consensus") is not None:
        console.print(
            f"\n{summary['consensus']} of {len(summary['concepts'])} concepts are found in most of the "
            f"{summary['other_seeds']} other seeds' dictionaries.",
            highlight=False,
        )
    concepts = Table(
        *("concept", "cells", "best label (F1)", "genes that drive it", "by their absence"),
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    for concept in summary["concepts"][:10]:
        by_chance = (
            f"; {concept['best_label_null']:.2f} by chance" if concept.get("best_label_null") is not None else ""
        )
        label = f"{concept['best_label']} ({concept['best_label_f1']:.2f}{by_chance})" if concept["best_label"] else ""
        absent = ", ".join(concept.get("absent_genes", [])[:3])
        cells = f"{concept['density']:.1%}"
        concepts.add_row(*map(escape, (concept["name"], cells, label, ", ".join(concept["genes"][:6]), absent)))
    console.print(f"\nThe ten concepts that fit a label best, of {len(summary['concepts'])}:", highlight=False)
    console.print(concepts)


def show_comparison(found: Mapping[str, Any]) -> None:
    """Print how far two atlases agree: each figure beside its control, the best pairs, and what is left over."""
    console = Console()
    for side in "ab":
        facts = found[side]
        what = f"{facts['alive']} concepts, {facts['dictionary']}, in {facts['cells']:,} cells"
        console.print(escape(f"{side.upper()}  {what}: {facts['path']}"), style="bold", highlight=False)
    for line in (f"Site: {found['site']}", f"Cells in both: {found['cells']}", *found["notes"]):
        console.print(escape(line), style="dim", highlight=False)
    console.print(_figures(found))
    way = found["measures"][0]["way"]
    similarity = {"activations": "coactivation", "directions": "cosine"}[way]
    partners = [pair for pair in found["pairs"] if pair["partner"]]
    console.print(f"\nMatched by {way}: {len(partners)} pairs with at least {found['threshold']:g}.", highlight=False)
    table = Table("", "concept of A", "its partner in B", box=None, pad_edge=False, header_style="dim")
    for pair in partners[:10]:
        table.add_row(_number(pair[similarity]), escape(pair["a_concept"]), escape(pair["b_concept"]))
    console.print(table)
    for side, other in (("a", "B"), ("b", "A")):
        alone = [p[f"{side}_concept"] for p in found["pairs"] if not p["partner"] and p[f"{side}_latent"] is not None]
        if alone:
            first = "; ".join(alone[:5]) + (f"; and {len(alone) - 5} more" if len(alone) > 5 else "")
            text = f"{len(alone)} concepts of {side.upper()} have no partner in {other}: {first}"
            console.print(escape(f"\n{text}"), highlight=False)


_WORDS = {
    "matched": "one-to-one pairs, mean",
    "best": "best partner, mean",
    "above": "pairs with at least",
    "found_a": "A's concepts with a partner",
    "carried_a": "A's activations that these carry",
    "found_b": "B's concepts with a partner",
    "carried_b": "B's activations that these carry",
}


def _figures(found: Mapping[str, Any]) -> Table:
    """Return a row for each measure and, for each way to match, the figure and its control."""
    ways = list(dict.fromkeys(record["way"] for record in found["measures"]))
    table = Table("", *(name for way in ways for name in (way, "chance")), box=None, pad_edge=False, header_style="dim")
    for measure in dict.fromkeys(record["measure"] for record in found["measures"]):
        name, _, cut = measure.partition("above_")
        label = f"{_WORDS['above']} {cut}" if cut else _WORDS[name]
        mine = [record for record in found["measures"] if record["measure"] == measure]
        table.add_row(label, *(_number(record[key]) for record in mine for key in ("value", "control")))
    return table


def show_agreement(found: Sequence[Mapping[str, Any]]) -> None:
    """Print, for each review, the agreement of its raters and how concepts were rated."""
    console = Console()
    for number, review in enumerate(found):
        raters = ", ".join(f"{one['rater']} {one['done']} of {review['of']}" for one in review["raters"])
        state = "ended" if review["ended"] else "not ended"
        console.print(
            escape(f"{'' if number == 0 else chr(10)}Review {review['session']} ({state})"),
            style="bold",
            highlight=False,
        )
        console.print(escape(f"Ratings: {raters}"), highlight=False)
        kappas = Table("weighted kappa", "value", "95 %", "pairs", box=None, pad_edge=False, header_style="dim")
        for one in review["within"]:
            kappas.add_row(escape(f"{one['rater']} with themselves"), *_kappa(one))
        for one in review["between"]:
            kappas.add_row(escape(" with ".join(one["raters"])), *_kappa(one))
        console.print(kappas)
        means = ", ".join(f"{kind} {_number(mean)}" for kind, mean in review["means"].items())
        console.print(escape(f"Mean rating: {means}"), highlight=False)
        for one in review["differences"]:
            console.print(
                escape(
                    f"{one['kind']} - {one['against']}: {_number(one['difference'])}, 95 % {_number(one['low'])} to "
                    f"{_number(one['high'])}, p {_number(one['p'])} ({one['n_items']} items, {one['n_raters']} raters, "
                    f"{one['method']})"
                ),
                highlight=False,
            )


def _kappa(one: Mapping[str, Any]) -> tuple[str, str, str]:
    ends = "" if one["low"] is None else f"{_number(one['low'])} to {_number(one['high'])}"
    return _number(one["kappa"]), ends, str(one["n"])


def show_sources(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the named gene-set sources."""
    table = Table("source", "sets", "where", "what", box=None, pad_edge=False, header_style="dim")
    for row in rows:
        table.add_row(*(escape(str(row[key])) for key in ("name", "sets", "where", "what")))
    Console().print(table)


_SHOWN = (
    "stability.concepts.coactivation.above_0.7",
    "stability.concepts.consensus",
    "stability.random.consensus",
)


def _is_shown(metric: str) -> bool:
    """Say whether a metric is worth a line here.

    Of alignment that of concepts; of stability the means over matched pairs and the shares that are found again; of
    annotation that of path effects.
    """
    if metric.startswith("alignment."):
        return metric.endswith(".concepts")
    if metric.startswith("stability."):
        return metric in _SHOWN or bool(re.search(r"^stability\.[^.]+(\.coactivation)?$", metric))
    return not re.search(r"^annotation\..*\.(swap|de)(\.calibrated)?$", metric)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
