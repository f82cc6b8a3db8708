"""Writes the tables of `interpretability` as markdown; computes nothing but means and spreads over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from planted_report import table

READING = Path(__file__).with_name("interpretability_reading.md")
"""The reading of the run that the repository holds; stands above the tables, and is written by hand."""

Record = dict[str, Any]
Key = tuple[str, str, str, str, str]
Figures = dict[str, list[float]]

FULL = {"zheng": "zheng_facs_pbmc", "demo": "the demo's cells", "stim": "kang_ctrl_stim_1556x1267"}
TITLES = {
    "F1": "F1",
    "mark a label": "mark a label",
    "precision": "precision",
    "come back": "come back",
    "with a gene": "with a gene",
    "genes": "genes each",
    "with a set": "with a set",
    "with a set, random genes": "random genes",
    "above": "above them",
    "density": "density",
}
_SHARES = ("mark a label", "come back", "with a gene", "with a set", "with a set, random genes", "above")
_KS = ("1", "2", "4", "8", "16", "all")

_HEAD = """# Interpretability: concepts beside neurons, PCA, ICA, clusters and random directions

Written by `python benchmarks/interpretability.py --json benchmarks/results/interpretability.json --markdown
docs/results/interpretability.md` on {cores} cores ({cpu}); one thread; {minutes:.0f} minutes of a processor, without
the fits of scVI.

"""
_TABLE = """
scVI's `z` (20 dimensions) as `cellglass run` fits it. Everything else is fitted to 40 % of the cells and measured in
cells that the fit has not seen; mean ± standard deviation over {seeds} splits of the cells, each with fits of its own.
Every basis has as many latents as there are concepts, chosen by the same question: which come back best in halves of
the fitted cells, none like another that is chosen. *clusters*: of k-means with 8, 12, 16 and 24 clusters, all offered.
*as sparse*: the same axes, on in as many cells as the median concept. *random directions*, the hard null: 128 drawn, on
in as many cells as concepts, chosen in the same way.

- **F1**: of the best single latent for each value of the label, mean over values, choice and score on different cells.
  **mark a label**: share of the latents with F1 of 0.7 or more. **precision**: of those, the share of the cells in
  which one is on at all that have its label, median.
- **come back**: share of the latents with a partner (correlation 0.7, matched one to one) among those chosen from a fit
  to another 40 %, in cells that neither has seen. Neurons are the same axes in both: only their choice can differ.
- **with a gene**: share of the latents with a gene at q < 0.05 by path effects, against null partners as far away and
  as deep; **genes each**: how many such genes a latent has, mean. Cells, prototypes and partners are unseen ones.
- **with a set**: share of the latents with a gene set at null_q < 0.05 (GSEA of path effects, bundled sets); **random
  genes**: the same with genes exchanged for others of like expression; **above them**: the difference.
