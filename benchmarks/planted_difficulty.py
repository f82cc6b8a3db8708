r"""Planted programs where they are harder to find: fewer cells, weaker programs, fewer counts, and all of it.

The study of `planted_programs` on smaller simulations, for each of which scVI and every dictionary are fitted anew. The
settings were fixed before any of them was run. What is finished is kept under --work and not done again.

    python benchmarks/planted_difficulty.py --quick
    python benchmarks/planted_difficulty.py --json benchmarks/results/planted_difficulty.json \
        --markdown docs/results/planted_difficulty.md
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from common import Row, machine
from planted_programs import Ideal, activations, codes_of, recovered
from planted_report import IDEAL, table

from cellglass.attribution.config import AttributionConfig
from cellglass.attribution.run import attribute
from cellglass.cells.simulate import simulate
from cellglass.dictionaries import fit
from cellglass.evaluation.recovery import match_programs
from cellglass.files import atomic_path
from cellglass.models.scvi.model import ScviModel
from cellglass.threads import threads

KEPT = Path(__file__).parents[1] / "build" / "planted_difficulty"
SETTINGS: dict[str, dict[str, Any]] = {
    "1,000 cells": {"n_cells": 1000},
    "400 cells": {"n_cells": 400},
    "weak programs": {"n_cells": 1000, "effect": 0.6},
    "few counts": {"n_cells": 1000, "depth": 600},
    "all of it": {"n_cells": 600, "effect": 0.7, "depth": 1000},
}
"""What differs from the defaults of `simulate`: 1,000 genes, 20 programs of 30 genes, loading 1, depth 2,000."""
SEEDS, EPOCHS = 5, 100
KINDS = {"concepts": "consensus", "clusters": "clusters", "ica": "ica"}
METHODS = ("path", "swap")
RIVAL = "ica"

_TITLE = """# Planted programs, where they are harder to find

Written by `python benchmarks/planted_difficulty.py --json benchmarks/results/planted_difficulty.json --markdown
docs/results/planted_difficulty.md` on {cores} cores ({cpu}); one thread.

[The study of planted programs](planted_programs.md) on smaller and harder simulations, {seeds} seeds of each: programs,
cells, scVI and dictionaries are new in each. The settings were fixed before any was run:

{settings}

What is not named is as in the study: 1,000 genes, 20 programs of 30 genes, median loading 1, median depth 2,000.
A program is matched to the latent whose activation follows it best, without a look at genes; AUROC asks whether the
latent's gene scores rank the program's genes first. All bases go through the same attribution with the same settings.
Mean ± standard deviation over seeds. **concepts - ICA**: mean of the differences of the same seed, and in how many
seeds the concepts are ahead. *{ideal}* know the truth: a yardstick, no competitor.
"""


_REPORTED = """The latent that follows a program best may be residual, which is no finding: nothing that comes back in
halves of the cells follows the program better. How many programs have a concept, and AUROC by path effects of those
and of the others.
"""


def main() -> None:
    """Run every setting and seed that is not there yet, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed of the smallest setting: under two minutes")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="these alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the machine and the rows here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here")
    parser.add_argument("--work", type=Path, default=KEPT, metavar="FOLDER", help="where finished parts are kept")
    options = parser.parse_args()
    about = machine()
    names, seeds = (["400 cells"], 1) if options.quick else (options.settings, options.seeds)
    with threads(1):
        found = pd.concat([kept(options.work, name, seed) for seed in range(seeds) for name in names])
    if options.json is not None:
        record = {"machine": about, "rows": [asdict(row) for row in rows_of(found)]}
        options.json.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if options.markdown is not None:
        options.markdown.write_text(markdown(found, about), encoding="utf-8")


