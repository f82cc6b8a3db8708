r"""What genes do to genes in a model: the total effect of gene A's tokens on what the model says of gene B.

    scGPT            expression:B    what the expression head gives at B's token
    Geneformer       masked:B        the logit of B at its own place, which is masked
    Cell2Sentence    gene:B          the logit of B as the next word, behind the sentence

logits less the mean of all genes, or of all tokens. The effect is the mean over the cells in which the model reads A
and can be asked for B. One walk back gives all effects on a target; targets that are asked of the same tokens share it.
A gene's effect on itself is left out. Running means are kept, so that memory grows with genes and not with cells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from cellglass.cells.cells import Cells
from cellglass.circuits.answers import Question, frozen_cell, gene_of, model_symbols, question
from cellglass.circuits.build import MEMORY, cost
from cellglass.circuits.classes.cells import ordered_cells
from cellglass.circuits.features import StandIns, replace_mlps
from cellglass.circuits.genes import of_targets
from cellglass.circuits.propagation import Targets, effects
from cellglass.circuits.transcoders import fingerprint_of
from cellglass.dictionaries.kinds.crosslayer import CrossLayerTranscoder
from cellglass.errors import InputError, listed
from cellglass.files import atomic_path, check_job, locked
from cellglass.models.folder import digest
from cellglass.models.transformer.model import TransformerModel
from cellglass.progress import Progress, silent
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

SORTS = {"scgpt": "expression", "geneformer": "masked", "cell2sentence": "gene"}
"""Kind of model -> the sort of answer that is about a gene."""
STATE = "edges.safetensors"


def gene_edges(
    model: TransformerModel,
    cells: Cells,
    transcoders: StandIns,
    genes: Sequence[str],
    *,
    folder: Path | str | None = None,
    memory: int = MEMORY,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Return what each gene does to each other one, over cells.

    Parameters
    ----------
    model
        A Cell2Sentence, scGPT or Geneformer.
    cells
        With raw counts; all of them are used, see `some_cells`.
    transcoders
        One for each layer, or a cross-layer one.
    genes
        Symbols, sources and targets alike; two at least.
    folder
        Where running means are kept after each cell. With it, a run that was killed goes on and ends with the same
        numbers.
    memory
        Bytes that the gradients of one walk may take.
    progress
        Told the cells that are done.

    Returns
    -------
    pandas.DataFrame
        One row an edge that was seen in a cell at least, by target and source: ``source``, ``target``, ``effect`` (mean
        over cells, in units of the answer), ``sd`` (over cells, NaN of one cell), ``n`` (cells).

    Raises
    ------
    InputError
        A gene that the model does not have, fewer than two genes, no cell, no cell in which anything can be asked, or a
        folder that holds other work.
    """
    if model.kind not in SORTS:
        raise InputError(f"the {model.kind} model says nothing of single genes; give one of {', '.join(SORTS)}")
    names = list(dict.fromkeys(genes))
    if len(names) < 2:
        raise InputError(f"what genes do to genes needs two of them at least; {len(names)} was given")
    if not cells.n_cells:
        raise InputError("there are no cells; give at least one")
    symbols = model_symbols(model)
    names = [symbols[gene_of(model, name)] for name in names]
    place = None if folder is None else Path(folder)
    if place is None:
        return _table(_run(model, cells, transcoders, names, None, "", memory, progress), names)
    with locked(place, "trace of genes"):
        job = _job(model, cells, transcoders, names)
        return _table(_run(model, cells, transcoders, names, place / STATE, job, memory, progress), names)


def some_cells(
    cells: Cells, n: int, labels: str | None = None, label: str | None = None, batch: str | None = None, seed: int = 0
) -> Cells:
    """Return n cells that are drawn at random, or all that there are: of one label, if it is given with its column.

    Donors of the column `batch` take turns then.
    """
    if n < 1:
        raise InputError(f"the number of cells is {n}; it must be at least 1")
    if label is None:
        return cells[np.sort(generator(seed, "cells of edges").permutation(cells.n_cells)[:n])]
    if labels is None:
        raise InputError(f"say which column of obs has {label!r}")
    return cells[np.sort(ordered_cells(cells, labels, label, batch, seed)[:n])]


def _run(
    model: TransformerModel, cells: Cells, transcoders: StandIns, names: list[str], state: Path | None, job: str,
    memory: int, progress: Progress,
) -> dict[str, Array]:  # fmt: skip
    """Return n, mean and squared deviations of every edge, each (sources, targets)."""
    shape = (len(names), len(names))
    held = {name: np.zeros(shape) for name in ("n", "mean", "squares")}
    first = 0
    reasons: list[str] = []
    if state is not None and state.exists():
        first, held = _resumed(state, job)
    for i in range(first, cells.n_cells):
        found = _of_cell(model, model.align(cells[i : i + 1]), transcoders, names, memory, reasons)
        seen = ~np.isnan(found)
        held["n"] += seen
        step = np.where(seen, found - held["mean"], 0)
        held["mean"] += step / np.maximum(held["n"], 1)
        held["squares"] += step * np.where(seen, found - held["mean"], 0)
        if state is not None:
            _keep(state, held, job, i + 1)
        progress("trace genes", i + 1, cells.n_cells)
    if not held["n"].any():
        reason = f"; such as: {reasons[0]}" if reasons else ""
        raise InputError(f"in none of {cells.n_cells} cells does one of {listed(names, 5)} act on another{reason}")
    return held


