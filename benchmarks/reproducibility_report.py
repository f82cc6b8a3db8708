"""Writes the tables of `reproducibility` as markdown; computes nothing but means and spreads over splits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from planted_report import table
from reproducibility_methods import ALL, CONCEPTS, NEURONS, TURNED
from reproducibility_sites import SOURCES, TRANSFORMER

READING = Path(__file__).with_name("reproducibility_reading.md")
"""The reading of the run that the repository holds; stands above the tables, and is written by hand."""

FRONTIER = {
    "latents": "latents",
    "back": "come back",
    "distinct": "distinct",
    "share": "share",
    "share, lenient": "share, lenient",
    "variance explained": "variance explained",
    "active": "active",
    "density": "density",
    "F1": "F1",
    "good": "mark a label",
    "precision": "precision",
    "precision, strong": "precision, strong",
}
_RETURNS = ("latents", "back", "distinct", "share", "share, lenient")
_BINS = (0.0, 0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.01)

Record = dict[str, Any]

_TITLE = """# What comes back in other cells

Written by `python benchmarks/reproducibility.py --json benchmarks/results/reproducibility.json --markdown
docs/results/reproducibility.md` on {cores} cores ({cpu}); one thread.

A finding that depends on the cells that happened to be in the sample is none. Here everything is fitted twice, to two
parts of 40 % of the cells that have no cell in common{donors}, and read in the 20 % that neither has seen. The model
and its genes are those of `cellglass run` with its defaults (scVI, 20 dimensions), fitted to all cells without labels.
"""

_COLUMNS = """
- **latents**: that the method reports, active in an unseen cell. **come back**: have a partner in the other fit,
  matched one to one, with a correlation of activations of at least 0.7 in unseen cells. **share**: of the latents,
  mean of both ways. **lenient**: any latent of the other fit may be the partner, residual ones too, and several may
  share it. **distinct**: of those that come back, how many do not correlate at 0.7 with another that is counted.
- **variance explained**: of the site in unseen cells, by ridge regression on the activations, one rule for all
  methods. **active**: latents of a cell. **density**: share of cells in which a latent is on, median.
- **F1**: of the best single latent for each value of the label, mean over values, in cells that the fit has not seen;
  latent and threshold chosen on one half of those, scored on the other. **mark a label**: latents with F1 >= 0.7.
  **precision**: of those, the share of the cells in which a latent is on at all that have its label, median;
  **strong**: of the cells with at least half of its 99th percentile.

