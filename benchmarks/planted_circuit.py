r"""Does a graph name the genes that an answer hangs on? Held against rules that were planted in simulated cells.

For each seed: simulate cells of four types, which follow two rules at once, train a small Cell2Sentence from scratch
until it knows the type of cells that it has not seen, train transcoders for its MLPs, and ask of other cells why they
are of their type and not of the one that differs in one rule alone. So the network attends to the markers of both
rules, and only one rule's are the answer. A ranking is right in a cell where the genes of largest effect, as many as
the cell counts of the rule's markers, are these. The same is asked of networks whose heads cannot choose where they
look, so that features alone can hold the rules. A study, not a measure of speed.

    python benchmarks/planted_circuit.py --quick
    python benchmarks/planted_circuit.py --raw /tmp/planted --markdown docs/results/planted_circuit.md \
        --json docs/results/planted_circuit.json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from common import Row, machine
from planted_circuit_report import classes_right, markdown, seeds_right

from cellglass.cells.cells import Cells
from cellglass.circuits import (
    Graph,
    ask,
    build_graph,
    counterfactuals,
    effects,
    frozen_cell,
    random_transcoders,
    rank_genes,
    train_transcoders,
)
from cellglass.circuits.asked import Asked
from cellglass.circuits.genes import by_gene
from cellglass.circuits.transcoders import Transcoders
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.models.cell2sentence.model import Cell2SentenceModel
from cellglass.models.cell2sentence.text import PROMPTS, Prompt
from cellglass.seeds import derive, generator
from cellglass.threads import threads

Array = np.ndarray[Any, Any]

RULES = ("one hop", "two hops")
"""A and not B; A where C is counted, D where it is not: there A counts for nothing beside no C. No marker is shared."""
TYPES = ("alpha", "beta", "gamma", "delta")
"""By what the rules say: neither, the first, the second, both."""
MARKERS = {"one hop": slice(0, 2), "two hops": slice(2, 5)}
GENES = 24
SHORT = {"cell_type": Prompt("Cell:", ". Type:")}
"""The prompt of published models would be four fifths of each text, the same in all."""
KNOWN = 0.99
"""Accuracy on unseen cells at which training ends."""


@dataclass(frozen=True)
class Size:
    """How large a study is; cells and graphs are of each rule."""

    layers: int = 3
    width: int = 48
    heads: int = 2
    steps: int = 1000
    batch: int = 64
    transcoded: int = 1000
    rows: int = 10_000
    latents: int = 192
    k: int = 8
    transcoder_steps: int = 400
    cells: int = 6
    graphs: int = 1
    even: bool = False
    """Whether queries and keys stay 0: heads look at all tokens before alike, and no pattern can hold a rule."""


FULL = Size()
QUICK = Size(transcoded=200, rows=6_000, transcoder_steps=200, cells=4)


# -- cells -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planted:
    """Cells of four types, the positions of the markers, and what each rule makes of each cell.

    `said`, bool (cells, rules); `pivotal`, bool (rules, cells, genes): whether a rule says otherwise without the gene.
    """

    cells: Cells
    markers: Array
    said: Array
    pivotal: Array

    def hanging_on(self, rule: str, n: int, wanted: Sequence[Sequence[int]]) -> Array:
        """Return `n` cells whose pivotal markers are, in turn, each of `wanted`; the other rule has some there too."""
        number, found = RULES.index(rule), []
        for one in wanted:
            exactly = np.zeros(GENES, dtype=bool)
            exactly[self.markers[list(one)]] = True
            found.append(np.flatnonzero((self.pivotal[number] == exactly).all(1) & self.pivotal[1 - number].any(1)))
        return np.array([found[i % len(wanted)][i // len(wanted)] for i in range(n)])


def says(counted: Array, rule: str) -> Array:
    """Return what a rule says of cells, from which of its own markers each counts."""
    if rule == "one hop":
        return np.asarray(counted[:, 0] & ~counted[:, 1])
    return np.where(counted[:, 1], counted[:, 0], counted[:, 2])


def simulate(n: int, seed: int, part: str) -> Planted:
    """Return cells whose genes are counted independently, markers in half of the cells, others in two fifths."""
    markers = generator(seed, "planted circuit", "markers").permutation(GENES)[:5]
    rng = generator(seed, "planted circuit", part)
    share = np.full(GENES, 0.4)
    share[markers] = 0.5
    counts = (rng.random((n, GENES)) < share) * (1 + rng.poisson(2, (n, GENES)))
    counts[counts.sum(1) == 0, np.setdiff1d(np.arange(GENES), markers)[0]] = 1
    said, pivotal = np.zeros((n, len(RULES)), dtype=bool), np.zeros((len(RULES), n, GENES), dtype=bool)
    for number, rule in enumerate(RULES):
        own = markers[MARKERS[rule]]
        said[:, number] = says(counts[:, own] > 0, rule)
        for i, marker in enumerate(own):
            without = counts[:, own] > 0
            without[:, i] = False
            pivotal[number, :, marker] = (counts[:, marker] > 0) & (says(without, rule) != said[:, number])
    names = [f"{first}{second}" for first in "KLMNPR" for second in "AEIO"]
    types = np.array(TYPES)[said @ [1, 2]]
    cells = Cells(
        sp.csr_matrix(counts.astype(np.float32)),
        pd.DataFrame({"symbol": names}, index=names),
        pd.DataFrame({"type": types}, index=[f"{part}{i}" for i in range(n)]),
        source="planted cells",
    )
    return Planted(cells, markers, said, pivotal)


def asked_about(said: Array, rule: str) -> tuple[str, str]:
    """Return the type of a cell of which the rule is true, and that of which it is not, the other rule as it is."""
    bit, rest = (1, 2 * said[1]) if rule == "one hop" else (2, said[0])
    return TYPES[bit + int(rest)], TYPES[int(rest)]


# -- network -----------------------------------------------------------------------------------------------------------


def train_network(size: Size, seed: int) -> tuple[Cell2SentenceModel, float, int]:
    """Return a network that has learnt the type alone, its accuracy on unseen cells, and the steps that it took.

    Every step reads new cells, so that nothing but the rules can be learnt.
    """
    learn = simulate(size.steps * size.batch, seed, "learn").cells
    model = Cell2SentenceModel.fit(
        learn[:500], layers=size.layers, width=size.width, heads=size.heads, epochs=0, labels="type", n_genes=GENES,
        vocabulary=800, seed=seed,
    )  # fmt: skip
    stop, test = (simulate(400, seed, part).cells for part in ("stop", "test"))
    net = model.net.requires_grad_(True).train()
    held = looks_alike(net) if size.even else []
    rate = 2e-3
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    rng, step = generator(seed, "planted circuit", "ties"), 0
    while step < size.steps:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 40, 2 * (1 - step / size.steps) + 0.02)
        some = learn[step * size.batch : (step + 1) * size.batch]
        loss = torch.nn.functional.cross_entropy(logits(model, some, rng), types(some))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        for weight, rows in held:
            weight.data[rows] = 0
        step += 1
        if step % 50 == 0 and accuracy(model, stop) >= KNOWN:
            break
    model.net.requires_grad_(False).eval()
    return model, accuracy(model, test), step


def looks_alike(net: Any) -> list[tuple[torch.nn.Parameter, Array]]:
    """Set queries and keys of a GPT-NeoX to 0; return the weights and which of their rows are to stay so."""
    found, size = [], net.config.hidden_size // net.config.num_attention_heads
    rows = np.concatenate([np.arange(2 * size) + 3 * size * head for head in range(net.config.num_attention_heads)])
    for name, weight in net.named_parameters():
        if ".query_key_value." in name:
            weight.data[rows] = 0
            found.append((weight, rows))
    return found


def logits(model: Cell2SentenceModel, cells: Cells, rng: np.random.Generator | None = None) -> torch.Tensor:
    """Return the logits of the first tokens of the types, (n, 4); ties of counts as `rng` shuffles them."""
    ties = None if rng is None else rng.permutation(cells.counts.nnz)
    lists = model.writer.tokens(cells, "cell_type", ties=ties)
    parts = np.split(lists.ids.astype(np.int64), lists.start[1:-1])
    ids = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(part) for part in parts], batch_first=True)
    states = model.net.base_model(input_ids=ids, use_cache=False).last_hidden_state
    last = states[torch.arange(len(ids)), torch.from_numpy(lists.lengths.astype(np.int64)) - 1]
    return last @ model.net.get_output_embeddings().weight[[model.writer.answer(f" {name}.")[0] for name in TYPES]].T


def types(cells: Cells) -> torch.Tensor:
    """Return the numbers of the cells' types."""
    return torch.from_numpy(pd.Index(TYPES).get_indexer(cells.obs["type"]).astype(np.int64))