def _of_cell(
    model: TransformerModel, cell: Cells, transcoders: StandIns, names: list[str], memory: int, reasons: list[str]
) -> Array:
    """Return effects in one cell, float64 (sources, targets); NaN where the model reads no source or no target."""
    found = np.full((len(names), len(names)), np.nan)
    place = {name: i for i, name in enumerate(names)}
    for columns, questions in _together(model, cell, names, reasons):
        source = np.array([place.get(gene, -1) for gene in questions[0].genes], dtype=np.int64)
        read = source >= 0
        frozen = frozen_cell(model, questions[0].tokens)
        made = replace_mlps(frozen, transcoders)
        batch = cost(frozen, made, len(columns), 0, memory).batch
        for start in range(0, len(columns), batch):
            some = slice(start, start + batch)
            asked = [one.ask(frozen).targets for one in questions[some]]
            targets = Targets(
                asked[0].state, torch.cat([x.gradient for x in asked], 1), torch.cat([x.constant for x in asked])
            )
            values = of_targets(effects(frozen, made, targets, total=True), frozen)  # (t, B)
            added = np.zeros((len(names), values.shape[1]))
            np.add.at(added, source[read], values[read])
            here = np.unique(source[read])
            found[here[:, None], np.array(columns[some])] = added[here]
    np.fill_diagonal(found, np.nan)
    return found


def _together(
    model: TransformerModel, cell: Cells, names: list[str], reasons: list[str]
) -> Iterator[tuple[list[int], list[Question]]]:
    """Yield the targets that are asked of the same tokens, with their questions; what cannot be asked is left out."""
    sets: dict[bytes, tuple[list[int], list[Question]]] = {}
    for column, name in enumerate(names):
        try:
            one = question(model, cell, f"{SORTS[model.kind]}:{name}")
        except InputError as error:  # the model does not read the target in this cell
            reasons[:] = reasons[:1] or [str(error)]
            continue
        value = b"" if one.tokens.value is None else one.tokens.value.tobytes()
        columns, questions = sets.setdefault(one.tokens.ids.tobytes() + value, ([], []))
        columns.append(column)
        questions.append(one)
    yield from sets.values()


def _table(held: dict[str, Array], names: list[str]) -> pd.DataFrame:
    target, source = np.nonzero(held["n"].T)
    n = held["n"][source, target].astype(np.int64)
    sd = np.sqrt(held["squares"][source, target] / np.where(n > 1, n - 1, np.nan))
    words = np.array(names, dtype=object)
    return pd.DataFrame({"source": words[source], "target": words[target], "effect": held["mean"][source, target],
                         "sd": sd, "n": n})  # fmt: skip


# -- going on with work that was stopped ------------------------------------------------------------------------------


def _keep(state: Path, held: dict[str, Array], job: str, done: int) -> None:
    with atomic_path(state) as temporary:
        temporary.write_bytes(save(held, metadata={"job": job, "done": str(done)}))


def _resumed(state: Path, job: str) -> tuple[int, dict[str, Array]]:
    try:
        with safe_open(state, "np") as file:
            about = file.metadata() or {}
            held = {name: np.array(file.get_tensor(name)) for name in ("n", "mean", "squares")}
            done = int(about["done"])
    except (SafetensorError, KeyError, ValueError, OSError):
        raise InputError(f"{state} cannot be read; remove {state.parent}") from None
    check_job(state.parent, about.get("job"), job, "effects of genes on genes")
    return done, held


def _job(model: TransformerModel, cells: Cells, transcoders: StandIns, names: list[str]) -> str:
    """Return the sha256 of all that the edges depend on."""
    told = hashlib.sha256(json.dumps([fingerprint_of(model), names, list(map(str, cells.obs.index))]).encode())
    told.update("\n".join(map(str, cells.genes.index)).encode())
    for array in (cells.counts.data, cells.counts.indices, cells.counts.indptr):
        told.update(np.ascontiguousarray(array).tobytes())
    for one in [transcoders] if isinstance(transcoders, CrossLayerTranscoder) else transcoders:
        assert isinstance(one, torch.nn.Module)  # noqa: S101  `replace_mlps` knows no others
        told.update(digest({"kind": one.kind}, one.state_dict()).encode())
    return told.hexdigest()
