r"""How well models fitted small to the cells at hand tell cell types apart, beside scVI and principal components.

For each kind: a logistic probe of the site ``cell`` (scVI: ``z``) with the defaults, the same of the network as it
starts, before any training, and minutes of one core that the fit took. Accuracies are means over three splits of the
cells, with the standard deviation.

    python benchmarks/small_models.py --json benchmarks/results/small_models.json \\
        --markdown docs/results/small_models.md
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import Row, main

from cellglass.cells import Cells, demo_cells, read_cells, variable_genes
from cellglass.cells.genes import align_genes
from cellglass.evaluation.counts import COMPONENTS, components
from cellglass.evaluation.labels import encode_labels
from cellglass.evaluation.probes import probe
from cellglass.models.kind import FitConfig
from cellglass.models.registry import fit, fittable
from cellglass.models.scvi import model as scvi
from cellglass.threads import threads

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "cells" / "zheng_facs_pbmc.h5ad"
VARIABLE, SPLITS = 3000, 3


def data(quick: bool) -> Iterator[tuple[str, Cells, str]]:
    """Yield name, cells and label column of each data set; the second only where it lies beside the repository."""
    yield "demo cells", demo_cells(), "bulk_labels"
    if SHARED.exists() and not quick:
        yield "zheng_facs_pbmc", read_cells(SHARED), "celltype"


def run(quick: bool) -> Iterator[Row]:
    """Fit each kind to each data set and probe it."""
    for name, cells, label in data(quick):
        labels = encode_labels(cells.column(label))

        def scored(who: str, features: Any, name: str = name, labels: Any = labels) -> Iterator[Row]:
            found = [probe(features, labels, seed).accuracy for seed in range(SPLITS)]
            yield Row("probe_accuracy", f"{who}, {name}", float(np.mean(found)), "")
            yield Row("probe_accuracy_sd", f"{who}, {name}", float(np.std(found, ddof=1)), "")

        genes = align_genes(cells, cells.genes.index[variable_genes(cells, VARIABLE, seed=0)])
        yield from scored(f"PCA-{COMPONENTS} of counts", components(genes.counts, COMPONENTS))
        start = time.process_time()
        with threads(1):
            model = scvi.fit(genes, epochs=5 if quick else 100)
        yield Row("fit_minutes", f"scvi, {name}", (time.process_time() - start) / 60, "min")
        yield from scored("scvi", model.activations(genes, ["z"])["z"].numpy())
        for kind in [name for name in fittable() if name != "scvi"]:
            fresh = fit(kind, cells, FitConfig(epochs=0))
            yield from scored(f"{kind} before training", site(fresh, cells))
            start = time.process_time()
            small = fit(kind, cells, FitConfig(epochs=1 if quick else None))
            yield Row("fit_minutes", f"{kind}, {name}", (time.process_time() - start) / 60, "min")
            yield from scored(kind, site(small, cells))


def site(model: Any, cells: Cells) -> Any:
    """Return the model's own embedding of the cells."""
    return np.concatenate([model.activations(batch, ["cell"])["cell"].numpy() for batch in model.batches(cells)])


def markdown(result: dict[str, Any]) -> str:
    """Return the page."""
    rows: dict[str, dict[str, float]] = {}
    for row in result["rows"]:
        rows.setdefault(row["name"], {})[row["metric"]] = row["value"]
    about = result["machine"]
    lines = [
        "# Small models fitted to the cells at hand",
        "",
        "Written by `python benchmarks/small_models.py`. Held-out accuracy of a logistic probe of the cell type, mean "
        f"± standard deviation over {SPLITS} splits; minutes are processor time of one core of an {about['cpu']}.",
        "*Before training* is the same network as it starts: scGPT's and Geneformer's gene embeddings begin in the "
        "cells' leading singular vectors.",
    ]
    sets = list(dict.fromkeys(name.rpartition(", ")[2] for name in rows))
    for data_set in sets:
        lines += [
            "",
            f"## {data_set}",
            "",
            "| | probe accuracy | before training | fit, minutes |",
            "| --- | --- | --- | --- |",
        ]
        for name, row in rows.items():
            who, _, where = name.rpartition(", ")
            if where != data_set or who.endswith("before training"):
                continue
            before = rows.get(f"{who} before training, {data_set}")
            minutes = f"{row['fit_minutes']:.1f}" if "fit_minutes" in row else ""
            lines.append(f"| {who} | {_spread(row)} | {_spread(before) if before else ''} | {minutes} |")
    return "\n".join(lines) + "\n"


def _spread(row: dict[str, float]) -> str:
    return f"{row['probe_accuracy']:.3f} ± {row['probe_accuracy_sd']:.3f}"


if __name__ == "__main__":
    if "--markdown" in sys.argv:
        at = sys.argv.index("--markdown")
        page = Path(sys.argv[at + 1])
        del sys.argv[at : at + 2]
        source = Path(sys.argv[sys.argv.index("--json") + 1])
        main(run)
        page.write_text(markdown(json.loads(source.read_text(encoding="utf-8"))), encoding="utf-8")
    else:
        main(run)
