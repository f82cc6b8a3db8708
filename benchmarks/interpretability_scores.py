"""The figures of `interpretability`: genes, gene sets, labels and return of chosen latents; probes; loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from interpretability_bases import Readout, clusters, codes_of, concepts_only, linear, on_of
from interpretability_bases import random as random_directions
from reproducibility_scores import marks
from reproducibility_sites import Site

from cellglass.attribution import AttributionConfig, Work
from cellglass.attribution.run import attribute_concepts
from cellglass.cells.cells import Cells
from cellglass.dictionaries import fit
from cellglass.dictionaries.base import Codes
from cellglass.dictionaries.kinds.consensus import Consensus
from cellglass.enrichment import EnrichmentConfig, enrich
from cellglass.enrichment.choose import choose
from cellglass.enrichment.normal_scores import normal_scores
from cellglass.evaluation.counts import components
from cellglass.evaluation.labels import encode_labels
from cellglass.evaluation.loss_kept import loss_kept
from cellglass.evaluation.probe_curve import probe_curve
from cellglass.evaluation.reproducibility import comes_back
from cellglass.models.base import CellModel
from cellglass.vocabulary import SIGNIFICANT

Array = np.ndarray[Any, Any]
MOST_SCORED = 1500
"""Cells whose loss is measured."""


def of_latents(
    name: str, site: Site, sides: tuple[Readout, Readout], rest: Array, unseen: Array, split: int
) -> dict[str, float]:
    """Return how well latents mark labels in rows that their fit has not seen, and how many come back in the other."""
    a, b = (on_of(codes_of(side, site, unseen), name) for side in sides)
    back = comes_back(a, b)
    codes = codes_of(sides[0], site, rest)
    found = marks(codes.toarray(), site.obs[site.source.label].iloc[site.cell[rest]], split)
    density = np.diff(codes.indptr) / len(rest)
    return {
        "latents": float(sides[0].n_latents),
        "density": float(np.median(density)),
        "F1": found["F1"],
        "mark a label": found["good"] / sides[0].n_latents,
        "precision": found["precision"],
        "come back": back.share,
    }


def of_genes(site: Site, readout: Readout, model: CellModel, cells: Cells, rest: Array, seed: int) -> dict[str, float]:
    """Return in how many latents genes and gene sets are found, in rows that the fit has not seen."""
    codes, mine = codes_of(readout, site, rest), cells[rest]
    config = AttributionConfig(methods=("path",), on=("activation",))
    work = Work(model, mine, "z", readout, codes, site.z[rest].astype(np.float32), config, seed)
    found = attribute_concepts(work)
    n, genes = readout.n_latents, found.genes
    sure = genes[genes["q"] < SIGNIFICANT].groupby("concept").size().reindex(range(n), fill_value=0)
    tested = genes["q"].notna().groupby(genes["concept"]).sum().sum()
    scores = found.effects("path", "activation", mine.genes.index).reindex(range(n), fill_value=0.0)
    asked = EnrichmentConfig(tests=("gsea",))
    rates = enrich(
        pd.DataFrame(normal_scores(scores.to_numpy()), index=scores.index),
        list(mine.symbols),
        np.asarray(mine.counts.mean(axis=0)).ravel(),
        choose(asked, list(mine.symbols)).sources,
        asked,
        seed=seed,
    ).rates[0]
    return {
        "with a gene": float((sure > 0).mean()),
        "genes": float(sure.mean()),
        "genes, share": float(sure.sum() / max(tested, 1)),
        "with a set": rates["calibrated"],
        "with a set, random genes": rates["calibrated_null"],
        "with a set by q": rates["value"],
        "with a set by q, random genes": rates["null"],
    }


def features(site: Site, made: Consensus, counts: sp.csr_matrix, part: Array, rest: Array, seed: int) -> dict[str, Any]:
    """Return what labels are read from, (len(rest), features) each; all were fitted without the rows `rest`."""
    codes = codes_of(made, site, rest)
    density = np.diff(codes_of(made, site, part)[:, : made.n_findings].indptr) / len(part)
    pca = linear(fit("pca", site.rows, rows_train=part, rows_valid=part[::10], seed=seed))
    ica = linear(fit("ica", site.rows, rows_train=part, rows_valid=part[::10], seed=seed))
    d = site.z.shape[1]
    x = torch.from_numpy(site.z[rest]).float()
    grouped = codes_of(clusters(site, part, seed, density), site, rest)
    return {
        "concepts": codes[:, : made.n_findings],
        "concepts and residual latents": codes,
        "neurons": site.z[rest],
        "pca": pca.preactivations(x)[:, :d].numpy(),
        "ica": ica.preactivations(x)[:, :d].numpy(),
        "clusters": on_of(grouped, "clusters"),
        "random": codes_of(random_directions(site, part, seed, density), site, rest),
        "counts": components(counts[site.cell[rest]], seed=seed),
    }


def of_probes(features: Mapping[str, Any], column: pd.Series[Any], seed: int) -> Iterator[dict[str, Any]]:
    """Yield a record for each basis and number of latents."""
    labels = encode_labels(column)
    for name, values in features.items():
        for point in probe_curve(values, labels, seed, name=str(column.name)):
            k = "all" if point.k is None else str(point.k)
            yield {"basis": name, "k": k, "accuracy": point.accuracy, "shuffled": point.null}


def of_loss(
    site: Site, made: Consensus, model: CellModel, cells: Cells, part: Array, rest: Array, seed: int
) -> Iterator[dict[str, Any]]:
    """Yield what of scVI's loss, and of the variance, each reconstruction keeps, at equal numbers of active values."""
    rows = rest[:: -(-len(rest) // MOST_SCORED)]
    x, mean = torch.from_numpy(site.z[rows]).float(), torch.from_numpy(site.z[part].mean(axis=0)).float()
    codes = made.encode(x)
    whole, few = codes, concepts_only(made, codes)
    for name, some in (("concepts and residual latents", whole), ("concepts", few)):
        k = some.to_csr().nnz / len(x)
        yield _kept(name, made.decode(some), k, model, cells[rows], x, mean)
        n = min(max(1, round(k)), site.z.shape[1])
        for rival, x_hat in _rivals(site, part, x, n, seed):
            yield _kept(f"{rival}, for {name}", x_hat, float(n), model, cells[rows], x, mean)
    grouped = fit("clusters", site.rows, rows_train=part, rows_valid=part[::10], seed=seed)
    yield _kept("clusters, number by stability", grouped.decode(grouped.encode(x)), 1.0, model, cells[rows], x, mean)


def _rivals(site: Site, part: Array, x: torch.Tensor, n: int, seed: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield reconstructions with `n` values a row: leading components, the largest of a row, random directions."""
    for kind in ("pca", "random"):
        some = fit(kind, site.rows, n_components=n, rows_train=part, rows_valid=part[::10], seed=seed)
        yield kind, some.decode(some.encode(x))
    for kind in ("neurons", "pca"):
        every = fit(kind, site.rows, rows_train=part, rows_valid=part[::10], seed=seed)
        indices, values, width = every.encode(x)
        least = values.topk(n, dim=1)[0][:, -1:]
        yield f"{kind}, largest of a cell", every.decode(Codes(indices, values * (values >= least), width))


@torch.no_grad()
def _kept(
    name: str, x_hat: torch.Tensor, k: float, model: CellModel, cells: Cells, x: torch.Tensor, mean: torch.Tensor
) -> dict[str, Any]:
    found = loss_kept(model, "z", cells, x, x_hat, mean)
    explained = 1 - float((x - x_hat).square().sum() / (x - mean).square().sum())
    return {
        "basis": name, "active": k, "loss kept": found.share, "variance explained": explained, "whole": found.whole,
        "replaced": found.replaced, "floor": found.floor,
    }  # fmt: skip
