r"""What gradients through a transformer's tokens find of its swaps, how nearly its paths add up, and what it costs.

A small scGPT and a small Geneformer are fitted to the bundled cells, and a consensus dictionary to their site ``cell``.
Of some concepts every gene that differs in a pair is swapped (the sweep). Then: which of the 20 genes with the largest
mean effects are among the first genes by a gradient, a short path, or a rule that asks no model, when those may take
2 to 20 % of the sweep's runs; the completeness gap of paths by the number of points; and the processor time of a
transformer demo's attribution as it was (20 genes by difference of expression) and as it is.

    python benchmarks/screening.py --json benchmarks/results/screening.json --markdown docs/results/screening.md
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import Row, main

from cellglass import dictionaries
from cellglass.attribution.config import AttributionConfig
from cellglass.attribution.edits import Edits
from cellglass.attribution.effects import effects, readable
from cellglass.attribution.gradients import path_effects
from cellglass.attribution.methods.swap import swap_edits
from cellglass.attribution.pairs import choose_pairs
from cellglass.attribution.run import attribute_concepts
from cellglass.attribution.screen import TOP, runs_of_genes
from cellglass.attribution.work import Work, columns
from cellglass.cells import demo_cells
from cellglass.models.kind import FitConfig
from cellglass.models.registry import fit
from cellglass.pipeline.demo import demo_config
from cellglass.threads import threads
from cellglass.vocabulary import TITLES

Array = np.ndarray[Any, Any]
KINDS = ("scgpt", "geneformer")
BUDGETS = (0.02, 0.05, 0.1, 0.2)
POINTS = (("gauss", 1), ("gauss", 2), ("gauss", 3), ("gauss", 8), ("midpoint", 8))
SWEEP = AttributionConfig(prototypes=6, partners=2, on=("activation",))
BEFORE = AttributionConfig(
    ("swap", "knockout", "de"), prototypes=10, partners=3, genes=20, screen="difference", checked=0
)
"""The demo's settings for transformers up to this measurement."""
FIRST = 5


@dataclass
class Bench:
    """A fitted model with concepts, and what all measures share."""

    work: Work
    concepts: list[int]

    @classmethod
    def of(cls, kind: str, quick: bool) -> Bench:
        """Fit the model to the bundled cells, and a consensus dictionary to its embedding."""
        given = demo_cells()
        model = fit(kind, given, FitConfig(layers=2, width=32, epochs=1) if quick else FitConfig(layers=3, width=64))
        cells = model.align(given)
        x = model.activations(cells, ["cell"])["cell"]
        dictionary = dictionaries.fit("consensus", x, seed=0)
        codes = dictionary.encode(x).to_csr().tocsc()
        often = [c for c in range(dictionary.n_findings) if 20 <= codes[:, [c]].nnz < cells.n_cells]
        some = np.linspace(0, len(often) - 1, min(2 if quick else 4, len(often))).astype(int)
        work = Work(model, cells, "cell", dictionary, codes, x.numpy(), SWEEP)
        return cls(work, [often[i] for i in some])

    def with_config(self, config: AttributionConfig) -> Work:
        """Return the work under other settings."""
        return replace(self.work, config=config)


def run(quick: bool) -> Iterator[Row]:
    """Measure each kind of model."""
    with threads(1):
        for kind in KINDS:
            bench = Bench.of(kind, quick)
            yield Row("concepts", kind, len(bench.concepts), "")
            truth = [Swept.of(bench.work, concept) for concept in bench.concepts]
            yield from recalls(kind, truth)
            yield from gaps(kind, bench.work, truth, 1 if quick else 2)
            if bench.work.model.screens_by == "gradient":  # elsewhere the demo is as it was
                yield from demo_costs(kind, bench, truth)


