"""The questions that sank published studies, asked of one atlas: each with a verdict, its figures and where they lie.

A question is a function from `Facts` to a `Finding`. Verdicts are by written rules, the same for every atlas:

    holds       what was asked is there, and speaks for the atlas
    doubtful    it is there, and a reader should know of it before believing a claim
    fails       a claim of the atlas does not stand on what is there
    not known   nothing here can say; the remedy says what would

Knows neither files nor the atlas: what it is given is `Facts`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pandas as pd

from cellglass.errors import listed
from cellglass.vocabulary import FOLLOWS_DEPTH, SIGNIFICANT, TITLES

Verdict = Literal["holds", "doubtful", "fails", "not known"]

RIVALS = ("clusters", "neurons", "pca", "ica")
"""What concepts are to beat, or to be said to lose to."""
CLEAR = 0.1
"""How far a share or an F1 must lie above its null."""
FEW_GENES = 2_000
"""Genes below which a panel is small: then most gene lists look alike to a gene set."""
FOUND, FOUND_GENES = 0.7, 0.9
"""Correlation with a planted program, and AUROC of its genes, from which on it counts as found."""
COMES_BACK = 0.8
"""Share of concepts that should come back in other cells."""
_CLUSTERINGS = re.compile(r"louvain|leiden|cluster|k-?means", re.IGNORECASE)
_UNITS = re.compile(r"donor|patient|individual|subject|mouse|animal|sample", re.IGNORECASE)
_CONDITIONS = re.compile(r"condition|stim|treat|disease|perturb|drug|time|group", re.IGNORECASE)


@dataclass(frozen=True)
class Facts:
    """What an audit looks at.

    Attributes
    ----------
    config : mapping
        The configuration of the run, nested, as the manifest holds it; what it lacks is not known.
    metrics : pandas.DataFrame
        Index ``metric``; columns ``value`` and ``null`` at least: the metrics of the atlas.
    concepts : pandas.DataFrame
        One row for each concept that is no residual latent, with the columns of the atlas.
    obs : pandas.DataFrame
        Of the cells.
    methods : tuple of str
        Methods of attribution that ran.
    asking : tuple of str
        Those of them that ask the model.
    reproducibility : mapping or None
        By which rule concepts come back, as the atlas says it.
    n_genes : int or None
        Genes that the model reads; None where it reads none.
    planted : mapping or None
        What `pipeline.positive_control` found of a program planted in these counts.
    control : Facts or None
        Of an atlas of the same cells whose model is a control (untrained, shuffled).
    """

    config: Mapping[str, Any]
    metrics: pd.DataFrame
    concepts: pd.DataFrame
    obs: pd.DataFrame
    methods: tuple[str, ...]
    asking: tuple[str, ...]
    reproducibility: Mapping[str, Any] | None
    n_genes: int | None
    planted: Mapping[str, Any] | None = None
    control: Facts | None = None

    def setting(self, table: str, name: str) -> Any:
        """Return a setting of the run, or None where the atlas does not say it."""
        return (self.config.get(table) or {}).get(name)

    def metric(self, name: str, column: str = "value") -> float | None:
        """Return a figure, or None where there is none."""
        if name not in self.metrics.index:
            return None
        value: Any = self.metrics.loc[name, column]
        return None if value is None or value != value else float(value)

    def mean_f1(self, label: str) -> dict[str, float]:
        """Return, by basis, the mean over values of `label` of the F1 of the best single latent."""
        prefix = f"alignment.{label}."
        rows = self.metrics[self.metrics.index.str.startswith(prefix)]["value"].dropna().astype(float)
        basis = rows.index.str.rpartition(".").get_level_values(2)
        return {str(name): float(values.mean()) for name, values in rows.groupby(basis)}

    def with_genes(self) -> float:
        """Return the share of concepts that have a significant gene."""
        columns = [name for name in ("top_gene_q", "absent_gene_q") if name in self.concepts]
        if not columns or not len(self.concepts):
            return 0.0
        return float((self.concepts[columns] < SIGNIFICANT).any(axis=1).mean())

    @property
    def labels(self) -> list[str]:
        """Columns of obs that concepts were compared with."""
        return [str(name) for name in self.setting("cells", "labels") or ()]


class Finding(NamedTuple):
    """The answer to a question.

    Attributes
    ----------
    question : str
        A short name.
    asks : str
        The question.
    verdict : {"holds", "doubtful", "fails", "not known"}
    figures : str
        What was found, in words with figures.
    where : str
        Where the figures lie.
    remedy : str
        What to do about it; empty where it holds.
    """

    question: str
    asks: str
    verdict: Verdict
    figures: str
    where: str
    remedy: str


def audit(facts: Facts) -> list[Finding]:
    """Return the answer to every question, in their order."""
    return [Finding(name, asks, *answer(facts)) for name, (asks, answer) in QUESTIONS.items()]


Answer = tuple[Verdict, str, str, str]


def _nulls(facts: Facts) -> Answer:
    where = "manifest.json: config.attribution.null; evaluation.json: alignment.*"
    if facts.asking and facts.setting("attribution", "null") not in (None, "matched"):
        return (
            "fails",
            "null partners are drawn at random from the cells that have the concept, nearer than real partners are; of "
            "cells without structure a large share of concepts has genes by such a null",
            where,
            "run again with attribution.null = 'matched', the default",
        )
    both = {label: f1 for label in facts.labels if {"concepts", "random"} <= (f1 := facts.mean_f1(label)).keys()}
    close = [
        f"{label}: {f1['concepts']:.2f} against {f1['random']:.2f}"
        for label, f1 in both.items()
        if f1["concepts"] - f1["random"] < CLEAR
    ]
    if close:
        text = f"random directions under the same selection mark labels nearly as well (mean F1; {'; '.join(close)})"
        return "doubtful", text, where, "claim no more for these labels than random directions give"
    if not both:
        return "not known", "no label was held against random directions", where, _LABELS
    known = facts.asking and facts.setting("attribution", "null") is not None
    partners = "null partners are matched in distance and depth; " if known else ""
    return "holds", f"{partners}random directions mark labels less well", where, ""


def _rivals(facts: Facts) -> Answer:
    where = "evaluation.json: alignment.LABEL.*"
    if not facts.labels:
        return "not known", "no label was given, so concepts and their rivals were not compared", where, _LABELS
    missing, wins = [], []
    for label in facts.labels:
        f1 = facts.mean_f1(label)
        missing += [f"{TITLES[name]} for {label}" for name in RIVALS if name not in f1]
        ours = f1.get("concepts")
        better = [name for name in RIVALS if ours is not None and f1.get(name, -1.0) > ours]
        wins += [f"{TITLES[name]} ({f1[name]:.2f}, concepts {ours:.2f}) for {label}" for name in better]
    if missing:
        return "fails", f"not compared with {listed(missing)}", where, "run the evaluation again, with all baselines"
    if wins:
        return (
            "doubtful",
            f"better than concepts, by mean F1: {listed(wins)}",
            where,
            "say so beside any claim of labels",
        )
    return "holds", f"concepts mark values better than {listed([TITLES[name] for name in RIVALS])}", where, ""


def _dipping(facts: Facts) -> Answer:
    where = "concepts.zarr: var.best_label_n; manifest.json: config.cells.labels"
    if facts.labels and "best_label_n" not in facts.concepts:
        text = "nothing says that F1 was scored on cells that did not choose latent and threshold"
        return "fails", text, where, "make the atlas again with this version"
    clustered = [name for name in facts.labels if _CLUSTERINGS.search(name)]
    if clustered:
        text = f"{listed(clustered)}: by its name a clustering of the same counts, so that agreement is partly built in"
        return "doubtful", text, where, "use labels that were made without these counts (sorting, protein, donors)"
    if not facts.labels:
        return "not known", "no label was given", where, _LABELS
    return "holds", "latent and threshold are chosen on one half of the cells, F1 is scored on the other", where, ""


def _replicates(facts: Facts) -> Answer:
    where = "concepts.zarr: obs, uns.reproducibility"
    units = {
        str(name): int(facts.obs[name].nunique())
        for name in facts.obs
        if _UNITS.search(str(name)) and 2 <= facts.obs[name].nunique() < len(facts.obs) / 2
    }
    by = (facts.reproducibility or {}).get("by")
    if by == "donors":
        return "holds", "concepts are those that come back in halves that share no donor", where, ""
    if units:
        name, n = next(iter(units.items()))
        text = f"obs has {name} with {n} values, and concepts come back in halves of cells, not of {name}s"
        remedy = (
            f"run again with --batch {name}" if n >= 4 else f"{n} are too few to halve: say that cells are the unit"
        )
        return "doubtful", text, where, remedy
    return (
        "not known",
        "no column of obs says which cells are of one donor, so cells are the unit",
        where,
        ("bring the donor or sample as a column, and give it as --batch"),
    )


def _ceiling(facts: Facts) -> Answer:
    where = "evaluation.json: annotation.*"
    rows = facts.metrics[facts.metrics.index.str.match(r"annotation\..*\.calibrated$")]
    rows = rows[~rows.index.str.contains(r"\.(?:de|correlation)\.calibrated$")].dropna(subset=["value", "null"])
    if not len(rows):
        return "not known", "no gene sets were tested against random genes", where, "give gene sets with --gene-sets"
    gap = (rows["value"] - rows["null"]).astype(float)
    worst, test = rows.loc[gap.idxmin()], str(gap.idxmin()).removeprefix("annotation.").removesuffix(".calibrated")
    text = (
        f"{worst['value']:.0%} of concepts have a gene set, and {worst['null']:.0%} of rankings of random genes, by "
        f"the least clear test ({test})"
    )
    few = f"; the model reads {facts.n_genes:,} genes" if facts.n_genes and facts.n_genes < FEW_GENES else ""
    if gap.max() < CLEAR:
        return "fails", text + few, where, "name no pathway: random genes of like expression have as many"
    if gap.min() < CLEAR:
        return "doubtful", text + few, where, "name pathways by the tests that are clear alone"
    if few:
        return (
            "doubtful",
            f"{text}{few}, a small panel, in which few sets are whole",
            where,
            "fit a model of more genes",
        )
    return "holds", text, where, ""


def _conditions(facts: Facts) -> Answer:
    where = "concepts.zarr: obs"
    found = {str(name): int(facts.obs[name].nunique()) for name in facts.obs if _CONDITIONS.search(str(name))}
    several = [name for name, n in found.items() if n > 1]
    if several:
        return (
            "holds",
            f"cells of several conditions: {listed([f'{name} ({found[name]})' for name in several])}",
            where,
            "",
        )
    said = f"{listed(list(found))} has one value" if found else "no column of obs says a condition"
    text = f"{said}: whether a concept is a type or a state of these cells alone cannot be told"
    return "not known", text, where, "explain cells of another condition too, and compare the atlases"


def _seeds(facts: Facts) -> Answer:
    where = "concepts.zarr: uns.reproducibility; evaluation.json: reproducibility.concepts"
    if facts.reproducibility is None:
        return (
            "fails",
            "one dictionary from one seed: nothing says which latents come back",
            where,
            ("run the default dictionary, or several seeds"),
        )
    share, chance = facts.metric("reproducibility.concepts"), facts.metric("reproducibility.concepts", "null")
    if share is None:
        return (
            "not known",
            "whole procedures were not repeated on halves of the cells (--splits 0)",
            where,
            ("run again with --splits 5"),
        )
    text = f"{share:.0%} of concepts come back in cells that the fit has not seen"
    text += f", {chance:.0%} of turned ones" if chance is not None else ""
    if share < COMES_BACK:
        return "doubtful", text, where, "claim single concepts by their own reproducibility, and those at 100 % first"
    return "holds", f"{text}; of one fit of the model", where, ""


def _model(facts: Facts) -> Answer:
    where = "manifest.json: config.model.control"
    control = facts.setting("model", "control")
    if control:
        return "fails", f"this atlas explains a control ({control}), not the model", where, "nothing here is a finding"
    if facts.control is None:
        text = "whether an untrained or shuffled model gives as much was not asked here"
        return "not known", text, where, "make a second atlas with --control untrained, and give it as --control"
    name = facts.control.setting("model", "control") or "control"
    pairs = {"concepts with a significant gene": (facts.with_genes(), facts.control.with_genes())}
    for label in facts.labels:
        ours, theirs = (one.mean_f1(label).get("concepts") for one in (facts, facts.control))
        if ours is not None and theirs is not None:
            pairs[f"mean F1 of {label}"] = ours, theirs
    said = listed(f"{what} {ours:.2f}, {name} model {theirs:.2f}" for what, (ours, theirs) in pairs.items())
    near = [what for what, (ours, theirs) in pairs.items() if ours - theirs < CLEAR]
    if len(near) == len(pairs):
        return "fails", said, "both atlases", "claim nothing of the model: a network without training gives as much"
    if near:
        return "doubtful", said, "both atlases", f"do not rest a claim on {listed(near)}"
    return "holds", said, "both atlases", ""


def _claims(facts: Facts) -> Answer:
    where = "genes.parquet: method, q; concepts.zarr: var.top_gene_q"
    if not facts.asking:
        ran = listed([TITLES.get(name, name) for name in facts.methods]) if facts.methods else "no method"
        text = f"{ran} alone: decoding. No concept's genes were found by changing what the model reads"
        return "fails", text, where, "run with counts and a method that asks the model (path, swap)"
    sure = facts.with_genes()
    ways = listed([TITLES.get(name, name) for name in facts.asking])
    text = (
        f"{sure:.0%} of concepts have a gene at q < {SIGNIFICANT} by {ways}: what changes when the model's input does"
    )
    if not sure:
        return "fails", text, where, "call no gene a driver: none is told from null pairs"
    return (
        "doubtful" if sure < 0.5 else "holds",
        f"{text}; nothing here is causal in cells",
        where,
        ("say for each concept whether its genes are significant" if sure < 0.5 else ""),
    )


def _depth(facts: Facts) -> Answer:
    where = "concepts.zarr: var.depth_correlation"
    if "depth_correlation" not in facts.concepts or not facts.concepts["depth_correlation"].notna().any():
        return "not known", "how concepts go with total counts is not known", where, "make the atlas with counts"
    r = facts.concepts["depth_correlation"].abs()
    share = float((r >= FOLLOWS_DEPTH).mean())
    n = int((r >= FOLLOWS_DEPTH).sum())
    text = f"{n} of {len(r)} concepts correlate with log total counts at {FOLLOWS_DEPTH} or more"
    if share > 0.5:
        return (
            "fails",
            text,
            where,
            "the site is laid out by depth: give the model depth, or thin the cells to one depth",
        )
    if share > 0:
        names = facts.concepts.index[(r >= FOLLOWS_DEPTH).to_numpy()][:3]
        remedy = f"look whether these are types that hold more RNA: {listed([str(name) for name in names])}"
        return "doubtful", text, where, remedy
    return "holds", text, where, ""


def _positive_control(facts: Facts) -> Answer:
    found = facts.planted
    if found is None:
        text = "no program was planted in these counts, so the power to find one is not known here"
        return "not known", text, "audit.json", "cellglass audit ATLAS --plant explains these cells with one planted"
    where = "audit.json: planted"
    text = (
        f"a program of {found['genes']} genes planted in {found['share']:.0%} of the cells (log fold change "
        f"{found['effect']:g}): the nearest concept correlates with it at {found['correlation']:.2f}, and ranks "
        f"its genes with AUROC {found['auroc']:.2f}"
    )
    if found["correlation"] >= FOUND and found["auroc"] >= FOUND_GENES:
        return "holds", text, where, ""
    return "doubtful", text, where, "what is not found here may be there all the same: more cells, or a stronger effect"


_LABELS = "give a column of obs with --labels"

QUESTIONS: Mapping[str, tuple[str, Callable[[Facts], Answer]]] = {
    "null": ("Is the null hard?", _nulls),
    "rivals": ("Do trivial methods do as well?", _rivals),
    "double dipping": ("Are choice and score on other cells?", _dipping),
    "replicates": ("Are donors the unit, and not cells?", _replicates),
    "ceiling": ("Do random genes mean as much?", _ceiling),
    "conditions": ("Is there more than one condition?", _conditions),
    "comes back": ("Does it come back?", _seeds),
    "model": ("Is it the model, and not any network?", _model),
    "claims": ("Do claims stay below their evidence?", _claims),
    "depth": ("Is it sequencing depth?", _depth),
    "positive control": ("Would it have been found?", _positive_control),
}
"""Every question by its short name: what it asks, and who answers."""
