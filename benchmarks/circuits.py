"""How good are circuits? Scores, faithfulness, genes and stability of a small Cell2Sentence, beside nulls and rivals.

A Cell2Sentence is fitted to six sevenths of the bundled cells, its transcoders are trained on the same cells, and
circuits are traced in cells that neither has seen: what tells their own type from another one. What is finished is kept
under --work and not done again.

    python benchmarks/circuits.py --quick
    python benchmarks/circuits.py --json benchmarks/results/circuits.json --markdown docs/results/circuits.md
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from common import Row, machine
from planted_report import table

from cellglass import demo_cells, models
from cellglass.cells import Cells
from cellglass.cells.read import as_cells
from cellglass.circuits import load_transcoders, train_transcoders
from cellglass.circuits.answers import frozen_cell
from cellglass.circuits.asked import Asked, ask
from cellglass.circuits.build import build_graph
from cellglass.circuits.choice import ranked_units, strengths, units
from cellglass.circuits.controls import control_scores
from cellglass.circuits.credit import live_strengths
from cellglass.circuits.faithfulness import faithfulness_curve, mean_curve
from cellglass.circuits.genes import by_gene, rank_genes
from cellglass.circuits.propagation import effects
from cellglass.circuits.stability import stability_of
from cellglass.circuits.training import read_losses
from cellglass.models.cell2sentence.model import Cell2SentenceModel
from cellglass.seeds import generator
from cellglass.threads import threads

Array = np.ndarray[Any, Any]

WORK = Path(__file__).parents[1] / "build" / "circuits"
LABEL = "bulk_labels"
TYPES = {"CD19+ B": "CD14+ Monocyte", "CD14+ Monocyte": "CD19+ B", "CD56+ NK": "CD14+ Monocyte"}
"""Types whose cells are traced, and what each is told from."""
SIZES = (10, 30, 100, 300, 1000)
WAYS = ("total effect", "influence", "live credit")


class Size(NamedTuple):
    """How large the study is."""

    layers: int
    width: int
    genes: int
    epochs: int | None
    rows: int
    cells: int
    features: int
    draws: int


FULL = Size(layers=3, width=64, genes=60, epochs=None, rows=40_000, cells=5, features=1000, draws=3)
QUICK = Size(layers=2, width=32, genes=20, epochs=1, rows=3000, cells=1, features=60, draws=1)


def main() -> None:
    """Measure, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller network, one cell a type")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument(
        "--work", type=Path, default=WORK, metavar="FOLDER", help="where model and transcoders are kept"
    )
    options = parser.parse_args()
    about, size = machine(), QUICK if options.quick else FULL
    with threads(1):
        rows = list(measure(options.work / ("quick" if options.quick else "full"), size))
    for row in rows:
        print(f"{row.metric:<42} {row.name:<36} {row.value:.3f}")
    if options.json is not None:
        lines = ",\n  ".join(json.dumps(asdict(row), allow_nan=False) for row in rows)
        options.json.write_text(
            f'{{\n "machine": {json.dumps(about)},\n "rows": [\n  {lines}\n ]\n}}\n', encoding="utf-8"
        )
    if options.markdown is not None:
        options.markdown.write_text(markdown(rows, about, size), encoding="utf-8")


