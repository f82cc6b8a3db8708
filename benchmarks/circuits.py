"""How good are circuits? Scores, faithfulness, genes and stability of a small Cell2Sentence, beside nulls and rivals.

A Cell2Sentence is fitted to six sevenths of the cells, its transcoders are trained on the same cells, and circuits are
traced in cells that neither has seen: what tells their own type from another one. The cells are the bundled ones, or
those of a file. What is finished is kept under --work and not done again: model, transcoders and the figures of each
part, of one study and one state of the code; a call that was stopped comes to the same page. The page is written by
``circuits_report.py``.

    python benchmarks/circuits.py --quick
    python benchmarks/circuits.py --json benchmarks/results/circuits.json --markdown docs/results/circuits.md
    python benchmarks/circuits.py --cells ../shared/data/cells/zheng_facs_pbmc.h5ad --labels celltype \
        --json benchmarks/results/circuits_zheng.json --markdown docs/results/circuits_zheng.md

With --layers, --width, --genes and --dropped another network is fitted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from circuits_report import CHECKS, COLUMNS, FILLED, FIRST, MATTER, SIZES, WAYS, page_of
from common import Row, machine, write_rows

import cellglass.circuits
from cellglass import demo_cells, models
from cellglass.cells import Cells, read_cells
from cellglass.cells.read import as_cells
from cellglass.circuits import load_transcoders, train_transcoders
from cellglass.circuits.answers import frozen_cell
from cellglass.circuits.asked import Asked, ask
from cellglass.circuits.build import build_graph
from cellglass.circuits.choice import ranked_units, strengths, units
from cellglass.circuits.controls import control_scores, random_transcoders
from cellglass.circuits.credit import live_strengths
from cellglass.circuits.editing import Filling, mean_activations
from cellglass.circuits.faithfulness import faithfulness_curve, mean_curve
from cellglass.circuits.features import StandIns
from cellglass.circuits.genes import by_gene, rank_genes
from cellglass.circuits.graph import Graph
from cellglass.circuits.propagation import effects
from cellglass.circuits.removal import removals
from cellglass.circuits.stability import stability_of
from cellglass.circuits.training import read_losses
from cellglass.dictionaries import default_training
from cellglass.files import atomic_path
from cellglass.models.cell2sentence.model import Cell2SentenceModel
from cellglass.models.cell2sentence.training import Learning
from cellglass.models.checkpoint import digest_of
from cellglass.seeds import generator
from cellglass.threads import threads

Array = np.ndarray[Any, Any]

WORK = Path(__file__).parents[1] / "build" / "circuits"
LABEL = "bulk_labels"
TYPES = {"CD19+ B": "CD14+ Monocyte", "CD14+ Monocyte": "CD19+ B", "CD56+ NK": "CD14+ Monocyte"}
"""Types whose cells are traced, and what each is told from, unless told otherwise."""
MEAN_CELLS = 10
"""Of each of two types, over which the means of features are taken."""
OWN_NETWORK: dict[str, Any] = {"layers": int, "width": int, "genes": int, "dropped": float}
"""What can be asked of the network, by option."""
STEPS = (0.5, 1, 2)
"""Times the steps of the size, for which transcoders are trained."""
PLAIN = "per layer"
KINDS: dict[str, dict[str, bool]] = {
    PLAIN: {},
    "per layer, with skip": {"skip": True},
    "cross-layer": {"crosslayer": True},
}
"""Kinds of transcoders, and how they are asked for; circuits are traced through the plain ones."""


class Size(NamedTuple):
    """How large the study is: the network, the transcoders (`k` active, trained for `steps` on `rows` of tokens).

    Every kind of transcoder takes all `steps`, so that they can be compared; and half of them, and twice as many, which
    says whether they suffice. Of each type `cells` are traced, of which `scored` have their graphs scored beside
    controls. `dropped` is the share of genes that fitting drops; see `Learning`.
    """

    layers: int
    width: int
    genes: int
    epochs: int | None
    k: int
    rows: int
    steps: int
    cells: int
    scored: int
    features: int
    draws: int
    dropped: float = 0.0


FULL = Size(3, 64, 60, None, k=8, rows=40_000, steps=1500, cells=5, scored=5, features=1000, draws=3)
OWN = Size(3, 64, 60, 8, k=16, rows=60_000, steps=1500, cells=4, scored=1, features=1000, draws=3)
QUICK = Size(2, 32, 20, 1, k=8, rows=3000, steps=100, cells=1, scored=1, features=60, draws=1)


class Study(NamedTuple):
    """What is studied: cells, the column of their types, which type is told from which, and the size."""

    cells: Cells
    label: str
    types: dict[str, str]
    size: Size


def main() -> None:
    """Measure, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller network, one cell a type")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--cells", type=Path, metavar="FILE", help="raw counts, in place of the bundled cells")
    parser.add_argument("--labels", metavar="COLUMN", help="column of obs with the types, of --cells")
    parser.add_argument(
        "--types", nargs=2, action="append", metavar=("TYPE", "OTHER"), help="a type that is traced, told from another"
    )
    for name, kind in OWN_NETWORK.items():
        parser.add_argument(f"--{name}", type=kind, metavar="N", help="of the network that is fitted")
    parser.add_argument(
        "--work", type=Path, default=WORK, metavar="FOLDER", help="where model and transcoders are kept"
    )
    options = parser.parse_args()
    if (options.cells is None) != (options.labels is None):
        parser.error("--cells and --labels go together")
    about, study = machine(), study_of(options)
    name = "full" if options.cells is None else options.cells.stem
    with threads(1):
        rows = []
        for row in measured(options.work / ("quick" if options.quick else name), study):
            print(f"{row.metric:<42} {row.name:<36} {row.value:.3f}", flush=True)
            rows.append(row)
    if options.json is not None:
        write_rows(options.json, about, rows)
    if options.markdown is not None:
        options.markdown.write_text(
            page_of(rows, about, study.size._asdict(), told(options), study.types), encoding="utf-8"
        )