@torch.no_grad()
def accuracy(model: Cell2SentenceModel, cells: Cells) -> float:
    """Return the share of cells whose type the network knows."""
    return float((logits(model, cells).argmax(1) == types(cells)).float().mean())


# -- rankings ----------------------------------------------------------------------------------------------------------


def rankings(
    asked: Asked, random: Asked, transcoders: Sequence[Any], drawn_ones: Any, correlation: pd.Series[Any]
) -> dict[str, pd.Series[Any]]:
    """Return by method what each gene of a cell does to the answer."""
    own = rank_genes(asked).effects
    drawn = rank_genes(random, columns=("total", "direct")).effects
    return {
        "total": own["total"],
        "features": own["total"] - own["direct"],
        "linear": with_patterns(asked),
        "lost": counterfactuals(asked, transcoders)["features"],
        "removal": own["removal"],
        "random total": drawn["total"],
        "random features": drawn["total"] - drawn["direct"],
        "random linear": with_patterns(random),
        "random lost": counterfactuals(random, drawn_ones)["features"],
        "direct": own["direct"],
        "gradient": gradient_by_input(asked),
        "integrated": own["integrated"],
        "occlusion": own["occlusion"],
        "deletion": own["deletion"],
        "correlation": correlation[own.index],
    }


def with_patterns(asked: Asked) -> pd.Series[Any]:
    """Return by gene the total effect through features, attention, and what shapes attention's patterns."""
    frozen = frozen_cell(asked.model, asked.question.tokens, scores=True)
    found = effects(frozen, asked.replacement, asked.answers.targets, total=True, patterns="linear").parts
    by_token = sum(part[:, 0] for name, part in found.items() if name not in frozen.constant)
    return by_gene(np.asarray(by_token, dtype=np.float64), asked.question.genes)