@dataclass
class Swept:
    """The sweep of one concept's real pairs."""

    work: Work
    pairs: Any
    edits: Edits
    exact: Array
    """Effects, (n_pairs, n_genes)."""
    seconds: float

    @classmethod
    def of(cls, work: Work, concept: int) -> Swept:
        """Swap every gene that differs."""
        table = readable(work, choose_pairs(work, [concept])).table
        pairs = table[table["kind"] == "real"]
        start = time.process_time()
        edits = swap_edits(work.cells.counts, *columns(pairs, "prototype", "partner", "concept"))
        exact = np.zeros((len(pairs), work.cells.n_genes))
        exact[edits.row, edits.gene] = effects(work, edits)["activation"]
        return cls(work, pairs, edits, exact, time.process_time() - start)

    @property
    def top(self) -> Array:
        """The genes with the largest absolute mean effects, the largest first."""
        return np.argsort(-np.abs(self.exact.mean(axis=0)), kind="stable")[:TOP]

    def screens(self) -> dict[str, Callable[[], Array]]:
        """Return the rivals: each gives a number for each gene, the most promising largest."""
        work = self.work

        def along(pairs: Any, **how: Any) -> Array:
            found = path_effects(work, *columns(pairs, "prototype", "partner", "concept"), match_depth=False, **how)
            return np.abs(found.effects.mean(axis=0))

        few = self.pairs.drop_duplicates("prototype")
        concept = int(self.pairs["concept"].iloc[0])
        return {
            "gradient, a pair of each prototype": lambda: along(few, steps=1, rule="end"),
            "gradient, all pairs": lambda: along(self.pairs, steps=1, rule="end"),
            "path, 2 points, all pairs": lambda: along(self.pairs, steps=2, rule="gauss"),
            "difference of expression": lambda: np.abs(work.change(self.pairs)),
            "correlation with the concept": lambda: correlation(work, concept),
            "random": lambda: np.random.default_rng(concept).random(work.cells.n_genes),
        }


def correlation(work: Work, concept: int) -> Array:
    """Return |correlation| of log1p counts with the activation, over all cells; 0 of a gene that does not vary."""
    x = work.cells.counts.log1p().toarray().astype(np.float64)
    y = work.codes[:, [concept]].toarray().ravel()
    x, y = x - x.mean(axis=0), y - y.mean()
    size = np.sqrt(np.square(x).sum(axis=0) * np.square(y).sum())
    return np.abs(np.divide(y @ x, size, out=np.zeros(len(size)), where=size > 0))


def recalls(kind: str, truth: list[Swept]) -> Iterator[Row]:
    """Recall of the true top genes by each screen within each budget, and what the screen costs beside the sweep."""
    for name in truth[0].screens():
        hits: dict[float, list[float]] = {budget: [] for budget in BUDGETS}
        took = 0.0
        for one in truth:
            start = time.process_time()
            score = one.screens()[name]()
            took += time.process_time() - start
            runs = runs_of_genes(one.edits, len(score))
            order = np.argsort(-np.where(runs > 0, score, -np.inf), kind="stable")
            for budget in BUDGETS:
                found = order[np.cumsum(runs[order]) <= budget * runs.sum()]
                hits[budget].append(float(np.isin(one.top, found).mean()))
        for budget, values in hits.items():
            yield Row(f"recall_{budget:g}", f"{name}, {kind}", float(np.mean(values)), "")
            yield Row(f"recall_sd_{budget:g}", f"{name}, {kind}", float(np.std(values)), "")
        yield Row("screen_cost", f"{name}, {kind}", took / sum(one.seconds for one in truth), "sweeps")


def gaps(kind: str, work: Work, truth: list[Swept], n: int) -> Iterator[Row]:
    """Median completeness gap over the pairs of some concepts, by rule and number of points."""
    for rule, points in POINTS:
        found = [
            path_effects(
                work, *columns(one.pairs, "prototype", "partner", "concept"), steps=points, rule=rule,
                match_depth=False,
            ).gap
            for one in truth[:n]
        ]  # fmt: skip
        yield Row("completeness_gap", f"{rule}, {points}, {kind}", float(np.nanmedian(np.concatenate(found))), "")


