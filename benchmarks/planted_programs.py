"""Which method finds the genes of a concept? Held against programs that were planted in simulated cells.

For each seed: simulate cells with 20 programs, fit scVI, learn the default dictionary and every baseline on z,
attribute the concepts that match the programs, and ask by AUROC whether gene scores rank a program's genes first. A
program is matched to the latent that follows its activity best over cells; gene scores play no part in that. A study,
not a measure of speed.

    python benchmarks/planted_programs.py --quick
    python benchmarks/planted_programs.py --seeds 5 --json planted.json --markdown docs/results/planted_programs.md
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from common import Row, machine
from planted_report import IDEAL, TRUTH, markdown
from planted_why import sensitivity, where_lost

from cellglass.activations import MemoryRows
from cellglass.attribution.config import AttributionConfig
from cellglass.attribution.methods.de import Expressed
from cellglass.attribution.run import AttributionResult, attribute
from cellglass.cells.cells import Cells
from cellglass.cells.simulate import Simulated, simulate
from cellglass.dictionaries import fit
from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.dictionaries.training.train import split_rows
from cellglass.evaluation.fidelity import fidelity
from cellglass.evaluation.recovery import match_programs, recovery, summary
from cellglass.models.scvi.model import ScviModel
from cellglass.threads import threads

BASES = ("concepts", "clusters", "neurons", "pca", "ica", "random")
METHODS = {
    "swap": ("swap", "activation"),
    "path": ("path", "activation"),
    "knock-out": ("knockout", "activation"),
    "differential expression": ("de", "expression"),
}
EXPLAINED = ("concepts", "ica", IDEAL)
"""Bases for which the study looks at where recovery is lost."""


@dataclass(frozen=True)
class Size:
    """How large a study is."""

    cells: int
    genes: int
    epochs: int
    prototypes: int = 20
    partners: int = 5


FULL = Size(cells=2000, genes=1000, epochs=100)
QUICK = Size(cells=600, genes=500, epochs=20, prototypes=10, partners=2)


class Ideal(Dictionary):
    """The positive part of the best linear readout of each program's activity from z: a dictionary without fault.

    It sees the truth, so it is no competitor: it parts what the dictionary loses from what the method loses.
    """

    kind = "ideal"

    def __init__(self, z: torch.Tensor, activity: np.ndarray[Any, Any]) -> None:
        design = np.column_stack([z.double().numpy(), np.ones(len(z))])
        weights = np.linalg.lstsq(design, activity.astype(float), rcond=None)[0]
        # A readout that is positive in half of the cells would be no concept: as many cells as the program is on in.
        cut = [np.quantile(design @ w, (a == 0).mean()) for w, a in zip(weights.T, activity.T, strict=True)]
        self.weights = torch.as_tensor(weights[:-1], dtype=torch.float32)
        self.offset = torch.as_tensor(weights[-1] - np.array(cut), dtype=torch.float32)
        self.d_in = self.d_out = z.shape[1]
        self.n_latents = activity.shape[1]

    def preactivations(self, x: torch.Tensor) -> torch.Tensor:
        """Return the readouts."""
        return x @ self.weights + self.offset

    def encode(self, x: torch.Tensor) -> Codes:
        """Return the positive parts of the readouts."""
        every = torch.arange(self.n_latents).expand(len(x), -1).contiguous()
        return Codes(every, self.preactivations(x).clamp(min=0), self.n_latents)

    def decode(self, codes: Codes) -> torch.Tensor:
        """Raise: a readout does not reconstruct."""
        raise NotImplementedError

    @property
    def directions(self) -> torch.Tensor:
        """The readouts' weights."""
        return self.weights.T

    def save(self, folder: Path) -> None:
        """Raise: it knows the truth, so it is not for keeping."""
        raise NotImplementedError


