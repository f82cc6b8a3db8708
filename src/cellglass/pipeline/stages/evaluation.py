"""The stage that measures: every metric with its spread over seeds and its null. Each seed is one unit."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellglass.evaluation.labels import sample_rows
from cellglass.evaluation.metric import Metric, from_records, over_seeds, to_records
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.workspace import (
    ATTRIBUTION,
    BASES,
    CONTROL,
    RATES,
    RIVALS,
    by_donor,
    held_out_rows,
    of_tokens,
    open_activations,
    open_dictionaries,
    open_explained,
    open_findings,
    open_halves,
    open_labels,
)
from cellglass.seeds import derive, generator
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.dictionaries.base import Dictionary
    from cellglass.evaluation.run import Evaluation
    from cellglass.evaluation.tokens import TokenCells

log = logging.getLogger(__name__)
_RECORDS = "records.json"
_SEED, _STABILITY, _HALVES, _IDENTITY = "seed-", "stability-", "halves-", "identity"


class EvaluationStage(Stage):
    """Writes fidelity, probes, alignment, stability, annotation rates, completeness of path effects."""

    name = "evaluation"
    does = "measure how good it is"
    outputs = ("evaluation.json",)
    needs = ("model", "activations", "dictionaries", "reproducibility", "genes", "pathways")
    revision = 6

    def settings(self) -> Any:
        """Return the labels, and the seed of all samples."""
        return {"labels": list(self.run.config.cells.labels), "seed": self.run.config.seed}

    @cached_property
    def dictionaries(self) -> dict[str, list[Dictionary]]:
        """The dictionaries of each basis that there is, one a seed."""
        return {basis: found for basis in BASES if (found := open_dictionaries(self.run, basis))}

    @cached_property
    def view(self) -> TokenCells | None:
        """How rows become rows of cells, where the site has one row for each gene of a cell."""
        from cellglass.evaluation.tokens import TokenCells

        store, site = open_activations(self.run)
        return TokenCells(store, site) if of_tokens(store, site) else None

    @cached_property
    def evaluation(self) -> Evaluation:
        """What all measures share."""
        from cellglass.evaluation.run import Evaluation

        store, site = open_activations(self.run)
        cells = open_explained(self.run)
        return Evaluation(
            self.dictionaries,
            partial(store.read, site),
            store.n_rows(site),
            labels=open_labels(self.run),
            heldout=held_out_rows(self.run, store, site)[1],
            seed=derive(self.run.config.seed, "evaluation"),
            control=open_dictionaries(self.run, CONTROL),
            view=self.view,
            findings=open_findings(self.run),
            counts=(lambda rows: cells.counts[rows]) if cells.has_counts else None,
        )

    def units(self) -> Sequence[str]:
        """Return each seed, each basis whose stability is measured, and gene identity where there are tokens."""
        seeds = [f"{_SEED}{i}" for i in range(self.evaluation.n_seeds)]
        stability = [f"{_STABILITY}{basis}" for basis in self.evaluation.seeded]
        halves = [f"{_HALVES}{basis}" for basis in ("concepts", *RIVALS) if self._splits(basis)]
        return [*seeds, *stability, *halves, *([_IDENTITY] if self.view is not None else [])]

    def do(self, name: str, folder: Path) -> None:
        """Measure what the unit is for."""
        with threads(1):
            if name.startswith(_SEED):
                metrics = self.evaluation.of_seed(int(name.removeprefix(_SEED)), self.run.progress)
            elif name.startswith(_STABILITY):
                metrics = self.evaluation.stability(name.removeprefix(_STABILITY))
            elif name.startswith(_HALVES):
                metrics = self._reproducibility(name.removeprefix(_HALVES))
            else:
                metrics = self._identity()
        (folder / _RECORDS).write_text(json.dumps(to_records(metrics)))

    def join(self, made: Mapping[str, Path]) -> None:
        """Write all metrics, merged over seeds."""
        from cellglass.atlas.write import write_evaluation

        found = {name: from_records(json.loads((folder / _RECORDS).read_text())) for name, folder in made.items()}
        metrics = over_seeds([metrics for name, metrics in found.items() if name.startswith(_SEED)])
        metrics += [metric for name, metrics in found.items() if not name.startswith(_SEED) for metric in metrics]
        rates, gaps = json.loads(self.run.path(RATES).read_text()), self.run.path(ATTRIBUTION, "gaps.parquet")
        metrics += [*annotation(rates), *completeness(pd.read_parquet(gaps))]
        metrics += screened(pd.read_parquet(self.run.path(ATTRIBUTION, "screens.parquet")))
        for said in lost_labels(metrics, self.run.config.cells.labels, self.run.config.cells.batch):
            log.warning("%s", said)
        write_evaluation(self.run.folder, to_records(metrics))

    def _splits(self, basis: str) -> list[list[Dictionary]]:
        """Return the two dictionaries of a basis from the halves of each split that has both."""
        splits = range(self.run.config.dictionary.splits)
        return [found for i in splits if (found := open_halves(self.run, i, basis))]

    def _reproducibility(self, basis: str) -> list[Metric]:
        """Return how much of a basis comes back in the other half of the cells, in rows that neither has seen."""
        from cellglass.evaluation.reproducibility import comes_back, control, directions_read, reproducibility_metrics
        from cellglass.evaluation.run import encode_rows

        store, site = open_activations(self.run)
        _, test, valid = held_out_rows(self.run, store, site)
        rows = sample_rows(len(test) + len(valid), derive(self.run.config.seed, "halves"))
        rows, read = np.sort(np.concatenate([test, valid]))[rows], partial(store.read, site)
        found, chance = [], []
        rng = generator(self.run.config.seed, "turned", basis)
        for pair in self._splits(basis):
            a, b = (encode_rows(d, read, rows)[:, : d.n_findings] for d in pair)
            found.append(comes_back(a, b))
            reads = [directions_read(d)[: d.n_findings] for d in pair]
            on = (np.diff(a.indptr) / len(rows), np.diff(b.indptr) / len(rows))
            chance.append(control(read(rows).double().numpy(), reads[0], reads[1], on, rng))
        parts = "halves of the donors" if by_donor(self.run) else "halves of the cells"
        return reproducibility_metrics(found, chance, basis=basis, parts=parts)

    def _identity(self) -> list[Metric]:
        """Return how far gene identity explains the concepts, and the neurons, on the kept tokens."""
        from cellglass.evaluation.run import encode_rows
        from cellglass.evaluation.tokens import GeneSums, identity_metric

        assert self.view is not None, "it is a unit of token sites"  # noqa: S101
        n_genes, view, shares = open_explained(self.run).n_genes, self.view, {}
        for basis in ("concepts", "neurons"):
            if basis in self.dictionaries:
                dictionary = self.dictionaries[basis][0]
                sums = GeneSums(dictionary.n_latents, n_genes)
                for rows in np.array_split(np.arange(view.rows.n_rows), -(-view.rows.n_rows // 8192)):
                    sums.add(encode_rows(dictionary, view.rows.read, rows).tocsr(), view.rows.genes(rows))
                shares[basis] = sums.identity()
        return identity_metric(shares["concepts"], shares.get("neurons"), view.rows.n_rows)


def lost_labels(metrics: Sequence[Metric], labels: Sequence[str], batch: str | None) -> list[str]:
    """Return what to say of each label that the site's probe reads far worse than the probe of the counts does.

    Far worse is: by 3 points of accuracy or more, with errors half as many again, and a difference of more than three
    standard errors of two shares.
    """
    said, by_name = [], {metric.metric: metric for metric in metrics}
    for label in dict.fromkeys(labels):
        site, counts = by_name.get(f"probe.{label}.site"), by_name.get(f"probe.{label}.counts")
        if site is None or counts is None or not site.n:
            continue
        error = np.sqrt((site.value * (1 - site.value) + counts.value * (1 - counts.value)) / site.n)
        lost = counts.value - site.value
        if lost >= 0.03 and lost > 3 * error and 1 - site.value >= 1.5 * (1 - counts.value):
            why = f"the batch {batch!r} that it was told may have taken it" if batch else "the model does not keep it"
            said.append(
                f"{label} is read from the model's site with an accuracy of {site.value:.3f} only, from the counts "
                f"without any model with {counts.value:.3f}: {why}, and no concept can bring it back"
            )
    return said


def annotation(rates: Sequence[Mapping[str, Any]]) -> list[Metric]:
    """Return ``annotation.SOURCE.TEST`` on the first ranking, ``annotation.SOURCE.TEST.RANKING`` on the others."""
    first = rates[0]["ranking"] if rates else ""
    metrics = []
    for rate in rates:
        suffix = "" if rate["ranking"] == first else f".{rate['ranking']}"
        name = f"annotation.{rate['source']}.{rate['test']}{suffix}"
        ranked = f"{rate['test']} on genes ranked by {rate['ranking']}"
        on = f"at least one of {rate['n_terms']} terms enriched, or depleted, by {ranked}"
        matched = f"genes exchanged for genes of like mean expression, mean of {rate['draws']} draws"
        plain = (
            f"Share of concepts with {on}, at q < {rate['alpha']} (BH over concepts and terms), which takes genes for "
        )
        plain += f"exchangeable and is no claim without its null or null_q (.calibrated); null: {matched}"
        strict = (
            f"Share of concepts with {on}, at null_q < {rate['alpha']}, which compares each term with what it gets "
        )
        strict += f"from matched random genes; null: {matched}"
        n = rate["n_concepts"]
        metrics.append(Metric(name, rate["value"], None, rate["null"], n, plain))
        metrics.append(Metric(f"{name}.calibrated", rate["calibrated"], None, rate["calibrated_null"], n, strict))
    return metrics


def completeness(gaps: pd.DataFrame) -> list[Metric]:
    """Return ``attribution.path.gap``, where paths were run."""
    real = gaps[(gaps["kind"] == "real") & (gaps["on"] == "activation")] if len(gaps) else gaps
    if not len(real):
        return []
    return [
        Metric(
            metric="attribution.path.gap",
            value=float(real["median"].median()),
            n=int(real["n"].sum()),
            definition=(
                "Completeness gap of path effects, |sum of effects - difference in activation| / |difference|: the "
                "median over a concept's pairs, of which the median over concepts"
            ),
        )
    ]


def screened(screens: pd.DataFrame) -> list[Metric]:
    """Return ``attribution.screen.recall`` and ``.share``, where a screen said which genes are swapped."""
    known = screens[screens["recall"].notna()] if len(screens) else screens
    if not len(known):
        return []
    first = str(known["screen"].iloc[0])  # the other is what it is compared with
    mine, other = known[known["screen"] == first], known[known["screen"] == "difference"]
    pairs, of = int(mine["pairs"].sum()), f"mean over {len(mine)} concepts, {int(mine['pairs'].sum())} pairs of cells"
    return [
        Metric(
            metric="attribution.screen.recall",
            value=float(mine["recall"].mean()),
            null=None if first == "difference" else float(other["recall"].mean()),
            n=pairs,
            definition=(
                f"Share of the 20 genes with the largest exact swap effects on a concept that are among those whose "
                f"swaps are run, which the {first} picks; {of} in which all swaps were run. Null: as many runs spent "
                "on the genes whose log counts differ most"
            ),
        ),
        Metric(
            metric="attribution.screen.share",
            value=float(mine["share"].mean()),
            n=pairs,
            definition=f"Share of the runs of all swaps that the genes picked by the {first} take; {of}",
        ),
    ]
