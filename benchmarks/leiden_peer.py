"""Leiden communities of a graph (Traag et al. 2019) by igraph, with modularity, as scanpy asks it.

Started as ``python leiden_peer.py GRAPH.npz ANSWER.npz SEED RESOLUTION ...`` by the interpreter that has igraph. The
graph holds ``edges`` (n, 2), ``weights`` (n,) and ``size``, the number of nodes; the answer has for each resolution,
by its position, the community of each node. Imports no cellglass.
"""

from __future__ import annotations

import random
import sys

import igraph
import numpy as np


def main() -> None:
    """Answer one graph."""
    graph_file, answer, seed, *resolutions = sys.argv[1:]
    with np.load(graph_file, allow_pickle=False) as given:
        graph = igraph.Graph(n=int(given["size"]), edges=given["edges"].tolist())
    found = {}
    for place, resolution in enumerate(resolutions):
        igraph.set_random_number_generator(random.Random(int(seed)))  # noqa: S311 (no secret)
        parts = graph.community_leiden("modularity", resolution=float(resolution), n_iterations=2)
        found[str(place)] = np.asarray(parts.membership, dtype=np.int64)
    np.savez(answer, **found)


if __name__ == "__main__":
    main()