"""
_PROBES = """
Accuracy of a logistic regression on the k latents that forward selection takes, with the penalty chosen on a quarter of
the fitting cells; a quarter of the unseen cells is scored, and has no say in either choice. *neurons*: the site's own
axes (all of them: the site itself). *counts*: 30 principal components of log counts, without any model; they are made
of the cells that are read, without labels. *shuffled labels*: the highest mean over bases, where the labels of the
fitting cells were shuffled. Axes are not split by sign here: one of them counts as one latent.
"""
_LOSS = """
scVI's reconstruction loss, -log p(counts | z), with z replaced. **loss kept**: 1 is z as it is, 0 the mean of z in
place of every cell's. **active**: values that are read of a cell. Rivals have as many as the row above: the leading
principal components, the largest of each cell, random directions with the best linear reconstruction.
"""
_BASES = {
    "concepts": "concepts",
    "concepts and residual latents": "concepts and residual latents",
    "clusters": "clusters",
    "neurons": "neurons",
    "neurons, as sparse": "neurons, as sparse",
    "pca": "PCA",
    "pca, as sparse": "PCA, as sparse",
    "ica": "ICA",
    "ica, as sparse": "ICA, as sparse",
    "random": "random directions",
    "counts": "counts, no model",
}


def grouped(records: Sequence[Record]) -> dict[Key, Figures]:
    """Return the figures of all seeds, by site, section, label, basis and number of latents."""
    found: dict[Key, Figures] = {}
    for record in records:
        if record["section"] == "cost":
            continue
        key = (record["site"], record["section"], *(str(record.get(name, "")) for name in ("label", "basis", "k")))
        figures = found.setdefault(key, {})  # type: ignore[arg-type]  # five parts
        if record["section"] == "table":
            record = record | {"above": record["with a set"] - record["with a set, random genes"]}
        for name, value in record.items():
            if isinstance(value, float):
                figures.setdefault(name, []).append(value)
    return found


def markdown(records: Sequence[Record], about: dict[str, Any]) -> str:
    """Return the page."""
    by, sites = grouped(records), list(dict.fromkeys(r["site"] for r in records))
    seconds = sum(r["seconds"] for r in records if r["section"] == "cost")
    parts = [_HEAD.format(cores=about["cores"], cpu=about["cpu"], minutes=seconds / 60)]
    if READING.is_file():
        parts.append(READING.read_text(encoding="utf-8").rstrip() + "\n\n")
    parts.append("## The table\n" + _TABLE.format(seeds=len({r["split"] for r in records})))
    parts += [f"\n### {FULL[site]}\n\n{_table(by, site)}\n" for site in sites]
    parts.append("\n## Kept for downstream: probes on the best k latents\n" + _PROBES)
    parts += [
        f"\n### {FULL[site]}: {label}\n\n{_probes(by, site, label)}\n"
        for site in sites
        for label in dict.fromkeys(key[2] for key in by if key[:2] == (site, "probes"))
    ]
    parts.append("\n## Kept for downstream: the model's own loss\n" + _LOSS)
    parts += [f"\n### {FULL[site]}\n\n{_loss(by, site)}\n" for site in sites]
    return "".join(parts)


def _table(by: dict[Key, Figures], site: str) -> str:
    rows = []
    for key, figures in by.items():
        if key[:2] == (site, "table"):
            cells = [_share(figures[f]) if f in _SHARES else _number(figures[f]) for f in TITLES]
            rows.append([f"{_BASES[key[3]]}", _number(figures["latents"]), *cells])
    return table(["basis", "latents", *TITLES.values()], rows)


def _probes(by: dict[Key, Figures], site: str, label: str) -> str:
    rows, null = [], dict.fromkeys(_KS, 0.0)
    for basis in dict.fromkeys(key[3] for key in by if key[:3] == (site, "probes", label)):
        cells = []
        for k in _KS:
            figures = by.get((site, "probes", label, basis, k))
            cells.append("" if figures is None else _number(figures["accuracy"]))
            if figures is not None:
                null[k] = max(null[k], float(np.mean(figures["shuffled"])))
        rows.append([_BASES[basis], *cells])
    rows.append(["*shuffled labels*", *(f"{null[k]:.2f}" for k in _KS)])
    return table(["read from", *(f"k = {k}" if k != "all" else k for k in _KS)], rows)


def _loss(by: dict[Key, Figures], site: str) -> str:
    return table(["z replaced by", "active", "loss kept", "variance explained"], list(_losses(by, site)))


def _losses(by: dict[Key, Figures], site: str) -> Iterator[list[str]]:
    for key, figures in by.items():
        if key[:2] == (site, "loss"):
            name, _, of = key[3].partition(", for ")
            shown = f"— {name}" if of else f"**{name}**"
            yield [shown, *(_number(figures[f]) for f in ("active", "loss kept", "variance explained"))]


def _number(values: Sequence[float]) -> str:
    finite = np.array([v for v in values if np.isfinite(v)])
    if not len(finite):
        return ""
    digits = 1 if abs(finite.mean()) >= 3 else 2
    spread = f" ± {finite.std(ddof=1):.{digits}f}" if len(finite) > 1 else ""
    return f"{finite.mean():.{digits}f}{spread}"


def _share(values: Sequence[float]) -> str:
    finite = 100 * np.array([v for v in values if np.isfinite(v)])
    if not len(finite):
        return ""
    return f"{finite.mean():.0f}%" + (f" ± {finite.std(ddof=1):.0f}" if len(finite) > 1 else "")
