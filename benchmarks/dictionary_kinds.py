r"""Every kind of dictionary, width and k on the latent space of one scVI model: fidelity, stability, probes, alignment.

Five seeds of each. Held-out cells, metrics and their nulls are those of ``cellglass run``. What is finished is kept
under ``build/kinds`` and not done again. A consensus dictionary finds its number of latents itself: it is measured as
it comes, and its concepts alone. ``--kinds`` measures some kinds and keeps the other rows of the JSON file. A study,
not a measure of speed.

    python benchmarks/dictionary_kinds.py --quick
    python benchmarks/dictionary_kinds.py --workers 2 --json benchmarks/results/dictionary_kinds.json \
        --markdown docs/results/dictionary_kinds.md
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from common import Row, machine

import cellglass
from cellglass.activations import capture, open_store
from cellglass.cells import align_genes, variable_genes
from cellglass.cells.cells import Cells
from cellglass.dictionaries import default_config, fit
from cellglass.dictionaries.kinds.consensus import STATISTICS, Consensus
from cellglass.dictionaries.registry import trained
from cellglass.evaluation import evaluate
from cellglass.evaluation.alignment import align
from cellglass.evaluation.labels import encode_labels
from cellglass.files import atomic_path
from cellglass.models.scvi import model as scvi
from cellglass.seeds import derive, generator

ROOT = Path(__file__).parents[1]
ZHENG = ROOT.parent / "shared" / "data" / "cells" / "zheng_facs_pbmc.h5ad"
KEPT = ROOT / "build" / "kinds"
WIDTHS, ACTIVE, SEEDS = (64, 128, 256), (4, 8, 12), 5
BASELINES = ("neurons", "pca", "ica", "random", "clusters")
CONSENSUS, CONCEPTS = "consensus", "consensus, concepts alone"
OF_LATENTS = ("encoder", "encoder_bias", "decoder", "threshold", *STATISTICS)
"""Weights of which each latent has its own."""
COLUMNS = {
    "fidelity.variance_explained": "variance explained",
    "fidelity.l0": "active",
    "fidelity.dead_share": "dead",
    "stability.concepts": "cosine across seeds",
    "stability.concepts.coactivation": "correlation across seeds",
    "probe": "probe",
    "f1": "mean F1",
}


def main() -> None:
    """Run the study and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="demo cells, one width and k, two seeds: two minutes")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    every = [*BASELINES, CONSENSUS, CONCEPTS, *(kind for kind in trained() if kind != CONSENSUS)]
    parser.add_argument("--kinds", nargs="+", choices=every, default=every, help="measure these alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the machine and the rows here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here")
    options = parser.parse_args()
    about = machine()
    cells, label = _cells(quick=options.quick)
    folder = KEPT / ("quick" if options.quick else "zheng")
    _site(cells, folder, epochs=20 if options.quick else 100)
    widths, active, seeds = ((64,), (8,), 2) if options.quick else (WIDTHS, ACTIVE, SEEDS)
    jobs = []
    for kind in options.kinds:
        free = kind in (*BASELINES, CONSENSUS, CONCEPTS)
        jobs += [(kind, 0, 0)] if free else [(kind, width, k) for width in widths for k in active]
    context = multiprocessing.get_context("spawn")
    work = partial(_one, folder, seeds, label, cells.obs[[label]])
    results: dict[tuple[str, int, int], dict[str, Any]] = {}
    with ProcessPoolExecutor(options.workers, mp_context=context) as pool:
        for job, found in zip(jobs, pool.map(work, jobs), strict=True):
            results[job] = found
            print(_line(job, found), flush=True)
    rows = [asdict(row) for row in _rows(results)]
    if options.kinds != every and options.json is not None and options.json.exists():
        before = json.loads(options.json.read_text(encoding="utf-8"))
        rows = _joined(before["rows"], rows, every)
        about = {**before["machine"], "measured elsewhere": {"kinds": options.kinds, "machine": about}}
    if options.json is not None:
        text = json.dumps({"machine": about, "rows": rows}, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.markdown is not None:
        options.markdown.write_text(_markdown(rows, about, cells, label), encoding="utf-8")


def _cells(*, quick: bool) -> tuple[Cells, str]:
    if quick or not ZHENG.exists():
        return cellglass.demo_cells(), "bulk_labels"
    return cellglass.read_cells(ZHENG), "celltype"


def _site(cells: Cells, folder: Path, epochs: int) -> None:
    """Fit scVI as ``cellglass run`` does with its defaults, and keep z with its posterior."""
    torch.set_num_threads(1)
    if (folder / "store").exists():
        return
    chosen = variable_genes(cells, 3000, seed=derive(0, "genes"))
    part = align_genes(cells, cells.genes.index[chosen])
    model = scvi.fit(part, n_latent=20, epochs=epochs, seed=0)
    with atomic_path(folder / "store") as temporary:
        capture(model, part, ["z"], temporary)


def _one(folder: Path, seeds: int, label: str, labels: pd.DataFrame, job: tuple[str, int, int]) -> dict[str, Any]:
    """Return the metrics of one kind, width and k over all seeds, from disk where they are there."""
    kind, width, k = job
    kept = folder / f"{kind}-{width}-{k}-{seeds}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    torch.set_num_threads(1)
    rows = open_store(folder / "store").rows("z")
    order = generator(0, "split").permutation(rows.n_rows)
    tenth = rows.n_rows // 10
    test, valid, seen = (np.sort(part) for part in (order[:tenth], order[tenth : 2 * tenth], order[2 * tenth :]))
    start = time.perf_counter()
    made = [_fitted(job, rows, seen, valid, derive(0, "kinds", seed)) for seed in range(seeds)]
    seconds = (time.perf_counter() - start) / seeds
    metrics = evaluate({"concepts": made}, rows.read, rows.n_rows, labels=labels, heldout=test, seed=0)
    found = {m.metric: {"value": m.value, "spread": m.spread, "null": m.null} for m in metrics}
    found["seconds"] = {"value": seconds, "spread": None, "null": None}
    found["latents"] = {"value": float(np.mean([one.n_latents for one in made])), "spread": None, "null": None}
    found["probe"] = found[f"probe.{label}.concepts"]
    found["f1"] = _mean_f1(made, rows, labels, label)
    with atomic_path(kept) as temporary:
        temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def _fitted(job: tuple[str, int, int], rows: Any, seen: Any, valid: Any, seed: int) -> Any:
    """Return one dictionary; concepts alone are those of a fit without residual latents."""
    (kind, width, k), config = job, None
    if kind == CONCEPTS:
        config = replace(default_config(rows.width, len(seen)), with_residual=False)
    elif width:
        config = default_config(rows.width, len(seen), kind=kind, n_latents=width, k=k)
    name = CONSENSUS if kind == CONCEPTS else kind
    made = fit(name, rows, config=config, rows_train=seen, rows_valid=valid, seed=seed)
    return concepts_of(made) if kind == CONCEPTS else made


def concepts_of(made: Any) -> Consensus:
    """Return the concepts of a consensus dictionary as a dictionary of their own."""
    n = made.n_findings
    config = replace(made.config, n_latents=n, k=min(made.config.k, n), n_core=n, n_concepts=n)
    alone = Consensus(config)
    few = {name: value[:n] if name in OF_LATENTS else value for name, value in made.state_dict().items()}
    alone.load_state_dict(few)
    alone.freeze()
    return alone


def _mean_f1(made: list[Any], rows: Any, labels: pd.DataFrame, label: str) -> dict[str, float]:
    """Return the mean over the label's values of the best latent's F1: mean and standard deviation over seeds."""
    means = []
    everything, encoded = rows.read(rows.positions(None)), encode_labels(labels[label])
    for number, dictionary in enumerate(made):
        codes = sp.csc_matrix(dictionary.encode(everything).to_csr())
        found = align(codes, encoded, derive(0, "halves", number), name=label)
        means.append(found.f1[found.best_latents(), np.arange(len(found.names))].mean())
    return {"value": float(np.mean(means)), "spread": float(np.std(means, ddof=1)), "null": None}


def _rows(results: dict[tuple[str, int, int], dict[str, Any]]) -> Iterator[Row]:
    for (kind, width, k), found in results.items():
        name = f"{kind}, {width} latents, k {k}" if width else kind
        for metric in (*COLUMNS, *(() if width else ("latents",)), "seconds"):
            if metric in found:
                yield Row(metric, name, found[metric]["value"], "s" if metric == "seconds" else "")
                for extra in ("spread", "null"):
                    if found[metric][extra] is not None:
                        yield Row(f"{metric}.{extra}", name, found[metric][extra], "")


def _line(job: tuple[str, int, int], found: dict[str, Any]) -> str:
    cells = "  ".join(f"{found[m]['value']:.3f}" if m in found else "     " for m in COLUMNS)
    return f"{job[0]:<22}{job[1]:>5}{job[2]:>4}  {cells}  {found['seconds']['value']:.1f} s"


def _joined(before: list[dict[str, Any]], now: list[dict[str, Any]], order: list[str]) -> list[dict[str, Any]]:
    """Return the rows of `before` with those of `now` in place of rows of the same name; kinds in `order`."""
    names = {row["name"] for row in now}
    rows = [row for row in before if row["name"] not in names] + now
    return sorted(rows, key=lambda row: order.index(_kind(row["name"])[0]))


def _kind(name: str) -> tuple[str, str, str]:
    """Return kind, width and k of the name of a row."""
    kind, found, rest = name.partition(", k ")
    kind, _, width = kind.rpartition(", ") if found else (name, "", "")
    return kind, width.removesuffix(" latents"), rest


def _markdown(rows: list[dict[str, Any]], about: dict[str, Any], cells: Cells, label: str) -> str:
    head = ["kind", "latents", "k", *COLUMNS.values()]
    lines = [
        "# Every kind of dictionary on one latent space",
        "",
        f"scVI's `z` (20 dimensions) of {cells.n_cells} cells ({Path(cells.source).name}), {SEEDS} seeds of each "
        "dictionary; written by `python benchmarks/dictionary_kinds.py`. Mean ± standard deviation over seeds, or over "
        "pairs of seeds; in brackets the control: dictionaries whose coordinates are exchanged among latents, matched "
        "in the same way, or each latent's activations moved to random cells.",
        "",
        f"- **variance explained**, **active** latents of a cell and **dead** share: on cells that no dictionary saw.\n"
        "- **cosine**, **correlation across seeds**: of decoder directions, and of activations, of the latents of two "
        "seeds matched one to one. All seeds see the same cells: what comes back in *other* cells is "
        "[another question](reproducibility.md), by which the default was chosen.\n"
        f"- **probe**: balanced accuracy of a logistic regression of `{label}` on the codes. **mean F1**: of the best "
        f"single latent for each value of `{label}`, chosen on one half of the cells and scored on the other.",
        "- **consensus** is the default: it finds its own number of latents. Concepts alone explain less: what they "
        "leave is what the residual latents are for.",
        "",
    ]
    if "measured elsewhere" in about:
        other = about["measured elsewhere"]
        lines += [
            f"Measured on {about['cpu']}; {', '.join(other['kinds'])} later on {other['machine']['cpu']}, on scVI "
            "fitted anew with the same seed, which ends in other weights on another processor.",
            "",
        ]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    by: dict[str, dict[str, float]] = {}
    for row in rows:
        by.setdefault(row["name"], {})[row["metric"]] = row["value"]
    for name, found in by.items():
        kind, width, k = _kind(name)
        width = width or (f"{found['latents']:.0f}" if "latents" in found else "")
        lines.append("| " + " | ".join([kind, width, k, *(_figure(found, metric) for metric in COLUMNS)]) + " |")
    return "\n".join(lines) + "\n"


def _figure(found: dict[str, float], metric: str) -> str:
    if metric not in found:
        return ""
    text = f"{found[metric]:.3f}"
    if f"{metric}.spread" in found:
        text += f" ± {found[f'{metric}.spread']:.3f}"
    return text + (f" ({found[f'{metric}.null']:.3f})" if f"{metric}.null" in found else "")


if __name__ == "__main__":
    main()
