r"""What comes back in other cells: concepts beside clusters, components, NMF, plain dictionaries and random directions.

Everything is fitted to two parts of 40 % of the cells that have no cell in common (no donor, where there are donors)
and read in the 20 % that neither has seen. What is finished is kept under --work and not done again.

    frontier      what comes back, what is explained, and how labels are marked; and the same for a state that types
                  of cells share (stim), beyond what clusters say
    calibration   the reproducibility that a concept states, against how often it comes back
    model         the scVI model fitted anew, with other seeds: how many concepts are found again
    surrogates    the concepts that are reported of sites without structure, and how many of them come back
    growth        concepts, and what comes back, by the number of cells
    transformer   the same at the sites of a small transformer
    whole         ``cellglass run`` with its defaults

    python benchmarks/reproducibility.py --quick
    python benchmarks/reproducibility.py --json benchmarks/results/reproducibility.json \
        --markdown docs/results/reproducibility.md

With --sections or --sites, what these files say of the rest stays, so that a part can be measured alone, elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import reproducibility_methods as methods
import reproducibility_report as report
import reproducibility_scores as scores
from common import Row, machine
from reproducibility_methods import CONCEPTS, METHODS, Fitted
from reproducibility_sites import SOURCES, Site, fitted, there, transformer_sites
from reproducibility_surrogates import surrogates

from cellglass.files import atomic_path
from cellglass.seeds import derive, generator
from cellglass.threads import threads

KEPT = Path(__file__).parents[1] / "build" / "reproducibility"
SITES, QUICK = ("zheng", "stim", "kang", "demo"), ("demo",)
QUICK_METHODS = ("consensus", "clusters", "ica", "random")
SPLITS, SEEDS = 5, 3
NUMBERS = {500: 5, 1000: 5, 2000: 5, 4000: 3, 12000: 3}
"""Numbers of cells, and how often each is drawn."""
CELL_NUMBERS, TOKEN_NUMBERS = {500: 3, 1000: 3, 2000: 3, 4000: 3}, {500: 2, 1000: 2, 2000: 1, 4000: 1}
"""The same of the cells of a transformer, and of its gene tokens, of which a cell has many."""
SECTIONS = ("frontier", "model", "surrogates", "growth", "transformer", "whole")
TWICE = ("consensus", "clusters", "ica", "random")

Record = dict[str, Any]


def main() -> None:
    """Measure, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="demo cells, one split, few methods: under two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the machine and the rows here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here")
    parser.add_argument("--work", type=Path, default=KEPT, metavar="FOLDER", help="where finished parts are kept")
    parser.add_argument("--sites", nargs="+", choices=SITES, help="these cells alone")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS, help="these parts alone")
    parser.add_argument("--splits", type=int, default=SPLITS)
    options = parser.parse_args()
    about = machine()
    work = options.work / ("quick" if options.quick else "full")
    work.mkdir(parents=True, exist_ok=True)
    names = [name for name in options.sites or (QUICK if options.quick else SITES) if there(name)]
    with threads(1):
        records = list(measure(work, names, options.sections, 1 if options.quick else options.splits, options.quick))
    rows = list(as_rows(records))
    part = options.sites is not None or set(options.sections) != set(SECTIONS)
    if options.json is not None:
        before = json.loads(options.json.read_text(encoding="utf-8"))["rows"] if part and options.json.exists() else []
        options.json.write_text(as_json(about, with_former(before, rows)), encoding="utf-8")
    if options.markdown is not None:
        page = report.markdown(records, about)
        if part and options.markdown.exists():
            page = report.with_former(options.markdown.read_text(encoding="utf-8"), page)
        options.markdown.write_text(page, encoding="utf-8")


def measure(
    work: Path, names: Iterable[str], sections: Iterable[str], splits: int, quick: bool = False
) -> Iterator[Record]:
    """Yield a record for each site, section, split and method; what is kept under `work` is read from there."""
    chosen = QUICK_METHODS if quick else tuple(METHODS)
    for name in names:
        site = fitted(name, work)
        if "frontier" in sections:
            for split in range(splits):
                yield from frontier(work, site, split, chosen)
        if "model" in sections and name in ("zheng", "demo"):
            yield from second_fit(work, site, 2 if quick else SEEDS)
        if "surrogates" in sections and not quick:
            for split in range(splits):
                yield from without_structure(work, site, split)
        if "growth" in sections and not quick and name in ("kang", "demo"):
            yield from growth(work, site, NUMBERS if name == "kang" else {len(site.obs): splits})
    if "transformer" in sections and not quick and "kang" in names:
        yield from transformer(work)
    if "whole" in sections and not quick and "zheng" in names:
        yield from kept(work / "whole-zheng.json", lambda: whole(work))