Mean ± standard deviation over {splits} splits of the cells. *Turned at random*: the concepts' own readouts after a
random rotation of the whitened site, on in as many cells, with the same angles between them. Louvain and Leiden
communities are of the same graph, the 15 nearest cells; `igraph`, which makes Leiden's, is no dependency of cellglass:
`benchmarks/environments.py` installs it beside. Neurons are the same axes whatever the cells, so all of them come back:
that column tells nothing there.
"""

_CALIBRATION = """
A latent's reproducibility is the share of 16 pairs of disjoint halves of the cells at hand in both of which it is
found. Here: of the latents with a given figure, all of them, the share with a partner (correlation at least 0.7) in
the fit to the other part of the cells, matched one to one among all latents, and with any latent as the partner.
Concepts are the latents at 0.8 and above. All splits together.
"""

_MODEL = """
scVI fitted with {seeds} seeds, each dictionary to the same four fifths of the cells, read in the others: share that
is found again with another seed's model. Mean ± standard deviation over pairs of seeds.
"""

_STATE = """
*Stimulated* (interferon beta) is a state that all types of cells share: {share}. F1 of the best latent for it, over
all cells, and over the cells of one type (median over types; latent and threshold chosen for each type). **Beyond
clusters**: the most that one latent being on says of the state when the cluster of a cell is known, I(on; state |
cluster), as a share of H(state | cluster), less what shuffling the state within clusters gives; and how many latents
say more than any of 100 shuffles and more than a hundredth of that entropy.
"""

_SURROGATES = """
The same procedure on sites where nothing is to be found but what principal components say. **A Gaussian of the same
covariance** keeps their variances; **principal components, each shuffled** keeps the distribution of each (tails and
modes), and breaks what ties them. What is reported of those is the price of the procedure: slices of an axis that
stands out, and tails. Mean ± standard deviation over {splits} splits, without residual latents.
"""

_GROWTH = """
Concepts fitted to two parts of 40 % of as many cells, read in all others. The model has seen all cells.
"""

_TRANSFORMER = """
As by the number of cells. *kang, {kind}*: a small {kind} ({layers} layers of width {width}) fitted to {cells:,} of
kang's cells; its site `cell` has a row for each cell, its *token* site (the residual stream behind the last layer) one
for each of {tokens} genes of a cell. There all tokens of a cell are in the same half, and a concept comes back if it
correlates over tokens.
"""


def markdown(records: Sequence[Record], about: dict[str, Any]) -> str:
    """Return the page."""
    by: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        by.setdefault((record["section"], record["site"]), []).append(record)
    sites = [site for section, site in by if section == "frontier"]
    with_donors = " and ".join(_about(site) for site in sites if SOURCES[site].donor)
    donors = f" (of {with_donors}: no donor)" if with_donors else ""
    parts = [_TITLE.format(cores=about["cores"], cpu=about["cpu"], donors=donors)]
    if READING.is_file():
        parts.append(READING.read_text(encoding="utf-8").rstrip() + "\n")
    if sites:
        parts.append("## Frontier\n" + _COLUMNS.format(splits=_splits(by, "frontier", sites)))
    for site in sites:
        parts += [f"### {_about(site)}\n", frontier(by["frontier", site]), "\n" + rivals(by["frontier", site]) + "\n"]
    if sites:
        parts += ["## Is the stated reproducibility kept?\n" + _CALIBRATION, calibration(by, sites), ""]
    with_state = [site for site in sites if SOURCES[site].state]
    for site in with_state:
        found = by["frontier", site]
        parts += ["## A state that types share\n" + _STATE.format(share=_left(found)), state(found), ""]
    return "\n".join([*parts, *_other_sections(by)]).rstrip() + "\n"


def _other_sections(by: dict[tuple[str, str], list[Record]]) -> Iterator[str]:
    """Yield the pieces of the sections behind the frontier's that were measured."""

    def of(name: str) -> list[str]:
        return [site for section, site in by if section == name]

    again, bare = of("model"), of("surrogates")
    if again:
        seeds = 1 + max(int(one["split"].split("-")[0]) for site in again for one in by["model", site])
        yield "## A second fit of the model\n" + _MODEL.format(seeds=seeds)
    for site in again:
        yield from (f"### {_about(site)}\n", grid(by["model", site], {k: FRONTIER[k] for k in _RETURNS}), "")
    if bare:
        yield "## Where there is nothing to find\n" + _SURROGATES.format(splits=_splits(by, "surrogates", bare))
    for site in bare:
        columns = {key: FRONTIER[key] for key in (*_RETURNS, "variance explained", "active")}
        yield from (f"### {_about(site)}\n", grid(by["surrogates", site], columns, "fitted to"), "")
    if grown := of("growth"):
        yield from ("## By the number of cells\n" + _GROWTH, growth(by, grown, "growth"), "")
    if sites := of("transformer"):
        words = _TRANSFORMER.format(**TRANSFORMER)
        yield from ("## At the sites of a transformer\n" + words, growth(by, sites, "transformer"), "")
    for site in of("whole"):
        yield from ("## A whole run\n", whole(by["whole", site][0]), "")


def frontier(records: Sequence[Record]) -> str:
    """Return the table of one site: a line for each method."""
    return grid(records, FRONTIER)


def grid(records: Sequence[Record], columns: dict[str, str], head: str = "method") -> str:
    """Return a table with a line for each method, mean ± standard deviation over its records."""
    names = list(dict.fromkeys(one["method"] for one in records))
    lines = [
        [name, *(figure([one.get(key) for one in records if one["method"] == name]) for key in columns)]
        for name in names
    ]
    return table([head, *columns.values()], lines)


def figure(values: Iterable[float | None]) -> str:
    """Return mean ± standard deviation of what is known; nothing where nothing is."""
    known = np.array([value for value in values if value is not None and np.isfinite(value)])
    if not len(known):
        return ""
    mean = float(known.mean())
    digits = 1 if abs(mean) >= 2 else 2 if abs(mean) >= 0.1 or mean == 0 else 3
    if len(known) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {known.std(ddof=1):.{digits}f}"


def rivals(records: Sequence[Record]) -> str:
    """Return, for the figures that decide, which methods have more than the concepts, as text."""
    mean = {
        name: {
            key: _mean(one[key] for one in records if one["method"] == name)
            for key in ("back", "distinct", "share", "F1", "precision", "variance explained")
        }
        for name in dict.fromkeys(one["method"] for one in records)
    }
    if CONCEPTS not in mean:
        return ""
    ours, lines = mean.pop(CONCEPTS), []
    for name in (ALL, TURNED):
        mean.pop(name, None)
    for key in ours:
        able = [name for name in mean if name != NEURONS or key not in ("back", "distinct", "share")]
        better = [name for name in able if mean[name][key] > ours[key]]
        better.sort(key=lambda name, key=key: -mean[name][key])
        lines.append(f"{FRONTIER[key]}: " + (", ".join(f"{name} ({mean[name][key]:.3g})" for name in better) or "none"))
    return "Rivals above the concepts: " + "; ".join(lines) + "."