def study_of(options: argparse.Namespace) -> Study:
    """Return what the options ask for."""
    if options.cells is None:
        cells, label, size = as_cells(demo_cells()), LABEL, FULL
    else:
        cells, label, size = read_cells(options.cells, columns=[options.labels]), options.labels, OWN
    types = TYPES if options.types is None else dict(options.types)
    unknown = sorted({*types, *types.values()} - {*cells.obs[label].astype(str)})
    if unknown:
        raise SystemExit(f"no cell's {label} is {', '.join(unknown)}; say with --types which types are traced")
    asked = {name: value for name in OWN_NETWORK if (value := getattr(options, name)) is not None}
    return Study(cells, label, types, (QUICK if options.quick else size)._replace(**asked))


def told(options: argparse.Namespace) -> tuple[str, str]:
    """Return the options that the page's command has, and what its cells are called."""
    network = "".join(f"--{name} {value:g} " for name in OWN_NETWORK if (value := getattr(options, name)) is not None)
    if options.cells is None:
        return network, "bundled cells"
    return f"--cells {options.cells.name} --labels {options.labels} {network}", f"cells of {options.cells.name}"


def measured(work: Path, study: Study) -> Iterator[Row]:
    """Yield every figure; those of parts that this code has finished before are read, and the others kept."""
    held, belongs = work / "study.txt", study_key(study)
    if held.exists() and held.read_text(encoding="utf-8") != belongs:
        raise SystemExit(f"{work} is of other cells or sizes; give another --work, or remove it")
    work.mkdir(parents=True, exist_ok=True)
    held.write_text(belongs, encoding="utf-8")
    code = code_key()
    for name, part in parts(work, study):
        file = work / f"{name}.json"
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if found.get("code") != code:
            found = {"code": code, "rows": [asdict(row) for row in part()]}
            with atomic_path(file) as temporary:
                temporary.write_text(json.dumps(found), encoding="utf-8")
        yield from (Row(**row) for row in found["rows"])


