"""From a cell and a question to a graph: `trace` puts the parts of this room together and knows what it will cost.

What is asked, of whom, and how good the graph is stands in ``graph.about``, as plain values:

    title, model, fingerprint, cell, target, against, transcoders     what was asked of what
    answer                                                            the model's own answer
    scores, bare                                                      replacement and completeness; of no feature at all
    genes                                                             by gene: total, direct and, where asked, deletion
"""

from __future__ import annotations

import logging
from typing import Any

import pandas as pd

from cellglass.cells.cells import Cells
from cellglass.circuits.asked import Asked, ask
from cellglass.circuits.build import MEMORY, Cost, build_graph, cost
from cellglass.circuits.genes import rank_genes
from cellglass.circuits.graph import Graph
from cellglass.circuits.transcoders import Transcoders
from cellglass.errors import InputError
from cellglass.models.base import CellModel
from cellglass.progress import Progress, silent

log = logging.getLogger(__name__)

FEATURES = 1000
"""Features of a graph, unless more are asked for."""


def trace(
    model: CellModel,
    cells: Cells,
    cell: str,
    transcoders: Transcoders,
    target: str,
    against: str | None = None,
    *,
    features: int = FEATURES,
    memory: int = MEMORY,
    delete: bool = True,
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
        What is asked, and what it is held against; see `cellglass.circuits.question`.
    features
        Most features of the graph: those of highest influence on the answer.
    memory
        Bytes that gradients, or rows of the graph, may take.
    delete
        Also run the real model once for each gene that it reads of the cell, without that gene: a check of the ranking.
    progress
        Told the features that are traced.

    Raises
    ------
    InputError
        No such cell, an answer that the model cannot give, or transcoders of another model.
    """
    transcoders.check(model)
    asked = asked_of(model, cells, cell, transcoders, target, against)
    columns = ("total", "direct", "deletion") if delete else ("total", "direct")
    ranking = rank_genes(asked, target, against, columns=columns)
    about: dict[str, Any] = {
        "title": f"{asked.answers.labels[0]} in {cell}",
        "model": model.kind,
        "fingerprint": transcoders.fingerprint,
        "cell": cell,
        "cells": cells.source,
        "target": target,
        "against": against,
        "transcoders": {"kind": transcoders.kind, "k": transcoders.k, "latents": transcoders.n_latents,
                        "skip": transcoders.skip, "seed": transcoders.seed},
        "answer": float(asked.answers.found[0]),
    }  # fmt: skip
    question = asked.question
    graph = build_graph(
        asked.frozen, asked.replacement, asked.answers, question.texts, question.genes, most=features, memory=memory,
        about=about, progress=progress,
    )  # fmt: skip
    about["scores"] = graph.scores()._asdict()
    about["bare"] = graph.bare().scores()._asdict()
    about["genes"] = [
        {"gene": gene, **{name: None if pd.isna(value) else float(value) for name, value in row.items()}}
        for gene, row in ranking.effects.to_dict(orient="index").items()
    ]
    return graph


def cost_of(
    model: CellModel, cells: Cells, cell: str, transcoders: Transcoders, target: str, against: str | None = None,
    *, features: int = FEATURES, memory: int = MEMORY,
) -> Cost:  # fmt: skip
    """Return what `trace` would take: one pass of the model, and no walk back."""
    transcoders.check(model)
    asked = asked_of(model, cells, cell, transcoders, target, against)
    return cost(asked.frozen, asked.replacement, 1, features, memory)


def asked_of(
    model: CellModel, cells: Cells, cell: str, transcoders: Transcoders, target: str, against: str | None
) -> Asked:
    """Return one cell with what is asked of it; InputError names a cell that is not there."""
    place = cells.obs.index.get_indexer(pd.Index([cell]))[0]
    if place < 0:
        some = ", ".join(map(str, cells.obs.index[:3]))
        raise InputError(f"{cells.source}: there is no cell {cell!r}; its cells are named as {some}, ...")
    given = transcoders.crosslayer if transcoders.is_crosslayer else list(transcoders.dictionaries)
    return ask(transcoders.check(model), cells[place : place + 1], given, target, against)


def gene_table(graph: Graph) -> pd.DataFrame:
    """Return the genes of a traced graph with their effects, by falling size of the total one."""
    return pd.DataFrame(graph.about.get("genes", [])).set_index("gene")
