"""Whether the circuit of a class shows a planted rule as two hops, from a gene through two features to the answer.

The cells, networks and transcoders are those of ``planted_circuit.py``, and so is the rule: A counts for something if C
is counted; where C is not, D does. Asked is what tells cells of which this rule alone is true from cells of which none
is, in the circuit of the first as a class: the merged graph of many cells, whatever they hang on. A path shows the rule
where it goes from A, C or D through features of two layers or more. Random transcoders beside; networks as they learn,
and networks whose heads cannot choose where they look.

    python benchmarks/planted_hops.py --quick
    python benchmarks/planted_hops.py --raw /tmp/hops --json benchmarks/results/planted_hops.json

``docs/fill_readme.py`` puts the table into docs/results/planted_circuit.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

from common import Row, machine, write_rows
from planted_circuit import FULL, MARKERS, QUICK, SHORT, Learnt, Size, learnt, simulate

from cellglass.circuits import class_circuit, strongest_paths
from cellglass.circuits.classes.circuit import ClassCircuit
from cellglass.circuits.controls import random_like
from cellglass.circuits.names import PROMPT
from cellglass.circuits.transcoders import Transcoders
from cellglass.files import atomic_path
from cellglass.models.cell2sentence.text import PROMPTS
from cellglass.seeds import derive
from cellglass.threads import threads

TRUE, FALSE = "gamma", "alpha"
"""Cells of which the second rule alone is true, and of which none is."""
LISTED, LOOKED = 40, 1000
"""Paths that the page lists, and in which the first through two layers is looked for."""
N_CELLS = 20
"""Of each of the two types."""
NETWORKS = {"heads cannot choose": True, "as they learn": False}
TRANSCODERS = ("trained", "random")


def main() -> None:
    """Run the seeds side by side, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed of a small study")
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds (default 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the machine and the rows here")
    parser.add_argument("--raw", type=Path, metavar="FOLDER", help="keep each seed's paths here, and go on from there")
    parser.add_argument("--only", choices=[*NETWORKS], help="one of the two sorts of networks")
    options = parser.parse_args()
    about = machine()
    size, seeds = (QUICK, 1) if options.quick else (FULL, options.seeds)
    sorts = [even for name, even in NETWORKS.items() if options.only in (None, name)]
    jobs = [(seed, replace(size, even=even), options.raw) for even in sorts for seed in range(seeds)]
    workers = min(len(jobs), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(one_seed, *zip(*jobs, strict=True)))
    rows = [row for one in found for row in rows_of(one)]
    for row in rows:
        print(f"{row.metric:<60} {row.name:<50} {row.value:g}")
    if options.json is not None:
        write_rows(options.json, about, rows)


def one_seed(seed: int, size: Size, raw: Path | None = None) -> dict[str, Any]:
    """Return the strongest paths of a seed's class circuits, by transcoders; with `raw`, kept there and taken from it.

    A path is its source, the layers of its features, and its effect.
    """
    name = next(name for name, even in NETWORKS.items() if even == size.even)
    kept = None if raw is None else raw / f"{name}, {seed}.json"
    if kept is not None and kept.exists():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    with threads(1), mock.patch.dict(PROMPTS, SHORT):
        made = learnt(size, seed)
        paths = {kind: paths_of(circuit_of(made, seed, kind)) for kind in TRANSCODERS}
    found = {
        "seed": seed, "network": name, "accuracy": made.accuracy, "paths": paths,
        "markers": dict(zip("ACD", marked(seed), strict=True)),
    }  # fmt: skip
    if kept is not None:
        with atomic_path(kept) as temporary:
            temporary.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return found


def marked(seed: int) -> list[str]:
    """Return the symbols of A, C and D of the second rule."""
    held = simulate(1, seed, "held")
    return [str(one) for one in held.cells.genes["symbol"].to_numpy()[held.markers[MARKERS["two hops"]]]]


def circuit_of(made: Learnt, seed: int, kind: str, n_cells: int = N_CELLS) -> ClassCircuit:
    """Return the circuit of the cells of which the rule is true, with trained or random transcoders."""
    given = made.transcoders if kind == "trained" else drawn(made.transcoders, seed)
    held = simulate(2000, seed, "held").cells
    return class_circuit(made.model, held, TRUE, given, labels="type", against=FALSE, n_cells=n_cells)


def drawn(transcoders: Transcoders, seed: int) -> Transcoders:
    """Return random transcoders: rows as long, as many latents active."""
    some: Any = random_like(transcoders.stand_ins, [], derive(seed, "planted hops"))
    return replace(transcoders, dictionaries=tuple(some))


def paths_of(circuit: ClassCircuit) -> list[tuple[str, list[int], float]]:
    """Return the strongest paths: source, layers of the features, effect."""
    graph = circuit.graph()
    layer = graph.nodes["layer"].to_numpy()
    return [(one.source, layer[list(one.features)].tolist(), one.effect) for one in strongest_paths(graph, LOOKED)]


def rows_of(found: dict[str, Any]) -> Iterator[Row]:
    """Yield what one seed says; a place in the list is counted from 1, and 0 where there is none."""
    own = f"{found['network']}, seed {found['seed']}"
    yield Row("accuracy on unseen cells", own, found["accuracy"], "")
    for kind, paths in found["paths"].items():
        hops = [(place, source) for place, (source, layers, _) in enumerate(paths, 1) if len(set(layers)) > 1]
        genes = [(place, source) for place, source in hops if source != PROMPT]
        name = f"{own}, {kind} transcoders"
        listed = float(sum(place <= LISTED for place, _ in hops))
        yield Row("paths through two layers or more, of those listed", name, listed, "")
        first = float(bool(genes) and genes[0][1] in found["markers"].values())
        yield Row("the first path of a gene through two layers is of the rule", name, first, "")
        of_rule = [abs(effect) for source, layers, effect in paths
                   if len(set(layers)) > 1 and source in found["markers"].values()]  # fmt: skip
        yield Row("size of the strongest path of the rule through two layers", name, max(of_rule, default=0.0), "")
        for letter, symbol in found["markers"].items():
            place = next((place for place, source in hops if source == symbol), 0)
            yield Row(f"place of the first path through two layers, of {letter}", name, float(place), "")


if __name__ == "__main__":
    main()
