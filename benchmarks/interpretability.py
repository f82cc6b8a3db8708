r"""Are concepts easier to interpret than neurons, PCA, ICA, clusters or random directions? One table, in its parts.

scVI is fitted as ``cellglass run`` fits it; every basis to 40 % of the cells; everything is measured in cells that the
fit has not seen. Each basis has as many latents as there are concepts, chosen by how surely they come back in halves of
the fitted cells (``interpretability_bases.py``).

    table    how well single latents mark labels, how many come back in a fit to other cells, how many have a gene at
             q < 0.05 by path, and a gene set by GSEA of paths at null_q < 0.05, beside random genes
    probes   how much of type, cycle, condition and donor is read from the best k latents, by k, beside shuffled labels
    loss     how much of scVI's own loss is kept with the site replaced by a reconstruction

    python benchmarks/interpretability.py --quick
    python benchmarks/interpretability.py --json benchmarks/results/interpretability.json \
        --markdown docs/results/interpretability.md
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import interpretability_bases as bases
import interpretability_report as report
import interpretability_scores as scores
import numpy as np
import pandas as pd
from common import Row, machine, write_rows
from interpretability_bases import BASES, SPARSE
from reproducibility_sites import Site, fitted, run_of, there

from cellglass.cells.cells import Cells
from cellglass.files import atomic_path
from cellglass.models.base import CellModel
from cellglass.pipeline.workspace import open_explained, open_model
from cellglass.seeds import derive
from cellglass.threads import threads

KEPT = Path(__file__).parents[1] / "build" / "interpretability"
SITES, QUICK = ("zheng", "demo", "stim"), ("demo",)
SEEDS = 3

Record = dict[str, Any]


def main() -> None:
    """Measure, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="demo cells, one seed: under two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the machine and the rows here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here")
    parser.add_argument("--work", type=Path, default=KEPT, metavar="FOLDER", help="where finished parts are kept")
    parser.add_argument("--sites", nargs="+", choices=SITES, help="these cells alone")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="splits of the cells, each with fits of its own")
    options = parser.parse_args()
    about = machine()
    work = options.work / ("quick" if options.quick else "full")
    work.mkdir(parents=True, exist_ok=True)
    names = [name for name in options.sites or (QUICK if options.quick else SITES) if there(name)]
    with threads(1):
        records = [r for name in names for r in measure(work, name, 1 if options.quick else options.seeds)]
    if options.json is not None:
        write_rows(options.json, about, as_rows(records))
    if options.markdown is not None:
        options.markdown.write_text(report.markdown(records, about), encoding="utf-8")


def measure(work: Path, name: str, seeds: int) -> Iterator[Record]:
    """Yield the records of a site; those that are kept under `work` are read from there."""
    for split in range(seeds):
        path = work / f"{name}-{split}.json"
        if not path.exists():
            start, found = time.process_time(), []
            site, run = fitted(name, work), run_of(name, work)
            for record in of_split(site, open_model(run), open_explained(run), split):
                found.append({"site": name, "split": split, **record})
                figures = {k: v for k, v in record.items() if isinstance(v, float)}
                print(name, split, *(record.get(k, "") for k in ("section", "basis", "label", "k")),
                      " ".join(f"{k} {v:.3g}" for k, v in figures.items()), flush=True)  # fmt: skip
            found.append({"site": name, "split": split, "section": "cost", "seconds": time.process_time() - start})
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(found), encoding="utf-8")
        yield from json.loads(path.read_text(encoding="utf-8"))


def of_split(site: Site, model: CellModel, cells: Cells, split: int) -> Iterator[Record]:
    """Yield every figure of one split of the cells: fits to two parts, read in others."""
    a, b, unseen = site.parts(split)
    seed = derive(0, "interpretability", site.name, split)
    rest = np.setdiff1d(np.arange(len(site.z)), a)
    made = [bases.consensus(site, part, derive(seed, "consensus", i)) for i, part in enumerate((a, b))]
    n = min(one.n_findings for one in made)
    density = [
        np.diff(bases.codes_of(one, site, part)[:, : one.n_findings].indptr) / len(part)
        for one, part in zip(made, (a, b), strict=True)
    ]
    rivals: dict[str, list[bases.Readout]] = {}
    for basis in BASES:
        plain = basis.removesuffix(SPARSE)
        if plain == "concepts":
            sides = [bases.linear(one).only(np.arange(n)) for one in made]
        elif plain != basis:
            both = zip(rivals[plain], (a, b), density, strict=True)
            sides = [bases.as_sparse(one, site.z[part], float(np.median(d))) for one, part, d in both]
        else:
            both = zip((a, b), density, strict=True)
            sides = [bases.chosen(basis, site, p, derive(seed, basis, i), d, n) for i, (p, d) in enumerate(both)]
        rivals[basis] = sides
        found = scores.of_latents(plain, site, (sides[0], sides[1]), rest, unseen, split)
        found |= scores.of_genes(site, sides[0], model, cells, rest, derive(seed, "genes"))
        yield {"section": "table", "basis": basis, **found}
    features = scores.features(site, made[0], site.counts, a, rest, seed)
    for label, column in labels(site).items():
        for record in scores.of_probes(features, column.iloc[site.cell[rest]], seed):
            yield {"section": "probes", "label": label, **record}
    for record in scores.of_loss(site, made[0], model, cells, a, rest, seed):
        yield {"section": "loss", **record}


def labels(site: Site) -> dict[str, pd.Series[Any]]:
    """Return what is read by probes, by what it is: type, cycle, condition, donor, as far as the cells have it."""
    obs = site.obs
    found = {"type": obs[site.source.label]}
    if "phase" in obs:
        found["cycle"] = obs["phase"]
    if site.source.state is not None:
        found["condition"] = obs[site.source.state[0]]
    if "sample_id" in obs:  # such as ctrl101: condition and donor
        found["donor"] = obs["sample_id"].astype(str).str.extract(r"(\d+)$")[0].rename("donor")
    return found


def as_rows(records: Sequence[Record]) -> Iterator[Row]:
    """Yield mean and standard deviation over seeds of every figure."""
    for (site, section, *about), figures in report.grouped(records).items():
        for figure, values in figures.items():
            name = ", ".join([section, site, *(str(part) for part in about if part)])
            finite = np.array([v for v in values if np.isfinite(v)])
            if len(finite):
                yield Row(figure, name, float(finite.mean()), "")
            if len(finite) > 1:
                yield Row(f"{figure}, sd", name, float(finite.std(ddof=1)), "")


if __name__ == "__main__":
    main()