def demo_costs(kind: str, bench: Bench, truth: list[Swept]) -> Iterator[Row]:
    """Processor time of a demo's attribution of these concepts, before and now, and the first genes that it finds."""
    now = replace(demo_config(0, kind).attribution, checked=0)
    took: dict[str, float] = {}
    for name, config in (("before", BEFORE), ("now", now)):
        start = time.process_time()
        work = bench.with_config(config)
        genes = attribute_concepts(work, bench.concepts).genes
        took[name] = time.process_time() - start
        mine = genes[(genes["method"] == "swap") & (genes["on"] == "activation")]
        hits = []
        for concept, one in zip(bench.concepts, truth, strict=True):
            held = set(mine.loc[mine["concept"] == concept, "gene"])
            hits.append(np.mean([work.genes[gene] in held for gene in one.top[:FIRST]]))
        yield Row("first_genes", f"{name}, {kind}", float(np.mean(hits)), "")
    yield Row("seconds_before", f"demo attribution, {kind}", took["before"] / len(bench.concepts), "s a concept")
    yield Row("seconds_now", f"demo attribution, {kind}", took["now"] / len(bench.concepts), "s a concept", "before",
              took["before"] / took["now"])  # fmt: skip


def markdown(result: dict[str, Any]) -> str:
    """Return the page."""
    value = {(row["metric"], row["name"]): row["value"] for row in result["rows"]}
    lines = [
        "# Gradients through a transformer's tokens: what they find, and what they cost",
        "",
        "Written by `python benchmarks/screening.py` on one core of an "
        f"{result['machine']['cpu']}, with models of 3 layers, 64 wide, fitted to the bundled cells. The sweep swaps "
        "every gene that differs in a pair. See [methods](../methods.md#genes) for the formulas.",
    ]
    for kind in KINDS:
        names = [name.removesuffix(f", {kind}") for metric, name in value if metric == "recall_0.1" and kind in name]
        lines += [
            "",
            f"## {TITLES[kind]}",
            "",
            f"Share of the {TOP} genes with the largest exact mean effects that are among a screen's first genes, when "
            f"their swaps may take so much of the sweep's runs; mean ± standard deviation over "
            f"{value['concepts', kind]:.0f} concepts. Cost: processor time of the screen itself, of the sweep's.",
            "",
            "| screen | " + " | ".join(f"{100 * budget:g} %" for budget in BUDGETS) + " | cost |",
            "|---|" + "---|" * (len(BUDGETS) + 1),
        ]
        for name in names:
            cells = [
                f"{value[f'recall_{b:g}', f'{name}, {kind}']:.2f} ± {value[f'recall_sd_{b:g}', f'{name}, {kind}']:.2f}"
                for b in BUDGETS
            ]
            lines.append(
                f"| {name} | " + " | ".join(cells) + f" | {100 * value['screen_cost', f'{name}, {kind}']:.1f} % |"
            )
        lines += ["", "Median completeness gap of paths, by where gradients are taken:", ""]
        lines += ["| " + " | ".join(f"{rule}, {n}" for rule, n in POINTS) + " |", "|" + "---|" * len(POINTS)]
        found = [value["completeness_gap", f"{rule}, {n}, {kind}"] for rule, n in POINTS]
        lines.append("| " + " | ".join(f"{100 * gap:.2g} %" for gap in found) + " |")
        if ("first_genes", f"now, {kind}") not in value:
            continue
        before, now = (value[f"seconds_{when}", f"demo attribution, {kind}"] for when in ("before", "now"))
        first = [value["first_genes", f"{when}, {kind}"] for when in ("before", "now")]
        lines += [
            "",
            f"The demo's attribution took {before:.1f} s of processor time for a concept with the {BEFORE.genes} genes "
            f"whose expression differs most, and takes {now:.1f} s now; of the "
            f"{FIRST} genes with the largest effects {100 * first[0]:.0f} % were among those swapped, and "
            f"{100 * first[1]:.0f} % are now, among {demo_config(0, kind).attribution.genes}.",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--markdown" in sys.argv:
        at = sys.argv.index("--markdown")
        page = Path(sys.argv[at + 1])
        del sys.argv[at : at + 2]
        source = Path(sys.argv[sys.argv.index("--json") + 1])
        main(run)
        page.write_text(markdown(json.loads(source.read_text(encoding="utf-8"))), encoding="utf-8")
    else:
        main(run)
