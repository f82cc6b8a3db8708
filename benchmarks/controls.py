"""Which metrics tell a model from noise: the demo's model, the same with its weights shuffled, and untrained.

Each is a run of the demo with its defaults (``--control shuffled``, ``--control untrained``). No measure of speed.

    python benchmarks/controls.py --json benchmarks/results/controls.json
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from common import Row, main

import cellglass
from cellglass.atlas import Atlas
from cellglass.pipeline.demo import LABELS, demo_config
from cellglass.threads import threads

CONTROLS = {"trained": None, "shuffled": "shuffled", "untrained": "untrained"}
LEVEL = 0.05
LABEL = LABELS[0]
SINGLE = (
    "fidelity.variance_explained",
    "reproducibility.concepts",
    "reproducibility.concepts.count",
    f"probe.{LABEL}.concepts",
    f"probe.{LABEL}.counts",
    "annotation.bundled.gsea.calibrated",
    "annotation.bundled.gsea.de.calibrated",
)


def run(quick: bool) -> Iterator[Row]:
    """Explain each model, and give the metrics that stand side by side."""
    with tempfile.TemporaryDirectory() as folder, threads(1):
        for name, control in CONTROLS.items():
            config = demo_config()
            config = replace(config, model=replace(config.model, control=control, epochs=5 if quick else None))
            if quick:
                config = replace(config, dictionary=replace(config.dictionary, pairs=2, seeds=1))
            atlas = cellglass.explain(cellglass.demo_cells(), out=Path(folder) / name, config=config, report=False)
            for metric, value in figures(atlas).items():
                yield Row(metric, name, value, "")


def figures(atlas: Atlas) -> dict[str, float]:
    """Return the metrics of one atlas."""
    table, var = atlas.evaluation["value"], atlas.concepts.var
    found = {metric: float(table[metric]) for metric in SINGLE}
    of_label = table[table.index.str.startswith(f"alignment.{LABEL}.") & table.index.str.endswith(".concepts")]
    concepts = var[~var["residual"].astype(bool)]
    paths = atlas.genes(method="path", on="activation")
    return {
        **found,
        f"alignment.{LABEL}, mean over values": float(of_label.mean()),
        "concepts": float(len(concepts)),
        "genes at q < 0.05 by path, share": float((paths["q"] < LEVEL).mean()),
        "concepts with a gene at q < 0.05 by path, share": float((paths.groupby("concept")["q"].min() < LEVEL).mean()),
        "concepts with a gene set in their name, share": float((concepts["best_term"].astype(str) != "").mean()),
    }


if __name__ == "__main__":
    main(run)
