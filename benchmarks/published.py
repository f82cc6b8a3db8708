r"""What circuits of published checkpoints take: rates measured on small drawn networks of the same architecture.

No published weights are needed. Networks of three sizes are drawn, each in a process of its own, and every step that
`cellglass circuits train` and `cellglass trace` take is timed on one thread, in seconds of the processor:

    capture      reading all MLPs            seconds against parameters x tokens
    step         one step of a transcoder    seconds against rows x width x latents
    trace        one cell's graph            seconds against parameters x tokens x targets (features and the answer)
    deletion     one gene of one cell        seconds against parameters x tokens

Parameters are those that multiply a token: all but embeddings. A line, seconds = fixed + rate x work, is fitted to the
three sizes (least squares of relative errors, neither below 0). What a published checkpoint takes is then read off the
line, far beyond the sizes that were measured: an estimate. Numbers of parameters come from the published
configurations, counted by transformers without any weight.

    python benchmarks/published.py --quick
    python benchmarks/published.py --json benchmarks/results/published.json

``docs/fill_readme.py`` puts the tables into docs/published.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from common import Row, machine, write_rows
from published_checkpoints import CHECKPOINTS, Rate, Recipe, costs, counted
from scipy.optimize import nnls

from cellglass.cells import Cells, demo_cells
from cellglass.circuits.asked import ask
from cellglass.circuits.build import build_graph
from cellglass.circuits.deletion import counterfactuals
from cellglass.circuits.mlps import mlp_sites
from cellglass.circuits.objectives import objective_of
from cellglass.circuits.tokens import capture_tokens
from cellglass.dictionaries import TopK, TopKConfig
from cellglass.dictionaries.fitting import fit
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.models.cell2sentence.model import Cell2SentenceModel
from cellglass.threads import threads

Array = np.ndarray[Any, Any]

LABELS = "bulk_labels"
ASKED = "CD19+ B", "CD14+ Monocyte"
K = 16
LATENTS_A_DIMENSION = 8
"""As `cellglass circuits train` has them."""


class Size(NamedTuple):
    """Layers and width of the networks, cells that are captured, rows and steps of training, features of a graph."""

    networks: Sequence[tuple[int, int]]
    cells: int
    rows: int
    steps: int
    features: int
    genes: int


FULL = Size([(4, 128), (4, 256), (6, 512)], cells=12, rows=2048, steps=3, features=256, genes=4)
QUICK = Size([(2, 32), (2, 64), (3, 96)], cells=12, rows=512, steps=2, features=32, genes=2)
ARCHITECTURES = ("gpt_neox", "gemma2")
STEPS = ("capture", "step", "trace", "deletion")


def main() -> None:
    """Measure, fit, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="very small networks")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--measured", type=Path, metavar="FILE", help="take times from here, and measure nothing")
    options = parser.parse_args()
    if options.measured is None:
        about, rows = machine(), []
        for row in measured(QUICK if options.quick else FULL):
            print(f"{row.metric:<44} {row.name:<56} {row.value:.4g} {row.unit}", flush=True)
            rows.append(row)
    else:
        held = json.loads(options.measured.read_text(encoding="utf-8"))
        about, rows = held["machine"], [one for one in (Row(**row) for row in held["rows"]) if is_measured(one)]
    for row in estimated(rows):
        print(f"{row.metric:<44} {row.name:<56} {row.value:.4g} {row.unit}", flush=True)
        rows.append(row)
    if options.json is not None:
        write_rows(options.json, about, rows)


def is_measured(row: Row) -> bool:
    """Return whether a figure is of a network that was drawn here."""
    return " x " in row.name


def measured(size: Size) -> Iterator[Row]:
    """Yield what each network took."""
    for architecture in ARCHITECTURES:
        for layers, width in size.networks:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                found = pool.submit(one_network, architecture, layers, width, size).result()
            name = f"{architecture} {layers} x {width}"
            for step in STEPS:
                yield Row(f"{step}: work", name, found[f"{step}: work"], "")
                yield Row(f"{step}: seconds", name, found[step], "s")
            yield Row("parameters but embeddings", name, found["parameters"], "")
            yield Row("peak memory", name, found["peak"] / 2**20, "MiB")


