"""What a person sees in a terminal: bars for what is going on, and tables of what came out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from cellglass.evaluation.audit import Finding
from cellglass.evaluation.depth import follows_depth
from cellglass.progress import Progress as Listener
from cellglass.progress import silent
from cellglass.vocabulary import SIGNIFICANT


@contextmanager
def listening(*, quiet: bool = False) -> Iterator[Listener]:
    """Yield a listener that draws one bar for each thing that is told of; on a pipe, lines with times."""
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


EVERY = 30.0
"""Seconds between two lines of one thing on a pipe."""


class _Lines:
    """Prints a line when a thing begins, ends, and every `EVERY` seconds between, for logs and pipes.

    Each begins with the time since the first; what is left is told as the rate so far foresees it.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = monotonic) -> None:
        self.console, self.clock, self.start = console, clock, clock()
        self.began: dict[str, tuple[float, int]] = {}
        self.told: dict[str, float] = {}
        self.last: dict[str, int] = {}
        self.ended: set[str] = set()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = self.clock()
        if what not in self.began:
            self.began[what], self.told[what] = (now, done), now
            self._print(now, f"{what} ...")
        elif done < self.last[what]:  # the next of the same name, such as another dictionary
            self.began[what], self.told[what] = (now, done), now
            self.ended.discard(what)
        self.last[what] = done
        begin, first = self.began[what]
        if total and done >= total:
            if what not in self.ended and now - begin >= 1:
                self._print(now, f"{what}: done in {_time(now - begin)}")
            self.ended.add(what)
        elif now - self.told[what] >= EVERY:
            self.told[what] = now
            left = (
                f", about {_time((now - begin) * (total - done) / (done - first))} left"
                if total and done > first
                else ""
            )
            self._print(now, f"{what}: {done:,} of {total:,}{left}" if total else f"{what}: {done:,}")

    def _print(self, now: float, text: str) -> None:
        self.console.print(escape(f"[{_time(now - self.start)}] {text}"), highlight=False, soft_wrap=True)


