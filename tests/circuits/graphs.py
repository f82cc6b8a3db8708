"""Graphs to try things on: built from a drawn network, and a small one written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from cellglass.circuits.build import Answers, build_graph
from cellglass.circuits.features import Replacement, replace_mlps
from cellglass.circuits.freezing import freeze
from cellglass.circuits.graph import Graph
from cellglass.circuits.head_parts import looks_of, split_edges
from cellglass.circuits.linear_map import Frozen
from cellglass.circuits.propagation import Targets
from circuits.networks import WIDTH, drawn, ran, transcoders


def asked(
    name: str = "gpt_neox", tokens: int = 6, answers: int = 1, seed: int = 1, *, scores: bool = False
) -> tuple[Frozen, Replacement, Answers]:
    """Return a drawn network on a few tokens and drawn answers at its last one."""
    net = drawn(name)
    made = freeze(net, ran(net, seed, tokens), scores=scores)
    replacement = replace_mlps(made, transcoders(made))
    torch.manual_seed(seed)
    gradient = torch.zeros(tokens, answers, WIDTH, dtype=torch.float64)
    gradient[-1] = torch.randn(answers, WIDTH, dtype=torch.float64)
    targets = Targets(len(made.steps), gradient, torch.randn(answers, dtype=torch.float64))
    labels = ["B cell against T cell", "NK cell", "monocyte"][:answers]
    shares = np.array([0.7, 0.2, 0.1])[:answers]
    return made, replacement, Answers(targets, labels, targets.values(made.final).numpy(), shares / shares.sum())


def built(name: str = "gpt_neox", tokens: int = 6, answers: int = 1, most: int = 10_000, seed: int = 1) -> Graph:
    """Return the graph of such a network; tokens are two prompt tokens, and genes of one or two tokens."""
    texts = ["List", " of", " CD", "79A", " MS4A1", " NKG7", ' <b> & "c"', " CD3D", " LYZ", " :"]
    genes = ["", "", "CD79A", "CD79A", "MS4A1", "NKG7", '<b> & "c"', "CD3D", "LYZ", ""]
    about = {"model": "cell2sentence", "cell": "cell <1> & co", "target": "label:B cell", "most": most}
    return build_graph(*asked(name, tokens, answers, seed), texts[:tokens], genes[:tokens], most=most, about=about)


def with_heads(name: str = "gpt_neox", tokens: int = 6, answers: int = 1) -> Graph:
    """Return such a graph whose edges are split by head, and in which it is told why heads look where they look."""
    given = asked(name, tokens, answers, scores=True)
    parts = given[0], given[1], given[2].targets
    graph = built(name, tokens, answers)
    split = split_edges(*parts, graph)
    return replace(graph, heads=replace(split, looks=looks_of(*parts, split)))


def by_hand() -> Graph:
    """Two tokens, three features in two layers, an error, a bias, what was left out, an answer.

    0 L0/7 at 0   1 L0/8 at 1   2 L1/9 at 1   3 error 0 at 1   4, 5 tokens   6 bias   7 left out   8 answer
    """
    nodes = pd.DataFrame(
        {
            "kind": ["feature"] * 3 + ["error", "token", "token", "bias", "rest", "answer"],
            "layer": [0, 0, 1, 0, -1, -1, -1, -1, 2],
            "position": [0, 1, 1, 1, 0, 1, -1, -1, 1],
            "feature": [7, 8, 9, -1, -1, -1, -1, -1, -1],
            "value": [2.0, 4.0, 5.0, np.nan, np.nan, np.nan, np.nan, np.nan, 10.0],
            "label": ["", "", "", "", "CD79A", " :", "layers.0.mlp", "features left out", "B cell"],
        }
    )
    weights = np.zeros((9, 9))
    weights[0, [4, 6]] = 1.5, 0.5
    weights[1, [4, 5, 6, 7]] = 3.0, 0.5, 0.4, 0.1
    weights[2, [0, 1, 3, 5]] = 4.0, -1.0, 0.5, 1.5
    weights[8, [0, 2, 3, 4, 5, 6, 7]] = 2.0, 6.0, 0.2, 1.0, 0.3, 0.4, 0.1
    return Graph(nodes, sp.csr_matrix(weights), np.ones(1), ["CD79A", " :"], ["CD79A", ""], {"target": "label:B cell"})
