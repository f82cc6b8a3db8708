"""Small networks of every architecture that circuits know, with drawn weights, and transcoders for them."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from cellglass.circuits.freezing import freeze
from cellglass.circuits.linear_map import Frozen
from cellglass.dictionaries import TopK, TopKConfig
from cellglass.models.scgpt.config import ScgptConfig
from cellglass.models.scgpt.net import ScgptNet

WIDTH, LAYERS, TOKENS, LATENTS, K = 32, 3, 13, 64, 5

_SHARED = {"vocab_size": 100, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
_GATED = {**_SHARED, "num_key_value_heads": 2, "intermediate_size": 64}


def _scgpt(**more: Any) -> nn.Module:
    return ScgptNet(ScgptConfig(n_tokens=100, width=WIDTH, hidden=64, n_layers=LAYERS, n_heads=4, pad_id=0, **more))


def _of(name: str, **config: Any) -> nn.Module:
    made = getattr(transformers, f"{name}Config")(**config)
    heads = {"Bert": "BertForMaskedLM", "GPT2": "GPT2LMHeadModel"}.get(name, f"{name}ForCausalLM")
    attention = "eager" if name == "Gemma2" else "sdpa"
    return getattr(transformers, heads)._from_config(made, attn_implementation=attention)


NETS = {
    "gpt_neox": lambda: _of("GPTNeoX", **_SHARED, intermediate_size=64),
    "gpt_neox, sequential": lambda: _of("GPTNeoX", **_SHARED, intermediate_size=64, use_parallel_residual=False),
    "gpt2": lambda: _of("GPT2", vocab_size=100, n_embd=WIDTH, n_layer=LAYERS, n_head=4, n_inner=64, n_positions=32),
    "gemma2": lambda: _of("Gemma2", **_GATED, head_dim=16, sliding_window=6),
    "llama": lambda: _of("Llama", **_GATED),
    "bert": lambda: _of("Bert", **_SHARED, intermediate_size=64),
    "scgpt": lambda: _scgpt(),
    "scgpt, norms before": lambda: _scgpt(pre_norm=True),
    "scgpt, scaled by value": lambda: _scgpt(value_style="scaling"),
    "scgpt, batch norm": lambda: _scgpt(batch_norm="run"),
}
CAUSAL = {"gpt_neox", "gpt_neox, sequential", "gpt2", "gemma2", "llama"}


def drawn(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a network whose weights, biases and norms are all drawn."""
    torch.manual_seed(0)
    net = NETS[name]().eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.add_(torch.randn_like(parameter) * (0.2 if parameter.ndim > 1 else 0.1))
    for buffer in (b for n, b in net.named_buffers() if "running" in n):
        buffer.add_(torch.rand_like(buffer))
    return net.to(dtype)


def _ids(rng: torch.Generator, tokens: int) -> torch.Tensor:
    return torch.randint(5, 99, (1, tokens), generator=rng)


def ids_of(seed: int = 1, tokens: int = TOKENS) -> torch.Tensor:
    """Return the tokens of such an input, (1, t)."""
    return _ids(torch.Generator().manual_seed(seed), tokens)


def ran(net: nn.Module, seed: int = 1, tokens: int = TOKENS) -> Any:
    """Return a call that runs a network on one input, a little different for each seed."""
    rng = torch.Generator().manual_seed(seed)
    ids = _ids(rng, tokens)
    if isinstance(net, ScgptNet):
        values = torch.rand(1, tokens, generator=rng).to(next(net.parameters())) * 20
        return lambda: net(ids, values, torch.ones_like(ids, dtype=torch.bool)).hidden
    return lambda: net(input_ids=ids)


def frozen(name: str, dtype: torch.dtype = torch.float64, seed: int = 1, *, scores: bool = False) -> Frozen:
    """Return such a network on one input."""
    net = drawn(name, dtype)
    return freeze(net, ran(net, seed), scores=scores)


def transcoders(made: Frozen, latents: int = LATENTS, k: int = K, *, skip: bool = False) -> list[TopK]:
    """Return a drawn TopK transcoder for each layer, with statistics of what the layer's MLP reads and writes."""
    found = []
    for layer, (x, y) in enumerate(zip(made.mlp_in, made.mlp_out, strict=True)):
        torch.manual_seed(layer)
        one = TopK(TopKConfig(x.shape[1], latents, k=k, d_out=y.shape[1], skip=skip))
        with torch.no_grad():
            for parameter in one.parameters():
                parameter.normal_(std=0.3)
        both = torch.cat([x, y], dim=1).float()
        one.set_statistics(both.mean(0), both.var(0))
        found.append(one.freeze())
    return found