def kept(work: Path, setting: str, seed: int) -> pd.DataFrame:
    """Return the recovery of one setting and seed, from disk where it is there; show what is new."""
    path = work / f"{setting.replace(' ', '-').replace(',', '')}-{seed}.csv"
    if path.exists():
        return pd.read_csv(path)
    start = time.process_time()
    path.parent.mkdir(parents=True, exist_ok=True)
    made = one(setting, seed, path.with_suffix(".model")).assign(setting=setting, seed=seed)
    with atomic_path(path) as temporary:
        made.to_csv(temporary, index=False)
    mean = made[made["across"]].groupby(["basis", "method"], sort=False)["auroc"].mean()
    figures = ", ".join(f"{basis} {method} {value:.4f}" for (basis, method), value in mean.items())
    print(f"{setting}, seed {seed} ({time.process_time() - start:.0f} s): {figures}", flush=True)
    return made


def one(setting: str, seed: int, folder: Path) -> pd.DataFrame:
    """Return the recovery of each basis, method and program in one simulation; its scVI lies in `folder`."""
    truth = simulate(**SETTINGS[setting], seed=seed)
    if not folder.exists():
        fitted = ScviModel.fit(truth.cells, n_latent=30, epochs=EPOCHS, seed=seed, device="cpu")
        with atomic_path(folder) as temporary:
            fitted.save(temporary)
    model = ScviModel.load(folder)
    cells = model.align(truth.cells)
    rows = activations(model, cells)
    z = rows.read(np.arange(rows.n_rows))
    dictionaries = {basis: fit(kind, rows, seed=seed) for basis, kind in KINDS.items()}
    how, tables = AttributionConfig(methods=METHODS, on=("activation",)), []
    for basis, dictionary in {**dictionaries, IDEAL: Ideal(z, truth.activity)}.items():
        codes = codes_of(dictionary, z)
        match = match_programs(codes, truth.activity)
        latents = sorted(set(match["latent"]))
        found = attribute(model, cells, "z", dictionary, codes, z, latents, config=how, seed=seed)
        table = recovered(found, truth, match)
        n_findings = codes.shape[1] if basis == IDEAL else dictionary.n_findings
        tables.append(table.assign(basis=basis, reported=table["latent"] < n_findings))
    return pd.concat(tables, ignore_index=True)


def means(found: pd.DataFrame, figure: str, kind: str) -> pd.DataFrame:
    """Return the mean of `figure` over programs: a row for each setting and seed, a column for each method and basis.

    `kind`: ``across types``, ``of a type`` or ``all``.
    """
    some = found if kind == "all" else found[found["across"] == (kind == "across types")]
    wide: pd.DataFrame = some.pivot_table(figure, ["setting", "seed"], ["method", "basis"], "mean", sort=False)
    return wide


def rows_of(found: pd.DataFrame) -> Iterator[Row]:
    """Yield mean and standard deviation over seeds of every figure."""
    for figure in ("auroc", "precision", "correlation"):
        for kind in ("across types", "of a type", "all"):
            grouped = means(found, figure, kind).groupby(level="setting", sort=False)
            for (method, basis), column in grouped.mean().items():
                for setting, value in column.items():
                    name = f"{setting}, programs {kind}: {method} on {basis}"
                    yield Row(figure, name, float(value), "")
                    sd = grouped.std(ddof=1)[method, basis][setting]
                    if np.isfinite(sd):
                        yield Row(f"{figure}_sd", name, float(sd), "")


def markdown(found: pd.DataFrame, about: dict[str, Any]) -> str:
    """Return the page."""
    words = {"n_cells": "cells", "effect": "median loading", "depth": "median depth"}
    settings = "\n".join(
        f"- *{name}*: " + ", ".join(f"{words[key]} {value:,}" for key, value in setting.items())
        for name, setting in SETTINGS.items()
        if name in set(found["setting"])
    )
    head = _TITLE.format(
        cores=about["cores"], cpu=about["cpu"], seeds=found["seed"].nunique(), settings=settings, ideal=IDEAL
    )
    parts = [head, "**What it shows.** " + reading(found) + "\n"]
    for kind in ("across types", "of a type"):
        parts.append(f"## Programs {'that cut across types' if kind == 'across types' else kind}\n")
        for figure, title in (("auroc", "AUROC"), ("precision", "share of the program's among as many top genes")):
            parts += [f"{title}, genes by path effects and by swaps:\n", grid(found, figure, kind), ""]
    parts += ["## Programs that a concept stands for\n", _REPORTED, reported(found), ""]
    parts += ["## How well latents follow programs\n", "Correlation over cells, mean over programs.\n", followed(found)]
    return "\n".join(parts).rstrip() + "\n"