def measure(work: Path, size: Size) -> Iterator[Row]:
    """Yield every figure."""
    cells = as_cells(demo_cells())
    order = generator(0, "circuits").permutation(cells.n_cells)
    unseen = np.sort(order[: cells.n_cells // 7])
    learnt = cells[np.sort(order[cells.n_cells // 7 :])]
    model, transcoders = fitted(work, learnt, size)
    left = cells[unseen]
    yield from accuracy(model, learnt, left)
    losses = read_losses(work / "transcoders").set_index(["loss", "layers"])
    for loss in losses.index.unique("loss"):
        yield Row("share kept of layers from 1 on", str(loss), float(losses.loc[(loss, "1+"), "kept"]), "")
    given = transcoders.stand_ins
    asked = [
        ask(model, left[i : i + 1], given, own, other)
        for own, other in TYPES.items()
        for i in np.flatnonzero((left.obs[LABEL] == own).to_numpy())[: size.cells]
    ]
    yield Row("cells", "traced", float(len(asked)), "")
    yield from scores(asked, given, size)
    yield from kept(asked, size)
    yield from genes(asked, learnt)
    for own, other in TYPES.items():
        some = left[np.flatnonzero((left.obs[LABEL] == own).to_numpy())[: size.cells]]
        found = stability_of(model, some, given, own, other, draws=2, top=(10,))
        for (over, measured), row in found.iterrows():
            yield from number(f"stability, {over}: {measured}", own, float(row["mean"]))


def fitted(work: Path, learnt: Cells, size: Size) -> tuple[Cell2SentenceModel, Any]:
    """Return model and transcoders, made where they are not there yet."""
    if not (work / "model").is_dir():
        work.mkdir(parents=True, exist_ok=True)
        made = Cell2SentenceModel.fit(
            learnt, layers=size.layers, width=size.width, n_genes=size.genes, epochs=size.epochs, labels=LABEL,
            checkpoint=work / "state",
        )  # fmt: skip
        made.save(work / "model")
    model = models.load(work / "model")
    assert isinstance(model, Cell2SentenceModel)  # noqa: S101  it was saved as one
    train_transcoders(model, learnt, work / "transcoders", k=8, labels=LABEL, n_rows=size.rows)
    return model, load_transcoders(work / "transcoders")


def accuracy(model: Cell2SentenceModel, learnt: Cells, left: Cells) -> Iterator[Row]:
    """Yield how many unseen cells' labels the model names, and a logistic regression on its genes does."""
    from sklearn.linear_model import LogisticRegression

    names = sorted(learnt.obs[LABEL].astype(str).unique())
    truth = left.obs[LABEL].astype(str).to_numpy()
    said = np.array(names)[model.label_probabilities(left, names).numpy().argmax(1)]
    yield Row("accuracy on unseen cells", "Cell2Sentence", float((said == truth).mean()), "")
    x, y = (np.log1p(one.counts.toarray()) for one in (learnt, left))
    plain = LogisticRegression(max_iter=500, C=0.01).fit(x, learnt.obs[LABEL].astype(str))
    yield Row(
        "accuracy on unseen cells", "logistic regression, all counts", float((plain.predict(y) == truth).mean()), ""
    )


def graph_of(one: Asked, size: Size) -> Any:
    """Return the graph of what was asked."""
    return build_graph(
        one.frozen, one.replacement, one.answers, one.question.texts, one.question.genes, most=size.features
    )


def scores(asked: list[Asked], given: Any, size: Size) -> Iterator[Row]:
    """Yield replacement and completeness, beside their controls, mean over cells."""
    found = [control_scores(graph_of(one, size), one.frozen, given, one.answers, draws=size.draws) for one in asked]
    for name in found[0].index:
        for what in ("replacement", "completeness"):
            yield from number(what, name, [float(one.loc[name, what]) for one in found])


def kept(asked: list[Asked], size: Size) -> Iterator[Row]:
    """Yield the share of the answer that circuits keep, by size: chosen in three ways, and random ones."""
    curves: dict[str, list[pd.DataFrame]] = {way: [] for way in WAYS}
    sizes = [n for n in SIZES if n <= size.features]
    for one in asked:
        made = units(one.replacement)
        graph = graph_of(one, size)
        chosen = {
            "total effect": strengths(one.frozen, one.replacement, one.answers, "total"),
            "influence": strengths(one.frozen, one.replacement, one.answers, "influence", graph),
            "live credit": live_strengths(one),
        }
        for way, strength in chosen.items():
            order = ranked_units(made, strength)
            curves[way].append(faithfulness_curve(one, made, order, sizes=sizes, draws=size.draws))
    yield from number("active nodes of a cell", "", [float(len(units(one.replacement))) for one in asked])
    for way, some in curves.items():
        mean = mean_curve(some).set_index(["test", "run", "size"])
        for n in sizes:
            for run in ("live", "frozen"):
                yield Row(f"share kept, {run}", f"{way}, {n}", float(mean.loc[("kept", run, n), "share"]), "")
            yield Row("share kept, live", f"random like {way}, {n}", float(mean.loc[("kept", "live", n), "random"]), "")
            yield Row("share lost, live", f"{way}, {n}", float(mean.loc[("lost", "live", n), "share"]), "")


def genes(asked: list[Asked], learnt: Cells) -> Iterator[Row]:
    """Yield how rankings of genes agree with deleting them, and with hiding them; differential expression beside."""
    mean = {
        value: pd.Series(
            np.asarray(np.log1p(learnt.counts[(learnt.obs[LABEL] == value).to_numpy()].toarray()).mean(axis=0)),
            index=[str(symbol) for symbol in learnt.symbols],
        )
        for value in {*TYPES, *TYPES.values()}
    }
    pairs: dict[tuple[str, str, str], list[float]] = {}
    gaps = []
    for one in asked:
        found = rank_genes(one)
        gaps.append(abs(found.gap))
        effect = found.effects.copy()
        assert one.against is not None  # noqa: S101  all are differences
        effect["differential expression"] = (mean[one.target] - mean[one.against]).reindex(effect.index)
        frozen = frozen_cell(one.model, one.question.tokens, scores=True)
        linear = effects(frozen, one.replacement, one.answers.targets, total=True, patterns="linear")
        tokens = sum(part[:, 0] for name, part in linear.parts.items() if name not in frozen.constant)
        effect["total, linear patterns"] = by_gene(np.asarray(tokens, dtype=float), one.question.genes)  # type: ignore[arg-type]
        for check in ("deletion", "occlusion"):
            for name in effect.columns.drop(check):
                for method in ("spearman", "pearson"):
                    value = float(effect[name].corr(effect[check], method=method))
                    pairs.setdefault((check, name, method), []).append(value)
    for (check, name, method), values in pairs.items():
        yield from number(f"genes against {check}, {method}", name, values)
    yield from number("gap of integrated gradients, of the change", "", gaps)


def number(metric: str, name: str, values: float | list[float]) -> Iterator[Row]:
    """Yield a figure, or the mean and the standard deviation of several; what is not known is left out."""
    known = np.array([value for value in np.atleast_1d(values) if np.isfinite(value)])
    if len(known):
        yield Row(metric, name, float(known.mean()), "")
    if len(known) > 1:
        yield Row(f"{metric}, sd", name, float(known.std(ddof=1)), "")


HEAD = """# How good are circuits?

Written by `python benchmarks/circuits.py --json benchmarks/results/circuits.json --markdown
docs/results/circuits.md` on {cores} cores ({cpu}); one thread.

A Cell2Sentence of {layers} layers of {width} (GPT-NeoX, {genes} genes a cell) fitted to six sevenths of the 700 bundled
cells with their labels; TopK transcoders with {latents} latents, 8 of them active, of the same cells; one seed.
Circuits are of {cells} of the cells that neither has seen: B cells and NK cells told from monocytes, and monocytes from
B cells. Mean ± standard deviation over cells.

The model names {own} of the unseen cells' labels, a logistic regression on all counts {plain}.

## What transcoders keep

Of the work of the MLPs of layers from 1 on (layer 0, a lookup table, apart), on cells that no transcoder has seen:
{kept}.

## Scores of graphs

{scores}

*bare*: without any feature. *Rewired*: edges exchanged and weights shuffled at random, within each kind of source, or
across kinds.

## Faithfulness

Share of the answer (the difference of two labels' logits) that is left in the real model when all features are off but
n nodes (layer, token, feature) of some {nodes}; the errors of transcoders stay. Cells count by what features do in
them. Random circuits have as many nodes of each layer and of like norm, and may share nodes with the circuit.

{faithful}

## Genes

How rankings of a cell's genes agree with what the real model's answer loses when the gene's count is 0 (*deletion*:
tokens are made anew), and when its states are hidden in their place (*occlusion*). Differential expression, between the
two types in the cells that the model was fitted to, knows no model.

{ranked}

## Stability

Spearman's correlation of genes' effects, and the Jaccard index of the top ten genes and features: between cells of one
type, after a fifth of the counts has dropped out, and in another order of equal counts.

{stable}
"""


def markdown(rows: list[Row], about: dict[str, Any], size: Size) -> str:
    """Return the page of results."""
    found = {(row.metric, row.name): row.value for row in rows}

    def told(metric: str, name: str) -> str:
        value, sd = found.get((metric, name)), found.get((f"{metric}, sd", name))
        return "" if value is None else f"{value:.2f}" + ("" if sd is None else f" ± {sd:.2f}")

    def names(metric: str) -> list[str]:
        return [row.name for row in rows if row.metric == metric]

    unseen, share = "accuracy on unseen cells", "share kept of layers from 1 on"
    own, plain = (found[unseen, name] for name in names(unseen))
    sizes = [n for n in SIZES if ("share kept, live", f"total effect, {n}") in found]
    curves = []
    for way in WAYS:
        for label, metric, prefix in (
            (way, "share kept, live", way),
            (f"{way}, patterns frozen", "share kept, frozen", way),
            (f"random, like that by {way}", "share kept, live", f"random like {way}"),
            (f"{way}: lost when it alone is taken out", "share lost, live", way),
        ):
            curves.append([label, *(told(metric, f"{prefix}, {n}") for n in sizes)])
    checks = [(check, how) for check in ("deletion", "occlusion") for how in ("spearman", "pearson")]
    ways = ["occlusion", *(name for name in names("genes against deletion, spearman") if name != "occlusion")]
    ranked = [[way, *(told(f"genes against {check}, {how}", way) for check, how in checks)] for way in ways]
    stability = [row.metric for row in rows if row.metric.startswith("stability") and not row.metric.endswith(", sd")]
    stable = [
        [metric.removeprefix("stability, "), *(told(metric, value) for value in TYPES)]
        for metric in dict.fromkeys(stability)
    ]
    return HEAD.format(
        cores=about["cores"], cpu=about["cpu"], layers=size.layers, width=size.width, genes=size.genes,
        latents=8 * size.width, cells=f"{found['cells', 'traced']:.0f}", own=f"{own:.0%}", plain=f"{plain:.0%}",
        kept=", ".join(f"{name} {told(share, name)}" for name in names(share)),
        scores=table(
            ["", "replacement", "completeness"],
            [[name, told("replacement", name), told("completeness", name)] for name in names("replacement")],
        ),
        nodes=f"{found['active nodes of a cell', '']:,.0f}",
        faithful=table(["circuit", *(f"{n:,}" for n in sizes)], curves),
        ranked=table(["", *(f"{check}, {how.capitalize()}" for check, how in checks)], ranked),
        stable=table(["", *TYPES], stable),
    )  # fmt: skip


if __name__ == "__main__":
    main()
