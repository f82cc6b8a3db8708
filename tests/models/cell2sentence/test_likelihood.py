"""Probabilities of texts: against transformers' own forward pass over each whole text alone."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM

from cellglass.models.cell2sentence.likelihood import head, log_probabilities, tries

TOKENS = 23


def neox() -> Any:
    config = GPTNeoXConfig(
        vocab_size=TOKENS, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    return GPTNeoXForCausalLM._from_config(config, attn_implementation="sdpa")


def gemma() -> Any:
    """With a window shorter than the prompts, and caps that bend what they cap."""
    config = Gemma2Config(
        vocab_size=TOKENS, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=6, query_pre_attn_scalar=6, sliding_window=5, attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    )  # fmt: skip
    return Gemma2ForCausalLM._from_config(config, attn_implementation="eager")


@pytest.fixture(params=[neox, gemma], ids=["gpt_neox", "gemma2"])
def net(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(1)
    made = request.param().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return made


@torch.no_grad()
def slow(net: Any, prompt: list[int], texts: list[tuple[int, ...]]) -> list[float]:
    """P(text) less the probability of going on to be another text, one forward pass over each whole text."""
    found = []
    for text in texts:
        logs = net(input_ids=torch.tensor([[*prompt, *text]])).logits[0].double().log_softmax(-1)
        total = sum(float(logs[len(prompt) - 1 + k, token]) for k, token in enumerate(text))
        others = {other[len(text)] for other in texts if len(other) > len(text) and other[: len(text)] == text}
        stays = 1 - sum(math.exp(float(logs[-1, token])) for token in others)
        found.append(math.exp(total) * stays)
    return found


TEXTS = [(3,), (3, 4), (3, 4, 5), (3, 4, 6), (3, 7), (8, 8, 8, 8), (9,), (2, 3), (2, 3, 1, 1), (10, 3), (8,), (21, 22)]


@pytest.mark.parametrize("length", [1, 4, 9])
@pytest.mark.parametrize("most", [1, 3, 1024])
def test_probabilities_are_those_of_whole_texts_run_alone(net, length, most):
    prompt = [int(token) for token in np.random.default_rng(length).integers(0, TOKENS, length)]
    forest = tries(TEXTS, most)
    assert (len(forest) > 1) == (most < 1024)
    found = log_probabilities(net, np.array(prompt), forest, len(TEXTS)).exp()
    assert torch.allclose(found, torch.tensor(slow(net, prompt, TEXTS), dtype=torch.float64), rtol=1e-5, atol=1e-12)
    assert 0 < float(found.sum()) <= 1


def test_all_texts_of_two_tokens_add_up_to_one(net):
    texts = list(itertools.product(range(TOKENS), repeat=2))
    forest = tries(texts, 10)
    found = log_probabilities(net, np.array([1, 2, 3]), forest, len(texts)).exp()
    assert float(found.sum()) == pytest.approx(1, abs=1e-6)
    short = [*texts, *((token,) for token in range(TOKENS))]  # each of which goes on for certain
    found = log_probabilities(net, np.array([1, 2, 3]), tries(short), len(short)).exp()
    assert float(found[len(texts) :].abs().max()) < 1e-6
    assert float(found.sum()) == pytest.approx(1, abs=1e-6)


def test_inner_nodes_are_shared():
    (trie,) = tries(TEXTS)
    inner = {text[:k] for text in TEXTS for k in range(len(text))}
    inner |= {text for text in TEXTS if any(other[: len(text)] == text and other != text for other in TEXTS)}
    assert len(trie.token) == len(inner)  # the empty beginning is the end of the prompt
    assert trie.depth.tolist() == [0] + [int(row[1:].sum()) for row in trie.above[1:]]
    assert (np.bincount(trie.text) == [len(text) for text in TEXTS]).all()


def test_the_head_is_the_networks_own(net):
    ids = torch.tensor([[1, 5, 2, 7]])
    with torch.no_grad():
        hidden = net.base_model(input_ids=ids).last_hidden_state
        assert torch.allclose(head(net, hidden), net(input_ids=ids).logits, atol=1e-6)