def grid(found: pd.DataFrame, figure: str, kind: str) -> str:
    """Return a line for each method and setting: the bases, and concepts less ICA, seed by seed."""
    wide = means(found, figure, kind)
    bases = [*KINDS, IDEAL]
    lines = []
    for method in ("path", "swap"):
        for setting, some in wide.groupby(level="setting", sort=False):
            cells = [spread(some[method, basis]) for basis in bases]
            lines.append([method, str(setting), *cells, *paired(some[method, "concepts"] - some[method, RIVAL])])
    return table(["", "", *bases, "concepts - ICA", "seeds ahead"], lines)


def reported(found: pd.DataFrame) -> str:
    """Return how many programs a concept follows best, and AUROC of those and of the others, beside ICA's."""
    paths = found[found["method"] == "path"].set_index(["setting", "seed", "program"])
    ours, theirs = (paths[paths["basis"] == basis] for basis in ("concepts", RIVAL))
    shown = {"reported": ours["reported"].astype(bool), "concepts": ours["auroc"], RIVAL: theirs["auroc"]}
    lines = []
    for setting, some in pd.DataFrame(shown).groupby(level="setting", sort=False):
        number = some["reported"].groupby(level="seed").sum()
        row = [str(setting), f"{number.mean():.1f}" + (f" ± {number.std(ddof=1):.1f}" if len(number) > 1 else "")]
        for sort in (True, False):
            seeds = some[some["reported"] == sort].groupby(level="seed")[["concepts", RIVAL]].mean()
            row += [spread(seeds[basis]) if len(seeds) else "" for basis in ("concepts", RIVAL)]
        lines.append(row)
    head = ["", "programs with a concept", "their AUROC", "ICA's", "AUROC of the others", "ICA's of those"]
    return table(head, lines)


def followed(found: pd.DataFrame) -> str:
    """Return how well latents follow programs."""
    some = {kind: means(found, "correlation", kind)["path"] for kind in ("across types", "of a type")}
    lines = [
        [kind, str(setting), *(spread(rows[basis]) for basis in (*KINDS, IDEAL))]
        for kind, wide in some.items()
        for setting, rows in wide.groupby(level="setting", sort=False)
    ]
    return table(["programs", "", *KINDS, IDEAL], lines)


def reading(found: pd.DataFrame) -> str:
    """Say, from the figures, who is ahead where, for programs that cut across types and genes by path effects."""
    wide, sentences = means(found, "auroc", "across types")["path"], []
    for setting, some in wide.groupby(level="setting", sort=False):
        ours = some["concepts"].mean()
        against = []
        for rival, name in ((RIVAL, "ICA"), ("clusters", "the best cluster")):
            ahead = int((some["concepts"] > some[rival]).sum())
            against.append(f"{name} {some[rival].mean():.3f} (concepts ahead in {ahead} of {len(some)} seeds)")
        sentences.append(f"*{setting}*: concepts {ours:.3f}, {', '.join(against)}, {IDEAL} {some[IDEAL].mean():.3f}")
    return (
        "Programs that cut across types, genes by path effects, AUROC: "
        + "; ".join(sentences)
        + ". No cluster holds such a program; what is left to the ideal directions is what a dictionary loses, and "
        "what those lack of 1 is lost by the model and by pairs of cells."
    )


def spread(values: pd.Series[Any]) -> str:
    """Return mean ± standard deviation, or the mean alone where one seed ran."""
    return f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else "")


def paired(difference: pd.Series[Any]) -> list[str]:
    """Return mean ± standard deviation of differences, and how many are above 0."""
    sd = f" ± {difference.std(ddof=1):.3f}" if len(difference) > 1 else ""
    return [f"{difference.mean():+.3f}{sd}", f"{int((difference > 0).sum())} of {len(difference)}"]


if __name__ == "__main__":
    main()