def gradient_by_input(asked: Asked) -> pd.Series[Any]:
    """Return by gene the gradient of the real model's answer times the token's embedding."""
    net, question = asked.model.net, asked.question
    assert question.read is not None  # noqa: S101 (of a label there is)
    with torch.enable_grad():
        ids = torch.from_numpy(question.tokens.ids.astype(np.int64))
        x = net.get_input_embeddings()(ids).detach().requires_grad_()
        answer = question.read(net.base_model(inputs_embeds=x[None], use_cache=False).last_hidden_state[0])
        (gradient,) = torch.autograd.grad(answer, x)
    return by_gene((gradient * x).sum(1).detach().numpy().astype(np.float64), question.genes)


def correlations(cells: Cells, said: Array) -> pd.Series[Any]:
    """Return each gene's correlation of counts with what a rule says over cells."""
    found = np.corrcoef(np.column_stack([cells.counts.toarray(), said]).T)[-1, :-1]
    return pd.Series(found, index=cells.genes["symbol"].to_numpy())


def weight_by_length(graph: Graph, gene: str, most: int = 8) -> Array:
    """Return the sums of sizes of all paths from a gene to the answer that pass 0, 1, 2, ... features."""
    features, answer = graph.of_kind("feature"), graph.of_kind("answer")[0]
    tokens = [node for node in graph.of_kind("token") if graph.genes[int(graph.nodes["position"].iloc[node])] == gene]
    weights = abs(graph.weights.astype(np.float64)).tocsr()
    value = np.abs(graph.nodes["value"].to_numpy(dtype=np.float64)[features])
    given = np.asarray(weights[features][:, tokens].sum(1)).ravel()
    between = weights[features][:, features]
    found = [float(weights[answer, tokens].sum())]
    reach = weights[answer, features].toarray().ravel() / value
    for _ in range(most):
        found.append(float(reach @ given))
        reach = np.asarray(between.T @ reach).ravel() / value
    return np.array(found)


# -- one seed ----------------------------------------------------------------------------------------------------------


class Learnt(NamedTuple):
    """What was trained for a seed: the network, its accuracy on unseen cells and the steps that it took, transcoders.

    `cells` are those that the transcoders have learnt from.
    """

    model: Cell2SentenceModel
    accuracy: float
    steps: int
    transcoders: Transcoders
    cells: Planted


def learnt(size: Size, seed: int) -> Learnt:
    """Train the network of a seed, and transcoders for it; the prompt is to be `SHORT`."""
    model, known, steps = train_network(size, seed)
    learn = simulate(size.transcoded, seed, "transcode")
    training = TrainConfig(steps=size.transcoder_steps, learning_rate=2e-3, aux_weight=2.0, dead_after=2048)
    with tempfile.TemporaryDirectory() as folder:
        made = train_transcoders(
            model, learn.cells, Path(folder) / "transcoders", labels="type", latents=size.latents, k=size.k,
            n_rows=size.rows, training=training, seed=seed,
        )  # fmt: skip
    return Learnt(model, known, steps, made, learn)


def one_seed(seed: int, size: Size, raw: Path | None = None) -> dict[str, Any]:
    """Run the study for one seed; with `raw`, keep what was found there, and take it from there."""
    kept = None if raw is None else raw / f"{seed}.json"
    if kept is not None and kept.exists():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    start = time.perf_counter()
    with threads(1), mock.patch.dict(PROMPTS, SHORT):
        made = learnt(size, seed)
        found: dict[str, Any] = {"seed": seed, "accuracy": made.accuracy, "steps": made.steps}
        for number, rule in enumerate(RULES):
            correlation = correlations(made.cells.cells, made.cells.said[:, number])
            found[rule] = explained(made.model, list(made.transcoders.dictionaries), rule, correlation, size, seed)
    found["seconds"] = time.perf_counter() - start
    if kept is not None:
        kept.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return found