def one_seed(seed: int, size: Size) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """Run the study for one seed; return the recovery of each basis, method and program, what is lost, and facts."""
    with threads(1):
        start = time.perf_counter()
        truth = simulate(n_cells=size.cells, n_genes=size.genes, seed=seed)
        # Wider than the default: twenty programs need room.
        model = ScviModel.fit(truth.cells, n_latent=30, epochs=size.epochs, seed=seed, device="cpu")
        cells = model.align(truth.cells)
        rows = activations(model, cells)
        z = rows.read(np.arange(rows.n_rows))
        facts = {"seconds scVI": time.perf_counter() - start}
        dictionaries = learn(rows, seed)
        tables, lost = [], []
        for basis, dictionary in {**dictionaries, IDEAL: Ideal(z, truth.activity)}.items():
            codes = codes_of(dictionary, z)
            match = match_programs(codes, truth.activity)
            latents = sorted(set(match["latent"]))
            how = AttributionConfig(on=("activation",), prototypes=size.prototypes, partners=size.partners)
            found = attribute(model, cells, "z", dictionary, codes, z, latents, config=how, seed=seed)
            tables.append(recovered(found, truth, match).assign(basis=basis))
            if basis in EXPLAINED:
                every = {"sensitivity": sensitivity(model, cells, dictionary, match), **scores(found, truth)}
                lost.append(where_lost(every, truth, match).assign(basis=basis))
        tables.append(on_truth(truth, seed))
        unseen = split_rows(rows, None, None, seed)[1]
        found = fidelity(dictionaries["concepts"], [z[unseen]])
        facts |= {"variance explained": found.variance_explained, "active latents a cell": found.l0}
        facts["seconds"] = time.perf_counter() - start
        return pd.concat(tables, ignore_index=True), pd.concat(lost, ignore_index=True), facts


def activations(model: ScviModel, cells: Cells) -> MemoryRows:
    """Return mean and standard deviation of z of all cells."""
    pieces = [model.posterior(piece, "z") for piece in model.batches(cells)]
    return MemoryRows(torch.cat([p[0] for p in pieces]).float(), torch.cat([p[1] for p in pieces]).float())


def learn(rows: MemoryRows, seed: int) -> dict[str, Dictionary]:
    """Learn the default dictionary and every baseline on nine tenths of the cells."""
    kinds = {"concepts": "consensus", **{basis: basis for basis in BASES[1:]}}
    return {basis: fit(kind, rows, seed=seed) for basis, kind in kinds.items()}


def codes_of(dictionary: Dictionary, z: torch.Tensor) -> sp.csc_matrix:
    """Return the codes of all cells, cells x latents."""
    with torch.no_grad():
        return sp.vstack([dictionary.encode(piece).to_csr() for piece in z.split(1024)], format="csc")


def scores(found: AttributionResult, truth: Simulated) -> dict[str, pd.DataFrame]:
    """Return concepts x genes for each method that ran."""
    genes = truth.membership.index
    ran = set(zip(found.genes["method"], found.genes["on"], strict=True))
    return {name: found.effects(*key, genes) for name, key in METHODS.items() if key in ran}


def recovered(found: AttributionResult, truth: Simulated, match: pd.DataFrame) -> pd.DataFrame:
    """Return the recovery of each program by each method."""
    return across(recovery(scores(found, truth), truth.membership.to_numpy(), match), truth)


