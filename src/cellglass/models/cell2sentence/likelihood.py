"""Exact probabilities of many texts behind one prompt, in few passes of a causal language model.

The probability that text s follows prompt p is prod_k P(s_k | p, s_1 .. s_k-1) over the tokens of s. Texts that begin
alike share those factors: all texts are a trie, whose inner nodes are run side by side behind the prompt in one pass.
A node's position is its depth, and it attends to the prompt, the nodes above it and itself, so that it computes what it
would compute in its text alone. Cost of a prompt: its tokens and one token for each inner node; more than `NODES` nodes
are run in several passes, each with the prompt again.

A text whose tokens begin those of others (CD3 and CD3D, where CD3 is one token) would count what the others write too.
So the probability that such a text goes on to become another of the texts is taken off, and all add up to at most 1.

Knows neither genes nor cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cellglass.models.transformer.tokens import Ints

NODES = 1024
"""Most inner nodes of one pass."""

_LOGITS_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Trie:
    """Some texts as one tree of tokens. Node 0 is the end of the prompt.

    Attributes
    ----------
    token, depth : numpy.ndarray of int64, (nodes,)
        Of each inner node, those above before those below.
    above : numpy.ndarray of bool, (nodes, nodes)
        Row i says which nodes lie between the prompt and node i, itself among them.
    text, node, next : numpy.ndarray of int64
        The factors: text ``text[k]`` needs the probability of token ``next[k]`` behind node ``node[k]``.
    more_text, more_node, more_next : numpy.ndarray of int64
        Where another text begins with text ``more_text[k]``: it goes on with ``more_next[k]`` behind ``more_node[k]``.
    """

    token: Ints
    depth: Ints
    above: np.ndarray[Any, np.dtype[np.bool_]]
    text: Ints
    node: Ints
    next: Ints
    more_text: Ints
    more_node: Ints
    more_next: Ints


def tries(texts: Sequence[Sequence[int]], most: int = NODES) -> list[Trie]:
    """Return different `texts` as tries of at most `most` inner nodes each (or one longer text); like ones together."""
    following: dict[tuple[int, ...], set[int]] = {}
    for text in texts:
        for k in range(len(text)):
            following.setdefault(tuple(text[:k]), set()).add(text[k])
    pieces: list[tuple[list[int], dict[tuple[int, ...], int]]] = []
    for i in sorted(range(len(texts)), key=lambda i: tuple(texts[i])):
        text = tuple(texts[i])
        inner = [text[:k] for k in range(len(text) + 1) if k < len(text) or text in following]
        if not pieces or len(pieces[-1][1]) + sum(node not in pieces[-1][1] for node in inner) > most + 1:
            pieces.append(([], {}))
        members, nodes = pieces[-1]
        members.append(i)
        for node in inner:
            nodes.setdefault(node, len(nodes))
    return [_trie(members, nodes, texts, following) for members, nodes in pieces]


def _trie(
    members: Sequence[int],
    nodes: dict[tuple[int, ...], int],
    texts: Sequence[Sequence[int]],
    following: dict[tuple[int, ...], set[int]],
) -> Trie:
    above = np.eye(len(nodes), dtype=np.bool_)
    for node, place in nodes.items():
        if node:
            above[place] |= above[nodes[node[:-1]]]
    factors = [(i, nodes[tuple(texts[i][:k])], texts[i][k]) for i in members for k in range(len(texts[i]))]
    more = [(i, nodes[tuple(texts[i])], token) for i in members for token in sorted(following.get(tuple(texts[i]), ()))]
    return Trie(
        np.array([node[-1] if node else -1 for node in nodes], dtype=np.int64),
        np.array([len(node) for node in nodes], dtype=np.int64),
        above,
        *np.array(factors, dtype=np.int64).reshape(-1, 3).T,
        *np.array(more, dtype=np.int64).reshape(-1, 3).T,
    )


@torch.no_grad()
def log_probabilities(net: Any, prompt: Ints, forest: Sequence[Trie], texts: int) -> torch.Tensor:
    """Return the log-probability of each of `texts` texts behind the tokens `prompt`, float64 (texts,).

    Parameters
    ----------
    net
        transformers' GPT-NeoX or Gemma 2 with its head.
    prompt : numpy.ndarray of int64, (tokens,)
        At least one token.
    forest : sequence of Trie
        Of all texts.
    texts : int
    """
    found = torch.zeros(texts, dtype=torch.float64)
    for trie in forest:
        given = _log_next(net, prompt, trie)
        log_next = given[: len(trie.text)]
        found.index_add_(0, torch.from_numpy(trie.text), log_next)
        lost = torch.zeros(texts, dtype=torch.float64)
        lost.index_add_(0, torch.from_numpy(trie.more_text), given[len(trie.text) :].exp())
        found += torch.log1p(-lost.clamp(max=1))
    return found


def _log_next(net: Any, prompt: Ints, trie: Trie) -> torch.Tensor:
    """Return the log-probability of each factor of `trie`, and of each way in which a text goes on, float64."""
    device = next(net.parameters()).device
    ids = torch.from_numpy(np.concatenate([prompt, trie.token[1:]]))[None].to(device)
    position = np.concatenate([np.arange(len(prompt)), len(prompt) - 1 + trie.depth[1:]])
    hidden = net.base_model(
        input_ids=ids,
        position_ids=torch.from_numpy(position)[None].to(device),
        attention_mask=_masks(net, len(prompt), position, trie.above),
        use_cache=False,
    ).last_hidden_state[0, len(prompt) - 1 :]
    node = torch.from_numpy(np.concatenate([trie.node, trie.more_node]))
    token = torch.from_numpy(np.concatenate([trie.next, trie.more_next]))
    found = torch.empty(len(node), dtype=torch.float64)
    size = max(1, _LOGITS_AT_ONCE // net.config.vocab_size)
    for first in range(0, len(hidden), size):
        logs = head(net, hidden[first : first + size]).double().log_softmax(-1).cpu()
        here = torch.nonzero((node >= first) & (node < first + size))[:, 0]
        found[here] = logs[node[here] - first, token[here]]
    return found


def head(net: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Return the logits (..., tokens) of hidden states behind the last norm, as the network's own forward pass does."""
    logits: torch.Tensor = net.get_output_embeddings()(hidden)
    cap = getattr(net.config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


def _masks(net: Any, prompt: int, position: Ints, above: np.ndarray[Any, np.dtype[np.bool_]]) -> Any:
    """Return what is added to attention scores: 0 where a token attends, else the least number.

    Gemma 2 takes one mask for each kind of layer; those with a window do not look further back than it.
    """
    seen = np.tri(len(position), dtype=np.bool_)
    seen[prompt:, prompt:] = above[1:, 1:]
    reference = next(net.parameters())

    def added(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> torch.Tensor:
        zeros = torch.zeros(mask.shape, dtype=reference.dtype)
        return zeros.masked_fill_(~torch.from_numpy(mask), torch.finfo(zeros.dtype).min)[None, None].to(
            reference.device
        )

    if net.config.model_type != "gemma2":
        return added(seen)
    near = position[:, None] - position[None, :] < net.config.sliding_window
    return {"full_attention": added(seen), "sliding_attention": added(seen & near)}
