"""Does steering by concepts predict a response? Control cells moved by what other cells' response was, then decoded.

kang_ctrl_stim_1556x1267: blood cells of two donors before and after interferon-beta, five types. scVI and its concepts
are fitted as `cellglass run` fits them, from each seed. For each type its control cells are moved, in three variants:

    other types       by the mean shift of the other types' concepts, each type counted alike
    other donor       by the shift of the same type in the other donor; mean over the two
    type never seen   as other types, but model and concepts are fitted without the type's stimulated cells (one seed)

and the decoded change of each gene is held against the real one, beside the controls of `cellglass.interventions`.

    python benchmarks/steering.py --quick
    python benchmarks/steering.py --json benchmarks/results/steering.json --markdown docs/results/steering.md

What is fitted is kept under --work.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from common import Row, machine, write_rows
from steering_report import markdown
from steering_sites import AFTER, BEFORE, CONDITION, DONOR, SOURCE, TYPE, subject

from cellglass.interventions import Contrast, Subject, average, carried, contrast_of, fewest, predicted, real_change
from cellglass.interventions.scores import rank_of, score
from cellglass.seeds import derive, generator
from cellglass.threads import threads

Array = np.ndarray
Group = tuple[Array, Array]
"""Control and stimulated cells, by position."""

WORK = Path(__file__).parents[1] / "build" / "steering"
HALLMARK = Path(__file__).resolve().parents[2] / "shared" / "data" / "genesets" / "hallmark_v7.0.gmt"
INTERFERON = "HALLMARK_INTERFERON_ALPHA_RESPONSE"
SEEDS, DRAWS, SPLITS = 5, 10, 20
DOSES = (0.25, 0.5, 1.0, 2.0)
SHARES = (0.5, 0.9)
METRICS = ("pearson", "pearson_top", "sign", "explained", "interferon")
TYPES, DONORS, UNSEEN = "other types", "other donor", "type never seen"


def main() -> None:
    """Measure, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, few epochs, one variant")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--work", type=Path, default=WORK, metavar="FOLDER", help="where what is fitted is kept")
    options = parser.parse_args()
    if not SOURCE.path.exists():
        parser.exit(0, f"{SOURCE.path} is not there, so there is nothing to steer\n")
    about = machine()
    with threads(1):
        found = pd.DataFrame(measured(options.work / ("quick" if options.quick else "full"), options.quick))
    rows = list(summed(found))
    for row in rows:
        print(f"{row.name:<70} {row.metric:<20} {row.value:>9.3f}", flush=True)
    if options.json is not None:
        write_rows(options.json, about, rows)
    if options.markdown is not None:
        options.markdown.write_text(markdown(rows, about, 1 if options.quick else SEEDS), encoding="utf-8")


def measured(work: Path, quick: bool) -> Iterator[dict[str, object]]:
    """Yield one figure after the other: variant, type, way, metric, seed, value."""
    whole = None
    for seed in range(1 if quick else SEEDS):
        one = subject(work, seed, quick=quick)
        if whole is None:
            whole = one
            yield from ceilings(one)
        for name in kinds(one):
            yield from with_names(across_types(one, name, real_of(one, name), seed), TYPES, name, seed)
            if not quick:
                yield from with_names(across_donors(one, name, seed), DONORS, name, seed)
        print(f"seed {seed} is done", flush=True)
    for name in [] if quick else kinds(whole):
        one = subject(work, 0, without=name)
        if not one.cells.genes.index.equals(whole.cells.genes.index):
            raise SystemExit("the genes of the fits differ")
        yield from with_names(across_types(one, name, real_of(whole, name), 0), UNSEEN, name, 0)


def with_names(figures: Iterator[dict[str, object]], variant: str, name: str, seed: int) -> Iterator[dict[str, object]]:
    """Yield the figures with what they are of."""
    for figure in figures:
        yield {"variant": variant, "type": name, "seed": seed, **figure}


def across_types(one: Subject, name: str, real: Array, seed: int) -> Iterator[dict[str, object]]:
    """Steer the control cells of a type by what the other types' response was."""
    others = [group(one, other) for other in kinds(one) if other != name]
    found = average([contrast_of(one.dictionary, one.rows, *pair) for pair in others])
    change = np.mean([real_change(one.cells, *pair) for pair in others], axis=0)
    learnt = np.concatenate([part for pair in others for part in pair])
    yield from steered(one, group(one, name)[0], found, learnt, real, change, derive(seed, "across types", name))
    wanted = contrast_of(one.dictionary, one.rows, *group(one, name)).difference if len(group(one, name)[1]) else None
    yield from sizes(one, found, wanted)


def across_donors(one: Subject, name: str, seed: int) -> Iterator[dict[str, object]]:
    """Steer the control cells of a type and donor by what the type's response in the other donor was."""
    donors = sorted({text[-3:] for text in one.cells.obs[DONOR].astype(str)})
    frames = []
    for donor in donors:
        own, other = (group(one, name, which) for which in (donor, next(d for d in donors if d != donor)))
        found = contrast_of(one.dictionary, one.rows, *other)
        parts = (real_change(one.cells, *own), real_change(one.cells, *other))
        named = derive(seed, "across donors", name, donor)
        frames.append(pd.DataFrame(steered(one, own[0], found, np.concatenate(other), *parts, named)))
    mean = pd.concat(frames).groupby(["way", "metric"], sort=False)["value"].mean()
    yield from mean.reset_index().to_dict("records")


