"""A graph of effects: plain data, with what tells nodes apart and the weights between them.

Nodes are features, errors, tokens, biases, what was left out, and answers. A weight is the direct effect of a source on
a target: of a feature on the pre-activation of another, or on an answer. Targets are features and answers; what is
left out (active features beyond the budget) and biases stand beside the others so that each row adds up to its target
exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.circuits.head_nodes import HeadNodes
from cellglass.circuits.influence import Scores, influence, normalised_sparse, scores

Array = np.ndarray[Any, Any]

NodeKind = Literal["feature", "error", "token", "bias", "rest", "answer"]
KINDS: tuple[NodeKind, ...] = ("feature", "error", "token", "bias", "rest", "answer")


@dataclass(frozen=True)
class Graph:
    """Effects on some answers of a model on one cell.

    Attributes
    ----------
    nodes : pandas.DataFrame
        One row a node, its number in the index:

        ``kind``
            One of ``KINDS``.
        ``layer``
            Of features and errors; -1 of tokens, biases and what was left out; the number of layers of answers.
        ``position``
            Token; -1 of biases and what was left out.
        ``feature``
            Of features, its number in the layer's transcoder; else -1.
        ``value``
            Activation of a feature, value of an answer; NaN of others.
        ``label``
            What a person reads: a token's text, a bias's place, an answer's words; of a feature what a machine calls
            it by what it fires on, or nothing.
    weights : scipy.sparse.csr_matrix, (n_nodes, n_nodes)
        Direct effects, ``weights[target, source]``.
    answer_weights : numpy.ndarray, (n_answers,)
        How much each answer counts; they add up to 1.
    tokens : sequence of str
        The text of each token.
    genes : sequence of str
        The gene that each token is of, or "".
    about : dict
        What was asked of what: model, cell, transcoders, target, settings. Plain values.
    heads : HeadNodes or None
        Attention heads, beside the nodes: what their effects are, and which of them edges pass.
    """

    nodes: pd.DataFrame
    weights: sp.csr_matrix
    answer_weights: Array
    tokens: list[str]
    genes: list[str]
    about: dict[str, Any] = field(default_factory=dict)
    heads: HeadNodes | None = None

    def of_kind(self, *kinds: NodeKind) -> Array:
        """Return the numbers of the nodes of some kinds, ascending."""
        return np.flatnonzero(self.nodes["kind"].isin(kinds).to_numpy())

    @property
    def is_merged(self) -> bool:
        """Whether it is of a class of cells: each feature at all tokens, where `position` is that of most activity."""
        return bool(self.about.get("merged"))

    @property
    def targets(self) -> Array:
        """The nodes that have a row, ascending."""
        return self.of_kind("feature", "answer")

    def influence(self) -> Array:
        """Return the influence of every node on the answers over all paths; 0 of biases and what was left out."""
        rows, target, answers = self._normalised()
        return influence(rows, target, answers)

    def edge_influence(self) -> sp.csr_matrix:
        """Return how much each edge matters to the answers, N[i, j] (B_i + w_i), (n_nodes, n_nodes), as pruning has it.

        Edges from biases and from what was left out have none.
        """
        rows, target, answers = self._normalised()
        passed = influence(rows, target, answers)[target] + answers
        spread = sp.csr_matrix((passed, (target, np.arange(len(target)))), shape=(len(self.nodes), len(target)))
        return (spread @ rows).tocsr()

    def scores(self) -> Scores:
        """Return replacement and completeness; see `cellglass.circuits.influence`."""
        kind = self.nodes["kind"].to_numpy()
        return scores(*self._normalised(), kind == "token", kind == "error")

    def bare(self) -> Graph:
        """Return the graph without any feature: what is left is direct. The floor that scores are held against."""
        kept = self.of_kind("error", "token", "bias", "rest", "answer")
        return self.take(kept)

    def take(self, kept: Array) -> Graph:
        """Return the graph of some nodes alone, in ascending order."""
        kept = np.sort(kept)
        place = np.full(len(self.nodes), -1)
        place[kept] = np.arange(len(kept))
        return replace(
            self,
            nodes=self.nodes.iloc[kept].reset_index(drop=True),
            weights=self.weights[kept][:, kept].tocsr(),
            answer_weights=self.answer_weights[np.isin(self.of_kind("answer"), kept)],
            heads=None if self.heads is None else self.heads.moved(place, len(kept)),
        )

    def gene_effects(self) -> pd.DataFrame:
        """Return what all tokens of a gene add to each answer directly, by gene; one column an answer."""
        tokens, answers = self.of_kind("token"), self.of_kind("answer")
        found = pd.DataFrame(
            self.weights[answers][:, tokens].toarray().T, columns=self.nodes["label"].iloc[answers].tolist()
        )
        position = self.nodes["position"].to_numpy()[tokens]
        gene = np.asarray(self.genes, dtype=object)[position]
        return pd.DataFrame(found[gene != ""].groupby(gene[gene != ""]).sum())

    def check(self) -> None:
        """Assert that the parts go together; for those who build graphs."""
        n = len(self.nodes)
        assert self.weights.shape == (n, n)  # noqa: S101
        assert len(self.tokens) == len(self.genes)  # noqa: S101
        if self.heads is not None:
            self.heads.check(n, len(self.tokens))
        assert not np.diff(self.weights.indptr)[self.of_kind("error", "token", "bias", "rest")].any()  # noqa: S101

    def _normalised(self) -> tuple[sp.csr_matrix, Array, Array]:
        target = self.targets
        without = self.nodes["kind"].isin(["bias", "rest"]).to_numpy()
        answers = np.zeros(len(target))
        answers[np.isin(target, self.of_kind("answer"))] = self.answer_weights
        return normalised_sparse(self.weights[target], without), target, answers
