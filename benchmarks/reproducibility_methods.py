"""What `reproducibility` fits to a part of the cells, and reads in all of them: concepts, and every rival."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import cnmf
import numpy as np
import scipy.sparse as sp
import torch
from reproducibility_sites import Site

from cellglass.dictionaries import default_config, fit
from cellglass.dictionaries.base import Dictionary
from cellglass.dictionaries.kinds.consensus import Consensus
from cellglass.evaluation.reproducibility import turned
from cellglass.seeds import derive, generator

Array = np.ndarray[Any, Any]

CONCEPTS, ALL = "consensus: concepts", "consensus: concepts and residual latents"
TURNED = "consensus, turned at random (control)"
CLUSTERS = "clusters, k by stability"
ICA, PCA, NEURONS = "ICA, split by sign", "PCA, split by sign", "neurons, split by sign"
MATRYOSHKA, TOPK = "matryoshka, the former default", "TopK"
RANDOM = "random directions, TopK"
CNMF = "consensus NMF of the counts"


class Fitted(NamedTuple):
    """What one method makes of a site.

    Attributes
    ----------
    activations : numpy.ndarray of float32, shape (n_rows, n_latents)
        In all rows, of the latents that the method reports.
    among : numpy.ndarray of float32, shape (n_rows, n_all)
        Of all its latents.
    reproducibility : numpy.ndarray, shape (n_all,), or None
        Of all latents, as the method states it.
    """

    activations: Array
    among: Array
    reproducibility: Array | None = None


Method = Callable[[Site, Array, int], dict[str, Fitted]]
"""Fits to rows of a site with a seed; one or more variants by name."""


def consensus(site: Site, part: Array, seed: int) -> dict[str, Fitted]:
    """Return the concepts, all latents, and the concepts turned at random."""
    made = _made("consensus", site, part, seed)
    assert isinstance(made, Consensus)  # noqa: S101  it is that kind
    a, n = codes_of(made, site), made.config.n_concepts
    return {
        CONCEPTS: Fitted(a[:, :n], a, made.reproducibility.numpy()),
        ALL: _only(a),
        TURNED: _only(_turned(site, made.encoder.detach().double().numpy()[:n], a[:, :n], seed)),
    }


def concepts_alone(site: Site, part: Array, seed: int) -> dict[str, Fitted]:
    """Return the concepts, fitted without residual latents, which takes less time; tokens of a cell stay together."""
    config = replace(default_config(site.rows.width, len(part)), with_residual=False)
    groups = site.cell if len(site.z) > len(site.obs) else None
    made = fit("consensus", site.rows, config=config, rows_train=part, rows_valid=part[::10], seed=seed, groups=groups)
    assert isinstance(made, Consensus)  # noqa: S101  it is that kind
    a, n = codes_of(made, site), made.config.n_concepts
    return {CONCEPTS: Fitted(a[:, :n], a, made.reproducibility.numpy())}


def clusters(site: Site, part: Array, seed: int) -> dict[str, Fitted]:
    """Return k-means clusters, their number by stability."""
    return {CLUSTERS: _only(codes_of(_made("clusters", site, part, seed), site))}


def clusters_of(*numbers: int) -> Method:
    """Return a method that gives clusters of each of the numbers that the part is large enough for."""

    def method(site: Site, part: Array, seed: int) -> dict[str, Fitted]:
        return {
            f"clusters, {k}": _only(codes_of(_made("clusters", site, part, seed, n_components=k), site))
            for k in numbers
            if k * 5 <= len(part)
        }

    return method


def many_clusters(site: Site, part: Array, seed: int) -> dict[str, Fitted]:
    """Return clusters of four numbers side by side, without any selection."""
    found = clusters_of(8, 12, 16, 24)(site, part, seed)
    return {
        "clusters, 8 to 24 side by side": _only(np.concatenate([one.activations for one in found.values()], axis=1))
    }


def louvain(*resolutions: float) -> Method:
    """Return a method that gives communities of the graph of the 15 nearest cells, at each resolution.

    Other cells go where most of their 15 nearest are.
    """

    def method(site: Site, part: Array, seed: int) -> dict[str, Fitted]:
        import networkx

        nearest = _nearest(site, part)
        graph, made = networkx.from_scipy_sparse_array(nearest.kneighbors_graph()), {}
        for resolution in resolutions:
            found = networkx.community.louvain_communities(graph, resolution=resolution, seed=seed % 2**32)
            member = np.zeros(len(part), dtype=np.int64)
            for i, cells in enumerate(found):
                member[list(cells)] = i
            made[f"Louvain communities, resolution {resolution:g}"] = _communities(site, nearest, member)
        return made

    return method


def leiden(*resolutions: float) -> Method:
    """Return the same of the same graph by Leiden, in the interpreter of `environments` that has igraph."""

    def method(site: Site, part: Array, seed: int) -> dict[str, Fitted]:
        import environments

        nearest = _nearest(site, part)
        graph = nearest.kneighbors_graph()
        edges = np.column_stack(sp.triu(graph.maximum(graph.T), k=1).nonzero())
        with TemporaryDirectory() as folder:
            given, answer = Path(folder) / "graph.npz", Path(folder) / "answer.npz"
            np.savez(given, edges=edges, size=len(part))
            script = Path(__file__).with_name("leiden_peer.py")
            command = [environments.ensure("leiden"), script, given, answer, seed % 2**32, *resolutions]
            subprocess.run([str(part) for part in command], check=True)
            with np.load(answer, allow_pickle=False) as found:
                return {
                    f"Leiden communities, resolution {resolution:g}": _communities(site, nearest, found[str(place)])
                    for place, resolution in enumerate(resolutions)
                }

    return method


def _nearest(site: Site, part: Array) -> Any:
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=15).fit(site.z[part])


def _communities(site: Site, nearest: Any, member: Array) -> Fitted:
    """Return communities of all cells: each goes where most of its 15 nearest of the part are, `member` (n_part,)."""
    every = np.eye(member.max() + 1, dtype=np.float32)
    near = nearest.kneighbors(site.z, return_distance=False)
    return _only(every[every[member][near].sum(axis=1).argmax(axis=1)])


def ica(site: Site, part: Array, seed: int) -> dict[str, Fitted]:
    """Return independent components as they are, and by how much they pass one standard deviation."""
    a = codes_of(_made("ica", site, part, seed), site)
    return {ICA: _only(a), f"{ICA}, above 1 sd": _only(np.clip(a - 1, 0, None))}


def nmf(site: Site, part: Array, seed: int) -> dict[str, Fitted]:
    """Return NMF of what each dimension is above, and below, its mean."""
    from sklearn.decomposition import NMF

    centred = site.z - site.z[part].mean(axis=0)
    x = np.clip(np.concatenate([centred, -centred], axis=1), 0, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = NMF(site.z.shape[1], init="nndsvda", max_iter=400, random_state=seed % 2**32).fit(x[part])
        return {"NMF, both signs apart": _only(model.transform(x).astype(np.float32))}


def random(site: Site, part: Array, seed: int) -> dict[str, Fitted]:
    """Return random directions of which, as of a TopK dictionary, the k with the highest response are active."""
    config = default_config(site.rows.width, len(part), kind="topk")
    directions = generator(seed, "random directions").standard_normal((config.n_latents, site.z.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    p = (site.z - site.z[part].mean(axis=0)) @ directions.T
    bar = np.partition(p, -config.k, axis=1)[:, [-config.k]]
    return {RANDOM: _only(np.where((p >= bar) & (p > 0), p, 0).astype(np.float32))}


def counts_programs(site: Site, part: Array, seed: int) -> dict[str, Fitted]:
    """Return programs of consensus NMF, their number by stability, and 16."""
    found = cnmf.programs(site.counts[site.cell[part]], seed)
    usage = {k: found[k].usages(site.counts) for k in {cnmf.stable(found), 16}}
    return {f"{CNMF}, k by stability": _only(usage[cnmf.stable(found)]), f"{CNMF}, 16": _only(usage[16])}


def plain(kind: str, name: str) -> Method:
    """Return a method that fits one dictionary of a kind as it comes."""
    return lambda site, part, seed: {name: _only(codes_of(_made(kind, site, part, seed), site))}


METHODS: dict[str, Method] = {
    "consensus": consensus,
    "clusters": clusters,
    "clusters of k": clusters_of(8, 12, 16, 24),
    "many clusters": many_clusters,
    "communities": louvain(1, 3),
    "leiden": leiden(1, 3),
    "ica": ica,
    "pca": plain("pca", PCA),
    "neurons": plain("neurons", NEURONS),
    "nmf": nmf,
    "matryoshka": plain("matryoshka", MATRYOSHKA),
    "topk": plain("topk", TOPK),
    "random": random,
    "cnmf": counts_programs,
}


def _made(kind: str, site: Site, part: Array, seed: int, **more: Any) -> Dictionary:
    """Fit to the rows `part`; a tenth of them says how a training goes, so that what is unseen stays so."""
    if kind in ("matryoshka", "topk"):
        more["config"] = default_config(site.rows.width, len(part), kind=kind)
    return fit(kind, site.rows, rows_train=part, rows_valid=part[::10], seed=seed, **more)


@torch.no_grad()
def codes_of(dictionary: Dictionary, site: Site) -> Array:
    """Return the activations of all latents in all rows, float32 (n_rows, n_latents)."""
    return dictionary.encode(torch.from_numpy(site.z).float()).to_csr().toarray().astype(np.float32)


def _only(activations: Array) -> Fitted:
    return Fitted(activations, activations)


def _turned(site: Site, encoder: Array, activations: Array, seed: int) -> Array:
    """Return the activations of readouts that are turned at random in the whitened site, on as often as before."""
    centred = site.z - site.z.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    scale = np.sqrt(np.maximum(values, 1e-12))
    q, r = np.linalg.qr(generator(derive(seed, "turned")).standard_normal((len(values), len(values))))
    density = (activations > 0).mean(axis=0)
    found: sp.csc_matrix = turned(centred @ axes / scale, density, q * np.sign(np.diag(r)), (encoder @ axes) * scale)
    return found.toarray().astype(np.float32)