def steered(
    one: Subject, cells: Array, found: Contrast, learnt: Array, real: Array, change: Array, seed: int
) -> Iterator[dict[str, object]]:
    """Yield how well each way predicts the real change; doses beside 1 of concepts and the mean difference alone."""
    latents = list(range(one.dictionary.n_findings))
    members = interferon(one)
    table = predicted(one, cells, found.edits(latents), found, learnt, doses=DOSES, draws=DRAWS, seed=seed)
    ways = list(table[["way", "dose", "change"]].itertuples(index=False, name=None))
    for share in SHARES:
        few = fewest(one.dictionary, found, latents, share)
        made = predicted(one, cells, found.edits(few), found, learnt, doses=[1.0], draws=DRAWS, seed=seed)
        names = {"concepts": f"fewest, {share:g}", "random concepts": f"random for fewest, {share:g}"}
        kept = made[made["way"].isin(list(names))]
        ways += [(names[way], 1.0, values) for way, values in zip(kept["way"], kept["change"], strict=True)]
        yield {"way": f"fewest, {share:g}", "metric": "concepts", "value": float(len(few))}
    figures: dict[tuple[str, str], list[float]] = {}
    for way, dose, values in [*ways, ("expression", 1.0, change)]:
        if dose != 1.0 and way not in ("concepts", "difference", "none"):
            continue
        title = way if dose == 1.0 or way == "none" else f"{way}, dose {dose:g}"
        scores = {**score(values, real)._asdict(), "interferon": rank_of(values, members)}
        for metric in METRICS:
            figures.setdefault((title, metric), []).append(scores[metric])
    for (way, metric), values in figures.items():
        known = [value for value in values if np.isfinite(value)]  # a draw that moves nothing has no correlation
        yield {"way": way, "metric": metric, "value": float(np.mean(known)) if known else float("nan")}
    for way in ("concepts", "difference"):
        moved = table.loc[(table["way"] == way) & (table["dose"] == 1.0), "moved"]
        yield {"way": way, "metric": "moved", "value": float(moved.iloc[0])}


def sizes(one: Subject, found: Contrast, wanted: Array | None) -> Iterator[dict[str, object]]:
    """Yield how many concepts there are, and what share of a difference at the site they carry."""
    latents = range(one.dictionary.n_findings)
    yield {"way": "concepts", "metric": "concepts", "value": float(len(latents))}
    yield {"way": "concepts", "metric": "carried, learnt", "value": carried(one.dictionary, found, latents)}
    if wanted is not None:
        yield {"way": "concepts", "metric": "carried", "value": carried(one.dictionary, found, latents, wanted)}
        left = 1 - float(np.square(wanted - found.difference).sum() / np.square(wanted).sum())
        yield {"way": "difference", "metric": "carried", "value": left}


def ceilings(one: Subject) -> Iterator[dict[str, object]]:
    """Yield how far the real change in two halves of a type's cells agrees, and what that lets a prediction reach.

    Halves agree at r; a prediction without fault would correlate with the whole at sqrt(2 r / (1 + r)).
    """
    for name in kinds(one):
        drawn: dict[str, list[float]] = {}
        for split in range(SPLITS):
            rng = generator(0, "steering halves", name, split)
            orders = [rng.permutation(part) for part in group(one, name)]
            a, b = (real_change(one.cells, *(np.sort(o[i::2]) for o in orders)) for i in range(2))
            for metric, value in score(a, b)._asdict().items():
                drawn.setdefault(metric, []).append(value)
        for metric in ("pearson", "pearson_top", "sign"):
            value = float(np.mean(drawn[metric]))
            yield {"variant": "halves", "type": name, "seed": 0, "way": "halves", "metric": metric, "value": value}
            if metric == "pearson":
                most = float(np.sqrt(2 * value / (1 + value)))
                yield {"variant": "halves", "type": name, "seed": 0, "way": "most", "metric": metric, "value": most}
        auroc = rank_of(real_of(one, name), interferon(one))
        yield {"variant": "halves", "type": name, "seed": 0, "way": "real", "metric": "interferon", "value": auroc}


def kinds(one: Subject) -> list[str]:
    """Return the types."""
    return sorted(set(one.cells.obs[TYPE].astype(str)))


def group(one: Subject, name: str, donor: str | None = None) -> Group:
    """Return the control and the stimulated cells of a type, and of one donor."""
    obs = one.cells.obs.astype(str)
    here = (obs[TYPE] == name) & (True if donor is None else obs[DONOR].str.endswith(donor))
    control, stimulated = (np.flatnonzero(here & (obs[CONDITION] == side)) for side in (BEFORE, AFTER))
    return control, stimulated


def real_of(one: Subject, name: str) -> Array:
    """Return the real change of a type."""
    return real_change(one.cells, *group(one, name))


def interferon(one: Subject) -> Array:
    """Return which genes are of the hallmark set, bool (n_genes,)."""
    lines = (line.split("\t") for line in HALLMARK.read_text(encoding="utf-8").splitlines())
    members = next(set(words[2:]) for words in lines if words[0] == INTERFERON)
    return np.isin(one.cells.symbols.astype(str), sorted(members))


def summed(found: pd.DataFrame) -> Iterator[Row]:
    """Yield mean and standard deviation over seeds."""
    for (variant, name, way, metric), part in found.groupby(["variant", "type", "way", "metric"], sort=False):
        values: Sequence[float] = part["value"].to_numpy(dtype=float)
        if not np.isfinite(values).all():
            continue  # what does not change has no correlation
        yield Row(metric, f"{variant}: {name}: {way}", round(float(np.mean(values)), 5), "")
        if len(values) > 1:
            yield Row(f"{metric}, sd", f"{variant}: {name}: {way}", round(float(np.std(values, ddof=1)), 5), "")


if __name__ == "__main__":
    main()
