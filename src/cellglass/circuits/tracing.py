"""From a cell and a question to a graph: `trace` puts the parts of this room together and knows what it will cost.

What is asked, of whom, and how good the graph is stands in ``graph.about``, as plain values:

    title, model, fingerprint, cell, target, against, transcoders     what was asked of what
    patterns                                                          whether frozen, or linearised
    answer                                                            the model's own answer
    scores, bare                                                      replacement and completeness; of no feature at all
    genes                                                             by gene: total, direct and, where asked, checks
    explained                                                         what is known of those that were explained
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from cellglass.cells.cells import Cells
from cellglass.circuits.answers import Target
from cellglass.circuits.asked import Asked, ask
from cellglass.circuits.build import COPIES, MEMORY, Cost, build_graph, cost
from cellglass.circuits.draw import draw_graph
from cellglass.circuits.genes import COLUMNS, rank_genes
from cellglass.circuits.graph import Graph
from cellglass.circuits.head_parts import looks_of, split_edges
from cellglass.circuits.json import write_graph
from cellglass.circuits.linear_map import check_patterns
from cellglass.circuits.meanings import explained, named
from cellglass.circuits.pruning import prune
from cellglass.circuits.transcoders import Transcoders
from cellglass.errors import InputError
from cellglass.files import atomic_path
from cellglass.models.base import CellModel
from cellglass.progress import Progress, silent

FEATURES = 1000
"""Features of a graph, unless more are asked for."""


def trace(
    model: CellModel,
    cells: Cells,
    cell: str,
    transcoders: Transcoders,
    target: Target,
    against: Target | None = None,
    *,
    features: int = FEATURES,
    memory: int = MEMORY,
    patterns: str = "frozen",
    delete: bool = True,
    heads: bool = True,
    progress: Progress = silent,
) -> Graph:
    """Return the graph of what makes an answer of a transformer about one cell.

    Parameters
    ----------
    model
        A Cell2Sentence, scGPT or Geneformer.
    cells
        With raw counts.
    cell
        Name of the cell.
    transcoders
        Of this model; see `cellglass.circuits.train_transcoders`.
    target, against
        What is asked, and what it is held against; see `cellglass.circuits.question`, and `Direction` for what is asked
        at a site.
    features
        Most features of the graph: those of highest influence on the answer.
    memory
        Bytes that gradients, or rows of the graph, may take.
    patterns
        ``"frozen"``: attention patterns stay as they are on this cell. ``"linear"``: they answer to first order, so
        that what shapes where heads look has its part. Either way the row of a node adds up to its value; with linear
        patterns by one more node for each layer, ``layers.i.pattern``: what of its patterns is a constant, negative of
        what their linear part makes of this input.
    delete
        Also run the real model once for each gene that it reads of the cell, without that gene, and other checks of the
        ranking; see `cellglass.circuits.genes`.
    heads
        Also split the edges that pruning keeps by the attention head that they pass last, and say why the strongest
        heads look where they look; see `cellglass.circuits.head_parts`. The heads' effects are always told.
    progress
        Told the features that are traced.

    Raises
    ------
    InputError
        No such cell, an answer that the model cannot give, or transcoders of another model.
    """
    asked = asked_of(model, cells, cell, transcoders, target, against, patterns=patterns)
    return trace_asked(
        asked, transcoders, features=features, memory=memory, patterns=patterns, delete=delete, heads=heads,
        progress=progress,
    )  # fmt: skip


def trace_asked(
    asked: Asked,
    transcoders: Transcoders,
    *,
    features: int = FEATURES,
    memory: int = MEMORY,
    patterns: str = "frozen",
    delete: bool = True,
    heads: bool = True,
    progress: Progress = silent,
) -> Graph:
    """Return the graph of what was asked already; see `trace`."""
    ranking = rank_genes(asked, columns=COLUMNS if delete else COLUMNS[:2], patterns=patterns)
    cell, question = str(asked.cell.obs.index[0]), asked.question
    about: dict[str, Any] = {
        "title": f"{asked.answers.labels[0]} in {cell}",
        "model": asked.model.kind,
        "fingerprint": transcoders.fingerprint,
        "cell": cell,
        "cells": asked.cell.source,
        "target": str(asked.target),
        "against": None if asked.against is None else str(asked.against),
        "patterns": patterns,
        "transcoders": transcoders.summary,
        "answer": float(asked.answers.found[0]),
    }
    graph = build_graph(
        asked.frozen, asked.replacement, asked.answers, question.texts, question.genes, most=features, memory=memory,
        patterns=patterns, about=about, progress=progress,
    )  # fmt: skip
    about["scores"] = graph.scores()._asdict()
    about["bare"] = graph.bare().scores()._asdict()
    about["genes"] = [
        {"gene": gene, **{name: None if pd.isna(value) else float(value) for name, value in row.items()}}
        for gene, row in ranking.effects.to_dict(orient="index").items()
    ]
    if heads:
        given = asked.frozen, asked.replacement, asked.answers.targets
        layers = asked.frozen.n_layers
        batch = max(1, cost_of(asked, features, memory).batch * COPIES // (COPIES + layers))  # a gradient more for each
        split = split_edges(*given, graph, batch=batch, patterns=patterns, progress=progress)
        graph = replace(graph, heads=replace(split, looks=looks_of(*given, split)))
    return explained(named(graph, transcoders.names), transcoders.details)


def asked_of(
    model: CellModel, cells: Cells, cell: str, transcoders: Transcoders, target: Target, against: Target | None = None,
    *, patterns: str = "frozen",
) -> Asked:  # fmt: skip
    """Return one cell with what is asked of it; InputError names a cell, or a label, that is not there."""
    check_patterns(patterns)
    net = transcoders.check(model)
    check_labels(cells, transcoders.labels, target, against)
    place = cells.obs.index.get_indexer(pd.Index([cell]))[0]
    if place < 0:
        some = ", ".join(map(str, cells.obs.index[:3]))
        raise InputError(f"{cells.source}: there is no cell {cell!r}; its cells are named as {some}, ...")
    return ask(net, cells[place : place + 1], transcoders.stand_ins, target, against, scores=True)


def cost_of(asked: Asked, features: int = FEATURES, memory: int = MEMORY) -> Cost:
    """Return what the graph of what was asked will take; no walk back is made for it."""
    return cost(asked.frozen, asked.replacement, len(asked.answers.labels), features, memory)


def gene_table(graph: Graph) -> pd.DataFrame:
    """Return the genes of a traced graph with their effects, by falling size of the total one."""
    return pd.DataFrame(graph.about.get("genes", []), columns=["gene", *_columns(graph)]).set_index("gene")


def write_trace(graph: Graph, path: Path | str) -> list[Path]:
    """Write a graph, and beside it a picture of it (pruned, ``.svg``) and its genes (``.csv``); return their paths."""
    path = Path(path)
    if path.suffix != ".json":
        raise InputError(f"{path}: a graph is written as JSON; end the file's name in .json")
    picture, genes = path.with_suffix(".svg"), path.with_suffix(".csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_graph(graph, path)
    draw_graph(prune(graph), picture)
    with atomic_path(genes) as temporary:
        gene_table(graph).to_csv(temporary)
    return [path, picture, genes]


def _columns(graph: Graph) -> list[str]:
    found = graph.about.get("genes") or [{}]
    return [name for name in found[0] if name != "gene"]


def check_labels(cells: Cells, column: str | None, *asked: Target | None) -> None:
    """Raise InputError for a label that no cell has; where the labels are not known, nothing is checked."""
    if column is None or column not in cells.obs:
        return
    known = sorted({str(value) for value in cells.obs[column].dropna()})
    for name in asked:
        if not isinstance(name, str) or name.partition(":")[0] not in ("label", name):
            continue
        if name.removeprefix("label:") not in known:
            raise InputError(f"no cell has {name!r} in column {column!r}, so the model was never taught to say it; it "
                             f"knows: {', '.join(known)}")  # fmt: skip