def explained(
    model: Cell2SentenceModel,
    transcoders: list[Any],
    rule: str,
    correlation: pd.Series[Any],
    size: Size,
    seed: int,
) -> dict[str, Any]:
    """Return of some cells what each ranking says, how long the paths are, and what transcoders leave over."""
    held, number = simulate(2000, seed, "held"), RULES.index(rule)
    # Of the first rule what hangs on A, and on B; of the second, what hangs on A and C together.
    chosen = held.hanging_on(rule, size.cells, [[0], [1]] if rule == "one hop" else [[2, 3]])
    symbols = held.cells.genes["symbol"].to_numpy()
    own = held.markers[MARKERS[rule]]
    cells: list[dict[str, Any]] = []
    for place, i in enumerate(chosen.tolist()):
        cell, which = held.cells[i : i + 1], asked_about(held.said[i], rule)
        pivotal = symbols[held.pivotal[number, i]].tolist()
        asked = ask(model, cell, transcoders, *which)
        drawn = random_transcoders(transcoders, asked.frozen, derive(seed, "planted circuit", i))
        ranked = rankings(asked, ask(model, cell, drawn, *which), transcoders, drawn, correlation)
        found = {
            "pivotal": pivotal,
            "markers": symbols[own[held.cells.counts[i].toarray()[0, own] > 0]].tolist(),
            "effects": {name: effect.dropna().to_dict() for name, effect in ranked.items()},
            "error": [left_over(asked, layer) for layer in range(size.layers)],
            "lengths": [],
        }
        if place < size.graphs * (3 - len(pivotal)):  # of the first rule, a graph for A and one for B
            graph = build_graph(asked.frozen, asked.replacement, asked.answers, asked.question.texts,
                                asked.question.genes, most=100_000)  # fmt: skip
            by_length = [weight_by_length(graph, gene) for gene in pivotal]
            found["lengths"] = [(one / one.sum()).tolist() for one in by_length]
        cells.append(found)
    markers = dict(zip("AB" if rule == "one hop" else "ACD", symbols[own].tolist(), strict=True))
    return {"cells": cells, "markers": markers}


def left_over(asked: Asked, layer: int) -> float:
    """Return the share of an MLP's variance over a cell's tokens that its transcoder leaves over."""
    out = asked.frozen.mlp_out[layer]
    return float(asked.replacement.error[layer].square().sum() / (out - out.mean(0)).square().sum())


# -- study -------------------------------------------------------------------------------------------------------------


def run(size: Size, seeds: int, raw: Path | None) -> list[dict[str, Any]]:
    """Run the seeds side by side, one process a core."""
    if raw is not None:
        raw.mkdir(parents=True, exist_ok=True)
    workers = min(seeds, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(one_seed, seed, size, raw) for seed in range(seeds)]
        return [one.result() for one in waiting]


def rows_of(found: list[dict[str, Any]]) -> list[Row]:
    """Return one row for each group of cells and ranking: seeds in which it is right."""
    rows = [
        Row("seeds_right", f"{one.method}, cells with {one.cells}", float(one.right), f"of {one.seeds}")
        for one in seeds_right(found).itertuples(index=False)
    ]
    rows += [
        Row("seeds_right", f"{one.method}, mean over cells with {one.cells}", float(one.right), f"of {one.seeds}")
        for one in classes_right(found).itertuples(index=False)
    ]
    return rows + [Row("accuracy", f"seed {one['seed']}", one["accuracy"], "share") for one in found]


def main() -> None:
    """Parse the flags, run the seeds side by side, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="one seed of a small study")
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds (default 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the machine and the rows here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here")
    parser.add_argument(
        "--raw", type=Path, metavar="FOLDER", help="keep each seed's figures here, and go on from there"
    )
    options = parser.parse_args()
    about = machine()
    size, seeds = (QUICK, 1) if options.quick else (FULL, options.seeds)
    found = run(size, seeds, options.raw)
    even = run(replace(size, even=True, graphs=0), seeds, None if options.raw is None else options.raw / "even")
    text = markdown(found, even, asdict(size), about)
    print(text)
    if options.markdown is not None:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(text, encoding="utf-8")
    if options.json is not None:
        record: dict[str, Any] = {
            "machine": about,
            "size": asdict(size),
            "rows": [asdict(row) for row in rows_of(found)],
            "rows_even": [asdict(row) for row in rows_of(even)],
        }
        options.json.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