def kept(path: Path, make: Callable[[], list[Record]]) -> list[Record]:
    """Return the records at `path`, made and written there if they are not yet; show what is new."""
    if path.exists():
        return list(json.loads(path.read_text(encoding="utf-8")))
    start = time.process_time()
    records = make()
    for record in records:
        record["cpu"] = round(time.process_time() - start, 1)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(records), encoding="utf-8")
    for record in records:
        figures = {k: v for k, v in record.items() if isinstance(v, float) and k != "cpu"}
        print(
            f"{record['section']} {record['site']} {record.get('split', '')} {record['method']:<42}",
            " ".join(f"{k} {v:.3g}" for k, v in figures.items()),
            flush=True,
        )
    return records


def frontier(work: Path, site: Site, split: int, chosen: Iterable[str]) -> Iterator[Record]:
    """Yield the figures of each method on one split of the cells."""
    a, b, unseen = site.parts(split)
    for name in chosen:

        def make(name: str = name) -> list[Record]:
            fits = [
                METHODS[name](site, part, derive(0, site.name, name, split, side)) for side, part in enumerate((a, b))
            ]
            return [
                {"section": "frontier", "site": site.name, "split": split, "method": variant}
                | of_pair(site, (fits[0][variant], fits[1][variant]), (a, b), unseen, split)
                for variant in fits[0]
                if variant in fits[1]
            ]

        yield from kept(work / f"frontier-{site.name}-{split}-{name.replace(' ', '-')}.json", make)


def of_pair(
    site: Site, fits: tuple[Fitted, Fitted], parts: tuple[np.ndarray, np.ndarray], unseen: np.ndarray, split: int
) -> Record:
    """Return all figures of two fits of one method; those of one fit are means over the two."""
    singles, label = [], site.obs[site.source.label]
    for fit, part in zip(fits, parts, strict=True):
        rest = np.setdiff1d(np.arange(len(site.z)), part)  # all rows that this fit has not seen
        found = scores.use(fit, site.z, part, unseen)
        found |= scores.marks(fit.activations[rest], label.iloc[site.cell[rest]], split)
        if site.source.state is not None:
            column, value = site.source.state
            found |= state(site, fit, part, rest, site.obs[column].astype(str).to_numpy()[site.cell] == value, split)
        singles.append(found)
    record: Record = scores.returns(*fits, unseen)
    record |= {key: float(_mean([one[key] for one in singles])) for key in singles[0]}
    record["stated"] = [
        [float(stated), float(partner), float(best)]
        for x, y in (fits, fits[::-1])
        if x.reproducibility is not None
        for stated, partner, best in zip(
            x.reproducibility,
            scores.one_to_one(x.among[unseen], y.among[unseen]),
            scores.best_partners(x.among[unseen], y.among[unseen]),
            strict=True,
        )
    ]
    return record


def state(
    site: Site, fit: Fitted, part: np.ndarray, rest: np.ndarray, truth: np.ndarray, split: int
) -> dict[str, float]:
    """Return how well latents tell a state that types of cells share: overall, within types, beyond clusters."""
    types = site.obs[site.source.label].astype(str).to_numpy()[site.cell]
    seed = derive(0, "state", site.name, split)
    within = []
    for value in np.unique(types):
        rows = rest[types[rest] == value]
        if min(truth[rows].sum(), (~truth[rows]).sum()) >= 10:
            within.append(scores.of_value(fit.activations[rows], truth[rows], seed))
    found = {
        "F1 of the state": scores.of_value(fit.activations[rest], truth[rest], seed),
        "F1 within types": float(np.median(within)),
    }
    fits = {**methods.clusters(site, part, seed), **methods.clusters_of(24)(site, part, seed)}
    for name, one in fits.items():
        cluster = one.activations[rest].argmax(axis=1)
        more = scores.beyond(fit.activations[rest], truth[rest], cluster, seed)
        found |= {f"beyond {name}: {key}": value for key, value in more.items()}
    return found


def second_fit(work: Path, site: Site, seeds: int) -> Iterator[Record]:
    """Yield how much of each method is found again in a second fit of the model, for each pair of model seeds.

    Both are fitted to the same four fifths of the cells, and read in the others.
    """
    sites = [site, *(fitted(site.name, work, seed) for seed in range(1, seeds))]
    a, b, unseen = site.parts(0)
    part = np.sort(np.concatenate([a, b]))
    for name in TWICE:

        def make(name: str = name) -> list[Record]:
            fits = [METHODS[name](one, part, derive(0, "model", name, i)) for i, one in enumerate(sites)]
            return [
                {"section": "model", "site": site.name, "split": f"{i}-{j}", "method": variant}
                | scores.returns(fits[i][variant], fits[j][variant], unseen)
                for i in range(len(fits))
                for j in range(i)
                for variant in fits[i]
            ]

        yield from kept(work / f"model-{site.name}-{name}.json", make)