def _time(seconds: float) -> str:
    """Return minutes and seconds, and hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def show_summary(summary: Mapping[str, Any]) -> None:
    """Print what an atlas holds and its metrics."""
    console = Console()
    console.print(escape(summary["title"]), style="bold", highlight=False)
    if summary.get("coverage"):
        console.print(_coverage(summary["coverage"]), highlight=False)
    sets = summary.get("gene_sets")
    if sets is not None and (sets["mapped"] or not sets["sources"]):
        mapped = f"{', '.join(sets['mapped'])}, human sets by their one-to-one orthologs in mouse"
        console.print(escape(f"Gene sets: {mapped if sets['mapped'] else 'none was tested'}."), highlight=False)
    metrics = Table("metric", "value", "spread", "null", box=None, pad_edge=False, header_style="dim")
    for record in summary["evaluation"]:
        if _is_shown(record["metric"]):
            metrics.add_row(escape(record["metric"]), *(_number(record[key]) for key in ("value", "spread", "null")))
    console.print(metrics)
    for sentence in summary.get("verdicts", {}).values():
        console.print(escape(f"- {sentence}"), highlight=False)
    console.print(_heading(summary), highlight=False)
    if summary["concepts"]:
        console.print(_concepts(summary))
    deep = _depth(summary["concepts"])
    if deep:
        console.print(escape(deep), highlight=False)
    for line in _partners(summary):
        console.print(escape(line), highlight=False)
    for line in _LEGEND if summary["concepts"] else _LEGEND[-1:]:
        console.print(line, style="dim", highlight=False)


_LEGEND = (
    "F1 on held-out cells / its null (calling every cell, or shuffled labels where q is given), n: cells of the label, "
    "from: the activation from which on a cell counts as having the concept.",
    "Genes: -GENE drives the concept by its absence. In parentheses: not significant, or not above the null.",
    "All measurements with their definitions, and all concepts: cellglass info ATLAS --json",
)


_COLOURS = {"holds": "green", "doubtful": "yellow", "fails": "red", "not known": "dim"}


def show_audit(findings: Sequence[Finding]) -> None:
    """Print the answers of an audit, and how many of each verdict there are."""
    console = Console()
    for one in findings:
        console.print(f"[{_COLOURS[one.verdict]}]{one.verdict:<9}[/]  [bold]{escape(one.asks)}[/]", highlight=False)
        for line in (f"{one.figures}.", f"{one.remedy}." if one.remedy else "", f"({one.where})"):
            if line:
                said = escape(line[:1].upper() + line[1:])
                console.print(
                    Padding(said, (0, 0, 0, 11)), style="dim" if line == f"({one.where})" else "", highlight=False
                )
    counts = [f"{sum(one.verdict == name for one in findings)} {name}" for name in _COLOURS]
    console.print(f"\n{len(findings)} questions: {', '.join(counts)}", highlight=False)


def _depth(concepts: Sequence[Mapping[str, Any]]) -> str:
    """Return which concepts follow sequencing depth; nothing where none does."""
    found = [c for c in concepts if follows_depth(c["depth_correlation"])]
    if not found:
        return ""
    names = [f"{c['name']} ({c['depth_correlation']:+.2f})" for c in found]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (
        f"{len(found)} of {len(concepts)} concepts follow sequencing depth (correlation with log total counts): "
        f"{', '.join(names[:5])}{more}"
    )


def _partners(summary: Mapping[str, Any]) -> list[str]:
    """Return with which matching of partners concepts get other genes, a line each; none where it was not asked."""
    lines = []
    for name, found in (summary.get("partners") or {}).items():
        which = [c["name"] for c in summary["concepts"] if name in c.get("suspect_partners", ())]
        more = f" and {len(which) - 5} more" if len(which) > 5 else ""
        of = f": {', '.join(which[:5])}{more}" if which else ""
        lines.append(
            f"Partners matched for {name}: {found['suspect']} of {found['concepts']} concepts get other genes{of}"
            if name != "control"
            else f"Partners matched for nothing (control): {found['suspect']} of {found['concepts']}"
        )
    return lines


def _heading(summary: Mapping[str, Any]) -> str:
    """Return what the list of concepts says of its order."""
    n, rule = len(summary["concepts"]), summary["reproducibility"]
    if rule is None:
        return (
            f"\nThe {min(n, 10)} concepts that fit a label best, of {n} (one dictionary was fitted: nothing says which "
            "come back):"
        )
    if rule["by"] != "seeds":
        of = "donors" if rule["by"] == "donors" else "cells"
        rest = summary["alive"] - n
        if not n:
            return (
                f"\nNo concept comes back: nothing is found in both halves of at least {rule['least']:.0%} of "
                f"{rule['n']} pairs of disjoint halves of the {of}. {rest} residual latents help to reconstruct and "
                "are no findings. More cells, or another model or site, may show some; --dictionary topk shows all "
                "latents of one dictionary, of which nothing says that they come back."
            )
        return (
            f"\n{n} concepts come back: each is found in both halves of at least {rule['least']:.0%} of {rule['n']} "
            f"pairs of disjoint halves of the {of}. {rest} residual latents help to reconstruct and are no findings. "
            f"{'All' if n <= 10 else 'The first 10'}, by reproducibility and then by F1:"
        )
    found = sum((concept["reproducibility"] or 0) >= rule["least"] - 1e-6 for concept in summary["concepts"])
    return (
        f"\n{found} of {n} concepts are found in most of the {rule['n']} other seeds' dictionaries. {min(n, 10)} of "
        "them, by reproducibility, since what no other seed finds may be an accident of one training, and then by F1:"
    )


def _concepts(summary: Mapping[str, Any]) -> Table:
    """Return the first concepts, each figure with its null and its count."""
    known = summary["reproducibility"] is not None
    heads = ["concept", "cells", *(["comes back"] if known else []), "best label: F1 / null", "its strongest genes"]
    table = Table(*heads, box=None, pad_edge=False, header_style="dim")
    for concept in summary["concepts"][:10]:
        found = [_share(concept["reproducibility"])] if known else []
        genes = ", ".join(map(_gene, concept["genes"][:6]))
        table.add_row(
            escape(concept["name"]), f"{concept['density']:.1%}", *found, escape(_label(concept)), escape(genes)
        )
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _label(concept: Mapping[str, Any]) -> str:
    """Return a concept's best label with the F1, its null and q, and the number of its cells."""
    if not concept["best_label"]:
        return ""
    null, q, n = (concept.get(f"best_label_{name}") for name in ("null", "q", "n"))
    level = concept.get("best_label_threshold")
    parts = [f"{concept['best_label']}: {concept['best_label_f1']:.2f} / {'?' if null is None else f'{null:.2f}'}"]
    parts += [] if n is None else [f"n {int(n):,}"]
    parts += [] if level is None else [f"from {level:.2f}"]
    text = ", ".join([*parts, *([] if q is None else [f"q {q:.2g}"])])
    better = concept["best_label_f1"] > (null or 0) if q is None else q < SIGNIFICANT
    return text if better else f"({text})"