def estimated(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the rates, and what published checkpoints would take by them."""
    for architecture in ARCHITECTURES:
        own = [row for row in rows if row.name.startswith(f"{architecture} ")]
        rates = {}
        for step in STEPS:
            work, seconds = (
                np.array([row.value for row in own if row.metric == f"{step}: {what}"]) for what in ("work", "seconds")
            )
            rates[step] = line(work, seconds)
            yield Row(f"{step}: fixed", architecture, rates[step].fixed, "s")
            yield Row(f"{step}: rate", architecture, rates[step].rate, "s")
            off = float(np.abs(rates[step].seconds(work) / seconds - 1).max())
            yield Row(f"{step}: most that the line is off", architecture, off, "share")
        for name, checkpoint in CHECKPOINTS.items():
            if checkpoint.architecture == architecture:
                every, used = counted(checkpoint)
                yield Row("parameters", name, float(every), "")
                yield Row("parameters but embeddings", name, float(used), "")
                for what, value, unit in costs(checkpoint, used, every, rates, Recipe()):
                    yield Row(what, name, value, unit)


def line(work: Array, seconds: Array) -> Rate:
    """Return the line that fits seconds to work, relative errors squared, neither part below 0."""
    columns = np.stack([1 / seconds, work / seconds], axis=1)
    scale = columns.max(axis=0)
    fixed, rate = nnls(columns / scale, np.ones(len(work)))[0] / scale
    return Rate(float(fixed), float(rate))


def one_network(architecture: str, layers: int, width: int, size: Size) -> dict[str, float]:
    """Return what each step takes on a drawn network, in a process of its own, whose peak memory is its own too."""
    cells = demo_cells()
    with threads(1):
        model = Cell2SentenceModel.fit(
            cells[:40], layers=layers, width=width, heads=max(2, width // 64), epochs=0, labels=LABELS, n_genes=100,
            architecture=architecture,
        )  # fmt: skip
        apart = {id(one) for part in (model.net.get_input_embeddings(), model.net.get_output_embeddings())
                 for one in part.parameters()}  # fmt: skip
        used = sum(one.numel() for one in model.net.parameters() if id(one) not in apart)
        found = {"parameters": float(used)}
        captured(model, cells[: size.cells], used, found)
        trained(width, size, found)
        traced(model, cells, used, size, found)
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    return found


def captured(model: Cell2SentenceModel, cells: Cells, used: int, found: dict[str, float]) -> None:
    """Time the capture of all MLPs."""
    objective = objective_of(model, LABELS, 0)
    tokens = len(objective.shown(model.align(cells)).tokens.ids)
    times = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            capture_tokens(objective, cells, Path(folder) / "tokens", source="rates")
            times.append(time.process_time() - start)
    found["capture"], found["capture: work"] = min(times), float(used) * tokens
    assert len(mlp_sites(model)) == 2 * model.net.config.num_hidden_layers  # noqa: S101


def trained(width: int, size: Size, found: dict[str, float]) -> None:
    """Time steps of one layer's transcoder, what is done once left out."""
    latents = LATENTS_A_DIMENSION * width
    x, y = torch.randn(2, 5 * size.rows, width, generator=torch.Generator().manual_seed(0))
    config = TopKConfig(width, latents, k=min(K, latents), d_out=width)

    def run(steps: int) -> float:
        how = TrainConfig(batch_size=size.rows, steps=steps, check_every=1000, patience=1000, threads=1)
        rows = {"rows_train": np.arange(4 * size.rows), "rows_valid": np.arange(4 * size.rows, 5 * size.rows)}
        start = time.process_time()
        fit("topk", x.numpy(), config=config, training=how, target=y.numpy(), seed=0, **rows)
        return time.process_time() - start

    run(1)
    short = run(1)
    found["step"] = max(1e-6, (run(1 + size.steps) - short) / size.steps)
    found["step: work"] = float(size.rows) * width * latents


def traced(model: Cell2SentenceModel, cells: Cells, used: int, size: Size, found: dict[str, float]) -> None:
    """Time a cell's graph, and the deletion of a gene."""
    own = cells[np.flatnonzero((cells.obs[LABELS] == ASKED[0]).to_numpy())[:1]]
    given = [drawn(model, i) for i in range(model.net.config.num_hidden_layers)]
    one = ask(model, own, given, *ASKED)
    tokens = len(one.question.tokens.ids)
    start = time.process_time()
    again = ask(model, own, given, *ASKED)
    graph = build_graph(again.frozen, again.replacement, again.answers, again.question.texts, again.question.genes,
                        most=size.features)  # fmt: skip
    found["trace"] = time.process_time() - start
    if len(graph.of_kind("feature")) != size.features:
        raise RuntimeError(f"the graph has {len(graph.of_kind('feature'))} features and not {size.features}")
    found["trace: work"] = float(used) * tokens * (1 + size.features)
    genes = [gene for gene in dict.fromkeys(one.question.genes) if gene]
    times = []
    for some in (genes[:1], genes[: 1 + size.genes]):
        start = time.process_time()
        counterfactuals(one, given, some)
        times.append(time.process_time() - start)
    found["deletion"] = max(1e-6, (times[1] - times[0]) / size.genes)
    found["deletion: work"] = float(used) * tokens


def drawn(model: Cell2SentenceModel, layer: int) -> TopK:
    """Return a transcoder with drawn weights."""
    width = model.net.config.hidden_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(layer)
        made = TopK(TopKConfig(width, LATENTS_A_DIMENSION * width, k=K, d_out=width))
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.normal_(std=0.1)
    return made.freeze()


if __name__ == "__main__":
    main()