def calibration(by: dict[tuple[str, str], list[Record]], sites: Sequence[str]) -> str:
    """Return the table of stated reproducibility against what comes back."""
    lines = []
    for site in sites:
        stated = [row for one in by["frontier", site] if one["method"] == CONCEPTS for row in one.get("stated", ())]
        values = np.array(stated).reshape(-1, 3)
        for low, high in pairwise(_BINS):
            some = values[(values[:, 0] >= low - 1e-6) & (values[:, 0] < high - 1e-6)]
            if len(some):
                bin_ = "1.0" if low == 1 else f"{low:.1f} to {high:.1f}"
                shares = [f"{(some[:, i] >= 0.7).mean():.2f}" for i in (1, 2)]
                lines.append([site, bin_, str(len(some)), f"{some[:, 0].mean():.2f}", *shares])
    return table(["cells", "reproducibility", "latents", "mean", "come back", "come back, lenient"], lines)


def state(records: Sequence[Record]) -> str:
    """Return the table of a state that types share."""
    columns = {"F1 of the state": "F1", "F1 within types": "F1 within types"}
    for key in records[0]:
        if key.startswith("beyond ") and key.endswith((": share", ": latents")):
            name, _, what = key.removeprefix("beyond ").rpartition(": ")
            columns[key] = f"{'share beyond' if what == 'share' else 'latents beyond'} {name}"
    return grid(records, columns)


def growth(by: dict[tuple[str, str], list[Record]], sites: Sequence[str], section: str) -> str:
    """Return the table by number of cells."""
    keys = (*_RETURNS, "variance explained", "active")
    lines = []
    for site in sites:
        for n in dict.fromkeys(one["method"] for one in by[section, site]):
            some = [one for one in by[section, site] if one["method"] == n]
            lines.append([site, f"{int(n):,}", *(figure(one[key] for one in some) for key in keys)])
    return table(["site", "cells", *(("concepts" if key == "latents" else FRONTIER[key]) for key in keys)], lines)


def whole(record: Record) -> str:
    """Return what a run with defaults gives."""
    return (
        f"`cellglass run` with its defaults on {_about(record['site'])}: {record['concepts']:.0f} concepts and "
        f"{record['latents'] - record['concepts']:.0f} residual latents, variance explained "
        f"{record['variance explained']:.3f} on held-out cells (all latents, the dictionary's own decoder), "
        f"{record['active']:.1f} active in a cell; in the median a latent is on in {100 * record['density']:.1f} % of "
        f"the cells, a concept in {100 * record['density of concepts']:.1f} %; {record['seconds']:.0f} s."
    )


def with_former(before: str, page: str) -> str:
    """Return the page of before, with the sections that `page` has in their places, and what is new behind.

    The head, and the reading above the tables, stay as they were; a section tells the machine if it is another.
    """
    old, new = _sections(before), _sections(page)
    head, machine = next(iter(old)), next(iter(new.values())).partition(" on ")[2].partition(";")[0]
    if machine not in old[head]:
        new = {title: f"{text.rstrip()}\n\nMeasured on {machine}.\n\n" for title, text in new.items()}
    anew = {title: text for title, text in new.items() if title != head}
    return "".join((old | anew).values()).rstrip() + "\n"


def _sections(page: str) -> dict[str, str]:
    """Return the sections of a page by their headings, each with its heading."""
    pieces = re.split(r"(?m)^(?=#{1,2} )", page)
    return {piece.partition("\n")[0]: piece.rstrip() + "\n\n" for piece in pieces if piece}


def _splits(by: dict[tuple[str, str], list[Record]], section: str, sites: Iterable[str]) -> int:
    return max((len({one["split"] for one in by[section, site]}) for site in sites), default=0)


def _about(site: str) -> str:
    file = SOURCES[site].file
    return "the demo's 700 cells" if file is None else file.removesuffix(".h5ad")


def _left(records: Sequence[Record]) -> str:
    keys = [key for key in records[0] if key.startswith("beyond ") and key.endswith(": entropy")]
    left = {key.removeprefix("beyond ").removesuffix(": entropy"): _mean(one[key] for one in records) for key in keys}
    bits = ", ".join(f"{value:.2f} bits where {name} are known" for name, value in left.items())
    return f"its entropy is {bits}"


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