def without_structure(work: Path, site: Site, split: int) -> Iterator[Record]:
    """Yield what comes back of concepts that are fitted to two parts of a site, and of its surrogates."""
    a, b, unseen = site.parts(split)

    def make() -> list[Record]:
        found: list[Record] = []
        for name, one in surrogates(site, split).items():
            seeds = [derive(0, "surrogates", site.name, split, side) for side in range(2)]
            fits = [methods.concepts_alone(one, part, seed)[CONCEPTS] for part, seed in zip((a, b), seeds, strict=True)]
            about = {"section": "surrogates", "site": site.name, "split": split, "method": name}
            found.append(about | scores.returns(*fits, unseen) | scores.use(fits[0], one.z, a, unseen))
        return found

    yield from kept(work / f"surrogates-{site.name}-{split}.json", make)


def growth(work: Path, site: Site, numbers: dict[int, int], section: str = "growth") -> Iterator[Record]:
    """Yield what comes back of concepts that are fitted to two parts of 40 % of fewer cells."""
    for n, splits in numbers.items():
        for split in range(splits):

            def make(n: int = n, split: int = split) -> list[Record]:
                cells = generator(0, "some", n, split).permutation(len(site.obs))[:n]
                two_fifths = round(0.4 * n)
                groups = (cells[:two_fifths], cells[two_fifths : 2 * two_fifths])
                parts = [np.flatnonzero(np.isin(site.cell, group)) for group in groups]
                unseen = np.setdiff1d(np.arange(len(site.z)), np.concatenate(parts))
                fits = [
                    methods.concepts_alone(site, part, derive(0, "growth", n, split, i))[CONCEPTS]
                    for i, part in enumerate(parts)
                ]
                found = scores.returns(fits[0], fits[1], unseen)
                found |= scores.use(fits[0], site.z, parts[0], unseen)
                return [{"section": section, "site": site.name, "split": split, "method": str(n)} | found]

            yield from kept(work / f"growth-{site.name.replace(', ', '-').replace(' ', '-')}-{n}-{split}.json", make)


def transformer(work: Path) -> Iterator[Record]:
    """Yield the same at the sites of cells and of gene tokens of a small transformer."""
    for site, numbers in zip(transformer_sites(work), (CELL_NUMBERS, TOKEN_NUMBERS), strict=True):
        yield from growth(work, site, numbers, "transformer")


def whole(work: Path) -> list[Record]:
    """Return the figures of a run with defaults, and the seconds that it took."""
    import cellglass

    source = SOURCES["zheng"]
    assert source.path is not None  # noqa: S101  it is a file
    start = time.perf_counter()
    atlas = cellglass.explain(source.path, out=work / "whole-zheng", labels=[source.label], report=False)
    seconds = time.perf_counter() - start
    metrics = atlas.evaluation["value"]
    codes = atlas.concepts.X
    density = np.asarray((codes > 0).mean(axis=0)).ravel()
    residual = atlas.concepts.var["residual"].to_numpy(dtype=bool)
    return [
        {
            "section": "whole",
            "site": "zheng",
            "method": "cellglass run",
            "latents": float(len(density)),
            "concepts": float((~residual).sum()),
            "variance explained": float(metrics["fidelity.variance_explained"]),
            "active": float(metrics["fidelity.l0"]),
            "density": float(np.median(density[density > 0])),
            "density of concepts": float(np.median(density[~residual])),
            "seconds": seconds,
        }
    ]


def as_rows(records: Iterable[Record]) -> Iterator[Row]:
    """Yield mean and standard deviation over splits of every figure."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record["section"], record["site"], record["method"]), []).append(record)
    for (section, site, method), some in groups.items():
        for figure in (key for key, value in some[0].items() if _told(key, value)):
            values = np.array([one[figure] for one in some], dtype=float)
            values = values[np.isfinite(values)]
            if len(values):
                name = f"{site}: {method}"
                yield Row(f"{section}: {figure}", name, float(values.mean()), "")
                if len(values) > 1:
                    yield Row(f"{section}: {figure}, sd", name, float(values.std(ddof=1)), "")


def with_former(before: Iterable[dict[str, Any]], rows: Sequence[Row]) -> list[Row]:
    """Return the rows, behind those of before that they do not measure anew."""

    def measured(row: Row) -> tuple[str, str]:
        return row.metric.partition(":")[0], row.name.partition(":")[0]

    anew = {measured(row) for row in rows}
    return [row for row in (Row(**one) for one in before) if measured(row) not in anew] + list(rows)


def _told(key: str, value: Any) -> bool:
    return isinstance(value, float) and key != "cpu" and not key.endswith((": bits", ": entropy"))


def as_json(about: dict[str, Any], rows: Iterable[Row]) -> str:
    """Return what `common.main` writes, a row a line, since there are many."""
    lines = ",\n  ".join(json.dumps(asdict(row), allow_nan=False) for row in rows)
    return f'{{\n "machine": {json.dumps(about)},\n "rows": [\n  {lines}\n ]\n}}\n'


def _mean(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


if __name__ == "__main__":
    main()
