"""The bases that `interpretability` puts side by side: the same number of latents of each, by the same kind of choice.

Every basis is fitted to some rows of a site. A concept was chosen by how surely it comes back in halves of these rows;
so every rival is asked for as many latents, and they are chosen by the same question: the fit is repeated on four pairs
of halves of the rows, and the latents that have the best partners there (mean correlation over the eight) are taken,
none that correlates at 0.7 with one that is taken already unless too few are left; a consensus dictionary joins those
too. Axes are on in half of the cells, concepts in few; ``neurons, as sparse`` are the chosen axes with a bar that lets
each be on in as many cells as the median concept is. Random directions are drawn anew in each half, and are on in as
many cells as concepts are, so what their choice makes of chance is in them. Neurons are the same in every half: those
that vary most are taken.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from reproducibility_sites import Site

from cellglass.dictionaries import default_config, fit
from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.dictionaries.clusterings import centres
from cellglass.dictionaries.kinds.consensus import Consensus
from cellglass.evaluation.coactivation import correlations
from cellglass.evaluation.reproducibility import COMES_BACK, directions_read
from cellglass.seeds import derive, generator

Array = np.ndarray[Any, Any]

DENSE = ("neurons", "pca", "ica")
SPARSE = ", as sparse"
BASES = ("concepts", "clusters", *DENSE, *(f"{name}{SPARSE}" for name in DENSE), "random")
NUMBERS = (8, 12, 16, 24)
"""Clusters of the clusterings that stand side by side, as far as there are five rows for each."""
POOL, PAIRS = 128, 4
"""Random directions that latents are chosen from, and pairs of halves that say which."""


class Readout(Dictionary):
    """Linear latents with a bar each: f = p [p > bar], p = x W' + b.

    Parameters
    ----------
    weight, offset, bar : numpy.ndarray, shapes (m, d), (m,) and (m,)
    """

    kind = "readout"

    def __init__(self, weight: Array, offset: Array, bar: Array) -> None:
        self.weight, self.offset, self.bar = (
            torch.from_numpy(np.asarray(a, dtype=np.float32)) for a in (weight, offset, bar)
        )
        self.n_latents, self.d_in = self.weight.shape
        self.d_out = self.d_in

    def preactivations(self, x: torch.Tensor) -> torch.Tensor:
        """Return p."""
        return x @ self.weight.T + self.offset

    def encode(self, x: torch.Tensor) -> Codes:
        """Return f, of all latents."""
        p = self.preactivations(x)
        return Codes(torch.arange(self.n_latents).expand_as(p), torch.where(p > self.bar, p, 0.0), self.n_latents)

    def decode(self, codes: Codes) -> torch.Tensor:
        """Refuse: latents that were chosen are read, and not written."""
        raise NotImplementedError

    @property
    def directions(self) -> torch.Tensor:
        """What each latent reads."""
        return self.weight

    def save(self, folder: Path) -> None:
        """Refuse: it is made anew each time."""
        raise NotImplementedError(str(folder))

    def only(self, latents: Array) -> Readout:
        """Return some of the latents."""
        return Readout(*(a.numpy()[latents] for a in (self.weight, self.offset, self.bar)))


class Margins(Readout):
    """Clusters of several clusterings, each read by how much nearer a row is to its centre than to any other.

        p_j = min over i != j of (|x - c_i|² - |x - c_j|²) / 2,     above 0 in the cluster, and there alone

    Parameters
    ----------
    clusterings : list of numpy.ndarray, shapes (k, d)
        Centres.
    latents : numpy.ndarray, optional
        Which of all clusters are latents, in the order of the clusterings.
    """

    def __init__(self, clusterings: list[Array], latents: Array | None = None) -> None:
        every = np.concatenate(clusterings)
        self.clusterings = clusterings
        self.latents = np.arange(len(every)) if latents is None else latents
        some = every[self.latents]
        super().__init__(some, -np.square(some).sum(axis=1) / 2, np.zeros(len(some)))

    def preactivations(self, x: torch.Tensor) -> torch.Tensor:
        """Return p."""
        found = []
        for middles in self.clusterings:
            c = torch.from_numpy(middles.astype(np.float32))
            s = x @ c.T - c.square().sum(dim=1) / 2
            top, place = s.topk(2, dim=1)
            rival = torch.where(torch.arange(len(c)) == place[:, :1], top[:, 1:], top[:, :1])
            found.append(s - rival)
        return torch.cat(found, dim=1)[:, self.latents]

    def only(self, latents: Array) -> Margins:
        """Return some of the latents."""
        return Margins(self.clusterings, self.latents[latents])


Fit = Callable[[Site, Array, int, Array], Readout]
"""Fits to rows of a site with a seed; also given is in which share of the rows each concept is on."""


def consensus(site: Site, part: Array, seed: int) -> Consensus:
    """Return the default dictionary, residual latents too."""
    config = default_config(site.rows.width, len(part))
    made = fit("consensus", site.rows, config=config, rows_train=part, rows_valid=part[::10], seed=seed)
    assert isinstance(made, Consensus)  # noqa: S101  it is that kind
    return made


def linear(dictionary: Dictionary) -> Readout:
    """Return what a dictionary with linear latents reads."""
    with torch.no_grad():
        offset = dictionary.preactivations(torch.zeros(1, dictionary.d_in))[0].numpy()
    own = dictionary.own_thresholds
    bar = np.zeros(len(offset)) if own is None else own.numpy()
    return Readout(directions_read(dictionary), offset, bar)


def axes(kind: str) -> Fit:
    """Return a fit of axes split by sign."""

    def made(site: Site, part: Array, seed: int, _density: Array) -> Readout:
        return linear(fit(kind, site.rows, rows_train=part, rows_valid=part[::10], seed=seed))

    return made


def clusters(site: Site, part: Array, seed: int, _density: Array) -> Readout:
    """Return the clusters of several clusterings side by side."""
    numbers = [k for k in NUMBERS if 5 * k <= len(part)]
    return Margins([centres(site.z[part], k, derive(seed, "clusters", k), starts=3) for k in numbers])


def random(site: Site, part: Array, seed: int, density: Array) -> Readout:
    """Return random directions, each on in as many rows as a concept drawn at random."""
    rng = generator(seed, "random directions")
    weight = rng.standard_normal((POOL, site.z.shape[1]))
    p = site.z[part] @ weight.T
    bar = np.array([np.quantile(p[:, j], 1 - d) for j, d in enumerate(rng.choice(density, POOL))])
    off = p <= bar
    offset = -(p * off).sum(axis=0) / off.sum(axis=0)  # 0 is the mean of the rows in which it is off
    return Readout(weight, offset, bar + offset)


FITS: dict[str, Fit] = {"clusters": clusters, **{kind: axes(kind) for kind in DENSE}, "random": random}


def chosen(name: str, site: Site, part: Array, seed: int, density: Array, n: int) -> Readout:
    """Return the `n` latents of a rival that come back best in halves of the rows `part`; see the module."""
    whole = FITS[name](site, part, seed, density)
    codes = codes_of(whole, site, part)
    if name == "neurons":
        return whole.only(np.sort(np.argsort(-codes.toarray().var(axis=0), kind="stable")[:n]))
    partner = np.zeros(whole.n_latents)
    for pair in range(PAIRS):
        order = generator(seed, "halves", pair).permutation(part)
        for side, half in enumerate((order[: len(part) // 2], order[len(part) // 2 :])):
            other = FITS[name](site, np.sort(half), derive(seed, "half", pair, side), density)
            partner += correlations(on_of(codes, name), on_of(codes_of(other, site, part), name)).max(axis=1)
    return whole.only(distinct(np.argsort(-partner, kind="stable"), on_of(codes, name), n))


def distinct(order: Array, codes: sp.csc_matrix, n: int) -> Array:
    """Return the first `n` latents of an order, ascending, of which no two are alike; such only for want of others."""
    alike = correlations(codes, codes) >= COMES_BACK
    kept: list[int] = []
    for latent in order:
        if len(kept) < n and not alike[latent, kept].any():
            kept.append(int(latent))
    more = [int(latent) for latent in order if latent not in kept][: n - len(kept)]
    return np.sort(np.array([*kept, *more], dtype=np.int64))


def as_sparse(readout: Readout, x: Array, density: float) -> Readout:
    """Return the same directions with a bar each, so that each is on in a share of the rows `x`."""
    with torch.no_grad():
        p = readout.preactivations(torch.from_numpy(x.astype(np.float32))).numpy()
    return Readout(readout.weight.numpy(), readout.offset.numpy(), np.maximum(np.quantile(p, 1 - density, axis=0), 0))


def on_of(codes: sp.csc_matrix, name: str) -> sp.csc_matrix:
    """Return what latents are matched by: of clusters whether a row belongs to them, of others their activation."""
    if name != "clusters":
        return codes
    return sp.csc_matrix((np.ones_like(codes.data), codes.indices, codes.indptr), shape=codes.shape)


@torch.no_grad()
def codes_of(dictionary: Dictionary, site: Site, rows: Array) -> sp.csc_matrix:
    """Return the activations in some rows, CSC (len(rows), n_latents)."""
    return dictionary.encode(torch.from_numpy(site.z[rows]).float()).to_csr().tocsc().astype(np.float32)


def concepts_only(made: Consensus, codes: Codes) -> Codes:
    """Return the codes without residual latents."""
    return codes._replace(values=torch.where(codes.indices < made.n_findings, codes.values, 0.0))
