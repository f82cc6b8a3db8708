"""Does it help to halve by donors inside of the fit? Concepts made of halves of the cells, and of the donors.

Two fits that share no donor (kang_ctrl_12261x1287, eight donors; scVI as `cellglass run` fits it), each made both ways,
in two designs: three donors each, read in the cells of the other two; and four donors each, read in a fifth of the
cells of all donors that neither fit has seen.

    python benchmarks/donors.py --json benchmarks/results/donors.json --markdown docs/results/donors.md
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import reproducibility_scores as scores
from common import Row, machine
from planted_report import table
from reproducibility_methods import Fitted, codes_of
from reproducibility_sites import Site, fitted

from cellglass.dictionaries import default_config, fit
from cellglass.seeds import derive, generator
from cellglass.threads import threads

WORK = Path(__file__).parents[1] / "build" / "reproducibility" / "full"
WAYS = {"cells": "halves of the cells", "donors": "halves of the donors"}
FIGURES = ("latents", "back", "share", "share, lenient", "distinct", "F1")
TITLES = {"latents": "concepts", "back": "come back", "share, lenient": "share, lenient"}

Array = np.ndarray


def main() -> None:
    """Measure, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--work", type=Path, default=WORK, metavar="FOLDER", help="where the fitted model is kept")
    parser.add_argument("--splits", type=int, default=5)
    options = parser.parse_args()
    about = machine()
    with threads(1):
        rows = list(measure(fitted("kang", options.work), options.splits))
    if options.json is not None:
        lines = ",\n  ".join(json.dumps(asdict(row), allow_nan=False) for row in rows)
        options.json.write_text(
            f'{{\n "machine": {json.dumps(about)},\n "rows": [\n  {lines}\n ]\n}}\n', encoding="utf-8"
        )
    if options.markdown is not None:
        options.markdown.write_text(markdown(rows, about, options.splits), encoding="utf-8")


def measure(site: Site, splits: int) -> Iterator[Row]:
    """Yield mean and spread of every figure, for each design and way."""
    donor = np.unique(site.obs["donor"].astype(str).to_numpy(), return_inverse=True)[1][site.cell]
    for design, parts in DESIGNS.items():
        for way in WAYS:
            found: list[dict[str, float]] = []
            for split in range(splits):
                a, b, unseen = parts(site, donor, split)
                fits = [
                    concepts(site, part, donor if way == "donors" else None, split, i) for i, part in enumerate((a, b))
                ]
                figures = scores.returns(*fits, unseen)
                rest = [np.setdiff1d(np.arange(len(site.z)), part) for part in (a, b)]
                labels = site.obs["cell_type"]
                f1 = [
                    scores.marks(one.activations[r], labels.iloc[site.cell[r]], split)["F1"]
                    for one, r in zip(fits, rest, strict=True)
                ]
                found.append({**figures, "F1": float(np.mean(f1))})
                print(design, way, split, {key: round(value, 3) for key, value in found[-1].items()}, flush=True)
            for figure in FIGURES:
                values = np.array([one[figure] for one in found])
                yield Row(figure, f"{design}: {way}", float(values.mean()), "")
                yield Row(f"{figure}, sd", f"{design}: {way}", float(values.std(ddof=1)), "")


def concepts(site: Site, part: Array, groups: Array | None, split: int, side: int) -> Fitted:
    """Return the concepts of a part of the cells, without residual latents."""
    config = replace(default_config(site.rows.width, len(part)), with_residual=False)
    seed = derive(0, "donors", split, side)
    made = fit("consensus", site.rows, config=config, rows_train=part, rows_valid=part[::10], seed=seed, groups=groups)
    activations = codes_of(made, site)
    return Fitted(activations[:, : made.n_findings], activations)


def three_and_three(site: Site, donor: Array, split: int) -> tuple[Array, Array, Array]:
    """Return the rows of three donors, of three others, and of the two that are left."""
    del donor
    return site.parts(split)


def four_and_four(site: Site, donor: Array, split: int) -> tuple[Array, Array, Array]:
    """Return four fifths of the cells of four donors, of the four others, and the fifth of all that is left."""
    del site
    rng = generator(0, "four and four", split)
    side = np.isin(donor, rng.permutation(donor.max() + 1)[: (donor.max() + 1) // 2])
    held = np.zeros(len(donor), dtype=bool)
    held[rng.permutation(len(donor))[: len(donor) // 5]] = True
    return np.flatnonzero(side & ~held), np.flatnonzero(~side & ~held), np.flatnonzero(held)


DESIGNS = {
    "three donors each, read in two others": three_and_three,
    "four donors each, read in unseen cells of all": four_and_four,
}


def markdown(rows: list[Row], about: dict[str, object], splits: int) -> str:
    """Return the page of results."""
    found = {(row.metric, row.name): row.value for row in rows}
    head = f"""# Other donors

Written by `python benchmarks/donors.py --json benchmarks/results/donors.json --markdown docs/results/donors.md` on
{about["cores"]} cores ({about["cpu"]}); one thread. kang_ctrl_12261x1287: 12,261 blood cells of eight donors.

A concept's reproducibility is the share of pairs of halves in both halves of which it is found. Where all halves hold
cells of the same donors it promises more cells of these donors, not others. So `cellglass run --batch donor`, with
four donors or more, halves by them. Here two fits that share no donor are held against each other, made both ways;
**come back**, **share**, **lenient**, **distinct** and **F1** as [for halves of the
cells](reproducibility.md#frontier). Mean
± standard deviation over {splits} draws of the donors.

"""
    lines = []
    for design in DESIGNS:
        cells = []
        for way, name in WAYS.items():
            values = [(found[f, f"{design}: {way}"], found[f"{f}, sd", f"{design}: {way}"]) for f in FIGURES]
            cells.append([name, *(f"{m:.1f} ± {s:.1f}" if f in ("latents", "back", "distinct") else f"{m:.2f} ± {s:.2f}"
                                  for f, (m, s) in zip(FIGURES, values, strict=True))])  # fmt: skip
        lines.append(
            f"## {design[0].upper()}{design[1:]}\n\n" + table(["", *(TITLES.get(f, f) for f in FIGURES)], cells)
        )
    return head + "\n\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