def across(table: pd.DataFrame, truth: Simulated) -> pd.DataFrame:
    """Add whether a program cuts across types: the second half of the programs do (see `cellglass.cells.simulate`)."""
    return table.assign(across=table["program"] >= (truth.activity.shape[1] + 1) // 2)


def on_truth(truth: Simulated, seed: int) -> pd.DataFrame:
    """Return the recovery by differential expression of the cells in which the program is truly on: no model."""
    expressed = Expressed(truth.cells, seed=seed)
    programs = range(truth.activity.shape[1])
    found = [expressed.compare(np.flatnonzero(truth.activity[:, p] > 0), p) for p in programs]
    t = np.stack([f.t if f is not None else np.zeros(truth.cells.n_genes) for f in found])
    match = pd.DataFrame({"program": programs, "latent": programs, "correlation": 1.0})
    table = recovery({"differential expression": t}, truth.membership.to_numpy(), match)
    return across(table.assign(basis=TRUTH), truth)


def main() -> None:
    """Parse the flags, run the seeds side by side, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="two seeds of a small study, under two minutes")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds (default 5)")
    parser.add_argument("--cells", type=int, help=f"simulated cells (default {FULL.cells})")
    parser.add_argument("--prototypes", type=int, help=f"prototypes of a concept (default {FULL.prototypes})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the machine and the rows here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here")
    parser.add_argument("--raw", type=Path, metavar="FOLDER", help="write each program's figures here, as CSV")
    parser.add_argument(
        "--again", type=Path, metavar="FOLDER", help="run nothing: write the tables from what --raw wrote"
    )
    options = parser.parse_args()
    if options.again is not None:
        result = read_raw(options.again)
    else:
        size, n_seeds = (QUICK, min(options.seeds, 2)) if options.quick else (FULL, options.seeds)
        changed = {k: v for k in ("cells", "prototypes") if (v := getattr(options, k)) is not None}
        result = run(replace(size, **changed), n_seeds)
    total = summary(result.tables, ["basis", "method"])
    text = markdown(total, result.tables, result.lost, result.facts, result.size, result.about, result.seconds)
    print(text)
    if options.raw is not None:
        write_raw(options.raw, result)
    if options.markdown is not None:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(text, encoding="utf-8")
    if options.json is not None:
        record = {"machine": result.about, "rows": [asdict(row) for row in rows_of(total)]}
        options.json.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Result:
    """What a study gave: for each seed a table of programs, one of losses and a row of facts; and the setting."""

    tables: dict[int, pd.DataFrame]
    lost: dict[int, pd.DataFrame]
    facts: pd.DataFrame
    size: dict[str, int]
    about: dict[str, Any]
    seconds: float


def run(size: Size, n_seeds: int) -> Result:
    """Run the seeds side by side, one process a core."""
    about, start = machine(), time.perf_counter()
    workers = min(n_seeds, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        done = list(pool.map(one_seed, range(n_seeds), [size] * n_seeds))
    tables, lost, facts = zip(*done, strict=True)
    seconds = time.perf_counter() - start
    return Result(dict(enumerate(tables)), dict(enumerate(lost)), pd.DataFrame(facts), asdict(size), about, seconds)


def write_raw(folder: Path, result: Result) -> None:
    """Write everything that the tables are made from."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frames in (("programs", result.tables), ("lost", result.lost)):
        every = pd.concat([frame.assign(seed=seed) for seed, frame in frames.items()], ignore_index=True)
        every.to_csv(folder / f"{name}.csv", index=False)
    result.facts.to_csv(folder / "facts.csv", index=False)
    setting = {"size": result.size, "machine": result.about, "seconds": result.seconds}
    (folder / "setting.json").write_text(json.dumps(setting, indent=2) + "\n", encoding="utf-8")


def read_raw(folder: Path) -> Result:
    """Read back what `write_raw` wrote."""
    every = {name: pd.read_csv(folder / f"{name}.csv") for name in ("programs", "lost")}
    tables, lost = (dict(iter(frame.groupby("seed", sort=True))) for frame in every.values())
    setting = json.loads((folder / "setting.json").read_text(encoding="utf-8"))
    facts = pd.read_csv(folder / "facts.csv")
    return Result(tables, lost, facts, setting["size"], setting["machine"], setting["seconds"])


def rows_of(total: pd.DataFrame) -> list[Row]:
    """Return one row for each basis and method; the peer is differential expression on the same basis."""
    de = total[total["method"] == "differential expression"].set_index("basis")["auroc"]
    rows = []
    for r in total.itertuples(index=False):
        peer = None if r.method == "differential expression" else f"differential expression on {r.basis}"
        ratio = None if peer is None else float(r.auroc / de[r.basis])
        rows.append(Row("auroc", f"{r.method} on {r.basis}", float(r.auroc), "AUROC", peer, ratio))
        if np.isfinite(r.auroc_sd):
            rows.append(Row("auroc_sd", f"{r.method} on {r.basis}", float(r.auroc_sd), "AUROC"))
    return rows


if __name__ == "__main__":
    main()