def study_key(study: Study) -> str:
    """Return what models, transcoders and figures belong to: cells, types and sizes."""
    return digest_of(study.cells.counts, study.cells.symbols, [study.size._asdict(), study.label, study.types])


def code_key() -> str:
    """Return what figures belong to besides: the code of circuits, and this."""
    package = Path(cellglass.circuits.__file__).parent
    files = sorted([*package.glob("*.py"), Path(__file__)])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def parts(work: Path, study: Study) -> Iterator[tuple[str, Callable[[], Iterator[Row]]]]:
    """Yield the name of each part of the study, and what measures it; what they share is made when it is needed."""
    cells, size, label = study.cells, study.size, study.label
    order = generator(0, "circuits").permutation(cells.n_cells)
    learnt, left = cells[np.sort(order[cells.n_cells // 7 :])], cells[np.sort(order[: cells.n_cells // 7])]
    model, transcoders = fitted(work, learnt, study)
    given = transcoders.stand_ins
    some = {
        own: left[np.flatnonzero((left.obs[label].astype(str) == own).to_numpy())[: size.cells]] for own in study.types
    }

    @cache
    def asked() -> list[Asked]:
        return [
            ask(model, some[own][i : i + 1], given, own, other)
            for own, other in study.types.items()
            for i in range(some[own].n_cells)
        ]

    @cache
    def graphs() -> list[Graph]:
        return [graph_of(one, size) for one in asked()]

    yield "accuracy", lambda: accuracy(model, learnt, left, study, work)
    yield "genes", lambda: genes(asked(), given, learnt, study)
    yield "scores", lambda: scores(asked(), graphs(), given, study)
    yield "kept", lambda: kept(asked(), graphs(), given, learnt, study)
    for own, other in study.types.items():
        yield f"stability of {own}", lambda own=own, other=other: stable(model, some[own], given, own, other)
    for kind in KINDS:
        for times in STEPS:
            yield f"{kind}, {times:g}", lambda kind=kind, times=times: kinds(model, learnt, work, study, kind, times)


def stable(model: Cell2SentenceModel, cells: Cells, given: StandIns, own: str, other: str) -> Iterator[Row]:
    """Yield how stable the genes and features of a type's circuits are."""
    found = stability_of(model, cells, given, own, other, draws=2, top=(10,))
    for (over, name), row in found.iterrows():
        yield from number(f"stability, {over}: {name}", own, float(row["mean"]))


def fitted(work: Path, learnt: Cells, study: Study) -> tuple[Cell2SentenceModel, Any]:
    """Return model and transcoders, made where they are not there yet."""
    size = study.size
    if not (work / "model").is_dir():
        work.mkdir(parents=True, exist_ok=True)
        made = Cell2SentenceModel.fit(
            learnt, layers=size.layers, width=size.width, n_genes=size.genes, epochs=size.epochs,
            labels=study.label, learning=Learning(dropped=size.dropped), checkpoint=work / "state",
        )  # fmt: skip
        made.save(work / "model")
    model = models.load(work / "model")
    assert isinstance(model, Cell2SentenceModel)  # noqa: S101  it was saved as one
    trained(model, learnt, work, study, PLAIN, 1)
    return model, load_transcoders(folder_of(work, PLAIN))


def accuracy(model: Cell2SentenceModel, learnt: Cells, left: Cells, study: Study, work: Path) -> Iterator[Row]:
    """Yield how many unseen cells' labels the model names, and logistic regressions do; then what transcoders keep."""
    yield Row("cells", "all", float(study.cells.n_cells), "")
    yield Row("cells", "unseen", float(left.n_cells), "")
    yield from labels_named(model, learnt, left, study.label)
    losses = read_losses(folder_of(work, PLAIN)).set_index(["loss", "layers"])
    for loss in losses.index.unique("loss"):
        yield from number("share kept of layers from 1 on", str(loss), float(losses.loc[(loss, "1+"), "kept"]))


def labels_named(model: Cell2SentenceModel, learnt: Cells, left: Cells, label: str) -> Iterator[Row]:
    """Yield the share of unseen cells whose labels the model names, and logistic regressions do."""
    from sklearn.linear_model import LogisticRegression

    y, truth = (one.obs[label].astype(str).to_numpy() for one in (learnt, left))
    names = sorted(set(y))
    said = np.array(names)[model.label_probabilities(left, names).numpy().argmax(1)]
    metric = "accuracy on unseen cells"
    yield Row(metric, "Cell2Sentence", float((said == truth).mean()), "")
    own = [logs(read_counts(model, one)) for one in (learnt, left)]
    for what, (x, unseen) in {
        "the genes that it reads": own,
        "all counts": [logs(learnt.counts), logs(left.counts)],
    }.items():
        plain = LogisticRegression(max_iter=500, C=0.01).fit(x, y)
        yield Row(metric, f"logistic regression, {what}", float((plain.predict(unseen) == truth).mean()), "")


def logs(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Return log(1 + count) in double precision, with which a regression ends where it should."""
    return sp.csr_matrix(counts, dtype=np.float64).log1p()


def read_counts(model: Cell2SentenceModel, cells: Cells) -> sp.csr_matrix:
    """Return the counts of the genes that the model reads of each cell, and no others."""
    tokens = model.tokenise(model.align(cells))
    cell = np.repeat(np.arange(len(tokens)), tokens.lengths)
    read = np.unique(np.stack([cell, tokens.gene])[:, tokens.gene >= 0], axis=1)
    one = sp.csr_matrix((np.ones(read.shape[1]), (read[0], read[1])), shape=cells.counts.shape)
    return sp.csr_matrix(cells.counts.multiply(one))


def graph_of(one: Asked, size: Size) -> Graph:
    """Return the graph of what was asked."""
    return build_graph(
        one.frozen, one.replacement, one.answers, one.question.texts, one.question.genes, most=size.features
    )


def scores(asked: list[Asked], graphs: list[Graph], given: StandIns, study: Study) -> Iterator[Row]:
    """Yield replacement and completeness, beside their controls, mean over the first cells of each type."""
    found = []
    for own in study.types:
        of_type = [pair for pair in zip(asked, graphs, strict=True) if pair[0].target == own]
        for one, graph in of_type[: study.size.scored]:
            found.append(control_scores(graph, one.frozen, given, one.answers, draws=study.size.draws))
    yield Row("cells", "scored", float(len(found)), "")
    for name in found[0].index:
        for what in ("replacement", "completeness"):
            yield from number(what, name, [float(one.loc[name, what]) for one in found])


def kept(asked: list[Asked], graphs: list[Graph], given: StandIns, learnt: Cells, study: Study) -> Iterator[Row]:
    """Yield the share of the answer that circuits keep, by size: chosen in three ways, and random ones.

    What is not kept is off; in circuits of the first way it is also put at its mean over cells of the two types.
    """
    size, means = study.size, {}
    label = learnt.obs[study.label].astype(str).to_numpy()
    for own, other in study.types.items():
        rows = np.concatenate([np.flatnonzero(label == value)[:MEAN_CELLS] for value in (own, other)])
        means[own] = Filling(mean_activations(asked[0].model, learnt[np.sort(rows)], given, own, other))
    curves: dict[str, list[pd.DataFrame]] = {way: [] for way in WAYS}
    sizes = [n for n in SIZES if n <= size.features]
    for one, graph in zip(asked, graphs, strict=True):
        made = units(one.replacement)
        chosen = {
            "total effect": strengths(one.frozen, one.replacement, one.answers, "total"),
            "influence": strengths(one.frozen, one.replacement, one.answers, "influence", graph),
            "live credit": live_strengths(one),
        }
        for way, strength in chosen.items():
            order = ranked_units(made, strength)
            curves[way].append(faithfulness_curve(one, made, order, sizes=sizes, draws=size.draws, apart=True))
        order = ranked_units(made, chosen[FILLED[0]])
        filling = means[one.target]
        curves[FILLED[1]].append(
            faithfulness_curve(one, made, order, sizes=sizes, draws=size.draws, apart=True, filling=filling)
        )
    yield from number("active nodes of a cell", "", [float(len(units(one.replacement))) for one in asked])
    for own in dict.fromkeys(one.target for one in asked):
        for way in FILLED:
            of_type = [curve for one, curve in zip(asked, curves[way], strict=True) if one.target == own]
            mean = mean_curve(of_type).set_index(["test", "run", "size"])
            for n in sizes:
                row = mean.loc[("kept", "live", n)]
                for column in ("share", "random", "random_high"):
                    yield Row(f"{column} kept by {way}, {n}", own, float(row[column]), "")
    for way, some in curves.items():
        mean = mean_curve(some).set_index(["test", "run", "size"])
        for n in sizes:
            for run in ("live", "frozen"):
                yield Row(f"share kept, {run}", f"{way}, {n}", float(mean.loc[("kept", run, n), "share"]), "")
            row = mean.loc[("kept", "live", n)]
            yield Row("share kept, live", f"random like {way}, {n}", float(row["random"]), "")
            yield Row("share kept, live", f"random apart from {way}, {n}", float(row["apart"]), "")
            for what in ("shared", "norm", "norm_apart"):
                yield Row(f"random circuits: {what}", f"{way}, {n}", float(row[what]), "")
            yield Row("share lost, live", f"{way}, {n}", float(mean.loc[("lost", "live", n), "share"]), "")


def genes(asked: list[Asked], given: StandIns, learnt: Cells, study: Study) -> Iterator[Row]:
    """Yield how rankings of genes agree with deleting them, and with hiding them; rivals and controls beside.

    Then the first genes of each type's circuits, and its first markers.
    """
    label = learnt.obs[study.label].astype(str).to_numpy()
    symbols = [str(symbol) for symbol in learnt.symbols]
    mean = {
        value: pd.Series(np.asarray(logs(learnt.counts[label == value]).mean(axis=0))[0], symbols)
        .groupby(level=0)
        .sum()  # of genes of one symbol, as their tokens are
        for value in {*study.types, *study.types.values()}
    }
    yield Row("cells", "traced", float(len(asked)), "")
    yield from number("genes of a cell", "", [float(len({*one.question.genes} - {""})) for one in asked])
    pairs: dict[tuple[str, str, str], list[float]] = {}
    gaps, totals = [], {own: [] for own in study.types}
    for one in asked:
        found = rank_genes(one)
        gaps.append(abs(found.gap))
        effect = found.effects.copy()
        totals[one.target].append(effect["total"])
        effect["differential expression"] = (mean[one.target] - mean[str(one.against)]).reindex(effect.index)
        effect["total, linear patterns"] = linear_effects(one)
        drawn = ask(one.model, one.cell, random_transcoders(given, one.frozen), one.target, one.against)
        effect["removal, random transcoders"] = removals(drawn)
        effect[CHECKS[1]] = unseen_genes(one)
        for check in CHECKS:
            for name in effect.columns.drop(check):
                for method in ("spearman", "pearson"):
                    value = float(effect[name].corr(effect[check], method=method))
                    pairs.setdefault((check, name, method), []).append(value)
                first = effect[[name, check]].abs().rank(ascending=False).min(axis=1) <= MATTER  # by either
                value = float(effect.loc[first, name].corr(effect.loc[first, check], method="spearman"))
                pairs.setdefault((check, name, f"spearman of {MATTER}"), []).append(value)
    for (check, name, method), values in pairs.items():
        yield from number(f"genes against {check}, {method}", name, values)
    yield from number("gap of integrated gradients, of the change", "", gaps)
    for own, other in study.types.items():
        effect = pd.concat(totals[own], axis=1).fillna(0).mean(axis=1)
        marker = mean[own] - mean[other]
        for what, values in (("first genes of circuits", effect), ("first markers", marker)):
            for gene, value in values.nlargest(FIRST).items():
                yield Row(f"{what}, {own}", str(gene), float(value), "")


@torch.no_grad()
def unseen_genes(one: Asked) -> pd.Series[Any]:
    """Return by gene what the real model's answer loses when no token sees the gene's, and all stay where they are."""
    model, question = one.model, one.question
    genes = np.asarray(question.genes, dtype=object)
    names = [name for name in dict.fromkeys(genes) if name]
    hidden = torch.from_numpy(np.stack([np.zeros(len(genes), dtype=bool), *(genes == name for name in names)]))
    seen = torch.ones(len(genes), len(genes), dtype=torch.bool).tril() & ~hidden[:, None]
    seen |= torch.eye(len(genes), dtype=torch.bool)  # (copies, t, t): each token sees itself
    added = torch.zeros(seen.shape).masked_fill_(~seen, torch.finfo(torch.float32).min)[:, None]
    ids = torch.from_numpy(question.tokens.ids)
    answers = [
        question.reader(
            model.net.base_model(input_ids=ids.expand(len(some), -1), attention_mask=some, use_cache=False)[0]
        )
        for some in added.split(16)
    ]
    values = torch.cat(answers).double().numpy()
    return pd.Series(values[0] - values[1:], index=names)


def linear_effects(one: Asked) -> pd.Series[Any]:
    """Return the total effects of genes through patterns too, linearised."""
    frozen = frozen_cell(one.model, one.question.tokens, scores=True)
    linear = effects(frozen, one.replacement, one.answers.targets, total=True, patterns="linear")
    tokens = sum(part[:, 0] for name, part in linear.parts.items() if name not in frozen.constant)
    return by_gene(np.asarray(tokens, dtype=float), one.question.genes)


def kinds(model: Cell2SentenceModel, learnt: Cells, work: Path, study: Study, kind: str, times: float) -> Iterator[Row]:
    """Yield what a kind of transcoder keeps, at equal L0 and steps, and the steps."""
    yield Row("steps", f"{kind}, {times:g}", float(round(times * study.size.steps)), "")
    for _, row in trained(model, learnt, work, study, kind, times).iterrows():
        for column in COLUMNS:
            what = f"{column} of {row['loss']}, {kind}"
            metric = what if times == 1 else f"steps {times:g}: {what}"
            yield from number(metric, str(row["layers"]), float(row[column]))


def trained(
    model: Cell2SentenceModel, learnt: Cells, work: Path, study: Study, kind: str, times: float
) -> pd.DataFrame:
    """Train transcoders of a kind where they are not there yet, and return their table of losses."""
    size, folder, steps = study.size, folder_of(work, kind, times), round(times * study.size.steps)
    how = replace(default_training(8 * size.width), steps=steps, patience=steps, threads=1)
    train_transcoders(
        model, learnt, folder, k=size.k, labels=study.label, n_rows=size.rows, training=how, **KINDS[kind]
    )  # type: ignore[arg-type]  # switches by name
    return read_losses(folder)


def folder_of(work: Path, kind: str, times: float = 1) -> Path:
    """Return where transcoders of a kind are kept."""
    return work / (f"transcoders, {kind}" if times == 1 else f"transcoders, {kind}, {times:g}")


def number(metric: str, name: str, values: float | list[float]) -> Iterator[Row]:
    """Yield a figure, or the mean and the standard deviation of several; what is not known is left out."""
    known = np.array([value for value in np.atleast_1d(values) if np.isfinite(value)])
    if len(known):
        yield Row(metric, name, float(known.mean()), "")
    if len(known) > 1:
        yield Row(f"{metric}, sd", name, float(known.std(ddof=1)), "")


if __name__ == "__main__":
    main()