def _gene(gene: Mapping[str, Any]) -> str:
    """Return a gene's symbol, with a minus if its absence counts, in parentheses if it is not significant."""
    text = f"-{gene['symbol']}" if (gene["score"] or 0) < 0 else str(gene["symbol"])
    return text if gene["q"] is not None and gene["q"] < SIGNIFICANT else f"({text})"


def _coverage(found: Mapping[str, Any]) -> str:
    """Return in a line how the genes of the cells meet the model's."""
    genes = found["found"] + found["missing"]
    share = f" ({found['found'] / genes:.0%})" if genes else ""
    counts = f"; {found['counts']:.0%} of the cells' counts lie in them" if "counts" in found else ""
    rest = f"; {found['unknown']:,} genes of the cells are not read" if found["unknown"] else ""
    return f"Genes of the model in the cells: {found['found']:,} of {genes:,}{share}{counts}{rest}."


def show_comparison(found: Mapping[str, Any]) -> None:
    """Print how far two atlases agree: each figure beside its control, the best pairs, and what is left over."""
    console = Console()
    for side in "ab":
        facts = found[side]
        what = f"{facts['findings']} concepts, {facts['dictionary']}, in {facts['cells']:,} cells"
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
        named = [(f"{one['rater']} with themselves", one) for one in review["within"]]
        named += [(" with ".join(one["raters"]), one) for one in review["between"]]
        for who, one in named:
            kappas.add_row(escape(who), *_kappa(one))
        console.print(kappas)
        for who, one in named:
            if one["needs"]:
                console.print(escape(f"{who}: {one['needs']}"), highlight=False, soft_wrap=True)
        means = ", ".join(f"{kind} {_number(mean)}" for kind, mean in review["means"].items())
        console.print(escape(f"Mean rating: {means}"), highlight=False)
        for one in review["differences"]:
            ends = f"95 % {_number(one['low'])} to {_number(one['high'])}, p {_number(one['p'])}"
            console.print(
                escape(
                    f"{one['kind']} - {one['against']}: {_number(one['difference'])}, {one['needs'] or ends} "
                    f"({one['n_items']} items, {one['n_raters']} raters, {one['method']})"
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


def _is_shown(metric: str) -> bool:
    """Say whether a metric is worth a line here.

    Of alignment that of concepts and of clusters; of stability what is left where reproducibility is not measured: the
    means over matched pairs; of annotation that of path effects.
    """
    if metric.startswith("alignment."):
        return metric.endswith((".concepts", ".clusters"))
    if metric.startswith("stability."):
        return bool(re.search(r"^stability\.concepts(\.coactivation)?$", metric))
    return not re.search(r"^annotation\..*\.(swap|de)(\.calibrated)?$", metric)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
