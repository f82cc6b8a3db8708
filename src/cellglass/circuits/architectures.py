"""What a residual stream adds in each architecture, and what its modules are: the one file that knows networks.

A network is described by where its parts are; ``freezing.py`` runs it and holds the description to what it computes.
Known are

    GPT-NeoX     Cell2Sentence, Pythia: attention and MLP in parallel (or one after the other, as its config says)
    GPT-2        attention, then MLP, each behind a norm; learned positions
    Gemma 2      Cell2Sentence of that size: norms before and behind attention and MLP, capped scores, shared values;
                 the norm behind an MLP is part of it
    Llama        norms before attention and MLP, shared values
    BERT         Geneformer: norms on the stream, behind each sum
    scGPT        norms on the stream, behind each sum or, as published too, before each
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cellglass.circuits.linear_map import Norm
from cellglass.circuits.patterns import QueryKey
from cellglass.errors import InputError
from cellglass.models.transformer.hooks import Point

Tensor = torch.Tensor


@dataclass(frozen=True)
class Maps:
    """The maps of one attention; see `Heads`."""

    n_heads: int
    value: Tensor
    value_bias: Tensor | None
    output: Tensor
    output_bias: Tensor | None
    shared: int = 1


@dataclass(frozen=True)
class Attention:
    """Where the attention of a layer is: its norms, its maps, and the module whose output tells its pattern.

    `query_key` gives the maps behind the pattern for the states that they read; the angles of rotary position and the
    mask are those that the module is given.
    """

    maps: Maps
    module: str
    pattern: Callable[[Any], Tensor]
    before: nn.Module | None = None
    after: nn.Module | None = None
    query_key: Callable[[Tensor], QueryKey] | None = None


@dataclass(frozen=True)
class Feedforward:
    """Where the MLP of a layer is: the norm before it, and the function of what it reads."""

    function: Callable[[Tensor], Tensor]
    before: nn.Module | None = None
    parallel: bool = False


@dataclass(frozen=True)
class Plan:
    """A network as steps on a residual stream.

    Attributes
    ----------
    parts : mapping of str to Point
        What the first state of the stream is the sum of.
    steps : sequence
        Norms on the stream as modules, `Attention` and `Feedforward`; each layer has one of both.
    ends : sequence of int
        How many steps are before the first layer, and up to the end of each layer.
    last : Point
        Where the last state is.
    constant : frozenset of str
        Those parts that are the same whatever the tokens are.
    """

    parts: Mapping[str, Point]
    steps: Sequence[nn.Module | Attention | Feedforward]
    ends: Sequence[int]
    last: Point
    constant: frozenset[str] = frozenset()


def plan_of(net: nn.Module) -> Plan:
    """Return how a network is built, by the name of its class; InputError for one that is not known."""
    for cls in type(net).__mro__:
        if cls.__name__ in PLANS:
            return PLANS[cls.__name__](net)
    raise InputError(
        f"circuits know no network {type(net).__name__}; they know {', '.join(sorted(PLANS))}, and take a Plan of yours"
    )


def _weights(output: Any) -> Tensor:
    """Return the pattern that transformers' eager attention gives beside its result, (h, t, t)."""
    found: Tensor = output[1][0]
    return found


# -- what their modules say ------------------------------------------------------------------------------------------


@contextmanager
def telling(net: nn.Module) -> Iterator[None]:
    """Let transformers' networks say their attention patterns while the block runs."""
    named: Any = net
    if not hasattr(net, "set_attn_implementation"):
        yield
        return
    before = named.config._attn_implementation
    named.set_attn_implementation("eager")
    try:
        yield
    finally:
        named.set_attn_implementation(before)


def frozen_norm(module: Any, x: Tensor) -> Norm:
    """Return a norm with its scale at states `x`, (t, d)."""
    weight = module.weight
    if isinstance(module, nn.LayerNorm):
        scale = torch.rsqrt(x.var(-1, unbiased=False, keepdim=True) + module.eps)
        return Norm(scale, weight, module.bias, centred=True)
    if isinstance(module, nn.BatchNorm1d):
        variance: Any = module.running_var
        slope = weight * torch.rsqrt(variance + module.eps)
        return Norm(torch.ones_like(x[:, :1]), slope, module.bias - module.running_mean * slope, centred=False)
    eps = float(module.variance_epsilon if hasattr(module, "variance_epsilon") else module.eps)
    scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return Norm(scale, weight + 1 if type(module).__name__.startswith("Gemma") else weight, None, centred=False)


# -- the networks ----------------------------------------------------------------------------------------------------


def _gpt_neox(net: Any) -> Plan:
    base, config = net.base_model, net.config
    prefix = "" if base is net else f"{net.base_model_prefix}."
    d, heads = config.hidden_size, config.num_attention_heads
    steps: list[Any] = []
    ends = [0]
    for i, layer in enumerate(base.layers):
        attn = layer.attention
        qkv = attn.query_key_value.weight.view(heads, 3, d // heads, d)
        bias = attn.query_key_value.bias
        maps = Maps(
            heads,
            qkv[:, 2].reshape(d, d).T,
            None if bias is None else bias.view(heads, 3, -1)[:, 2].reshape(d),
            attn.dense.weight.T,
            attn.dense.bias,
        )

        def query_key(y: Tensor, attn: Any = attn, qkv: Tensor = qkv, bias: Tensor | None = bias) -> QueryKey:
            weights = [qkv[:, side].reshape(d, d).T for side in (0, 1)]
            biases = [None if bias is None else bias.view(heads, 3, -1)[:, side].reshape(d) for side in (0, 1)]
            return QueryKey(y, heads, weights[0], biases[0], weights[1], biases[1], attn.scaling)

        where = f"{prefix}layers.{i}.attention"
        steps += [
            Attention(maps, where, _weights, layer.input_layernorm, query_key=query_key),
            Feedforward(layer.mlp, layer.post_attention_layernorm, parallel=bool(config.use_parallel_residual)),
        ]
        ends.append(len(steps))
    return Plan(
        {"token": Point(f"{prefix}layers.0", "in")},
        [*steps, base.final_layer_norm],
        ends,
        Point(f"{prefix}final_layer_norm", "out"),
    )


def _gpt2(net: Any) -> Plan:
    base, config = net.base_model, net.config
    prefix = "" if base is net else f"{net.base_model_prefix}."
    d, heads = config.hidden_size, config.num_attention_heads
    steps: list[Any] = []
    ends = [0]
    for i, layer in enumerate(base.h):
        attn = layer.attn  # its maps are kept as (inputs, outputs)
        value, bias = attn.c_attn.weight[:, 2 * d :], attn.c_attn.bias[2 * d :]
        maps = Maps(heads, value, bias, attn.c_proj.weight, attn.c_proj.bias)

        def query_key(y: Tensor, attn: Any = attn) -> QueryKey:
            (q, k, _), (a, b, _) = attn.c_attn.weight.split(d, 1), attn.c_attn.bias.split(d)
            return QueryKey(y, heads, q, a, k, b, attn.scaling)

        steps += [
            Attention(maps, f"{prefix}h.{i}.attn", _weights, layer.ln_1, query_key=query_key),
            Feedforward(layer.mlp, layer.ln_2),
        ]
        ends.append(len(steps))
    parts = {"token": Point(f"{prefix}wte", "out"), "position": Point(f"{prefix}wpe", "out")}
    last = Point(f"{prefix}ln_f", "out")
    return Plan(parts, [*steps, base.ln_f], ends, last, frozenset({"position"}))


def _llama(net: Any) -> Plan:
    return _gated(net, sandwich=False)


def _gemma2(net: Any) -> Plan:
    return _gated(net, sandwich=True)


def _gated(net: Any, *, sandwich: bool) -> Plan:
    base, config = net.base_model, net.config
    prefix = "" if base is net else f"{net.base_model_prefix}."
    heads = config.num_attention_heads
    shared = heads // config.num_key_value_heads

    def each(linear: Any) -> tuple[Tensor, Tensor | None]:
        """Return map and bias of keys or values with those that heads share given to each."""
        split = (config.num_key_value_heads, -1)
        weight = linear.weight.unflatten(0, split).repeat_interleave(shared, 0).flatten(0, 1).T
        if linear.bias is None:
            return weight, None
        return weight, linear.bias.unflatten(0, split).repeat_interleave(shared, 0).flatten()

    steps: list[Any] = []
    ends = [0]
    for i, layer in enumerate(base.layers):
        attn = layer.self_attn
        maps = Maps(heads, *each(attn.v_proj), attn.o_proj.weight.T, attn.o_proj.bias, shared)

        def query_key(y: Tensor, attn: Any = attn) -> QueryKey:
            cap = getattr(attn, "attn_logit_softcapping", None)
            query = attn.q_proj.weight.T, attn.q_proj.bias
            return QueryKey(y, heads, *query, *each(attn.k_proj), attn.scaling, cap)

        where = f"{prefix}layers.{i}.self_attn"
        if sandwich:

            def feedforward(x: Tensor, layer: Any = layer) -> Tensor:
                """Return what is added to the stream, behind the norm: what transcoders of the site imitate."""
                return layer.post_feedforward_layernorm(layer.mlp(x))  # type: ignore[no-any-return]

            steps += [
                Attention(maps, where, _weights, layer.input_layernorm, layer.post_attention_layernorm, query_key),
                Feedforward(feedforward, layer.pre_feedforward_layernorm),
            ]
        else:
            steps += [
                Attention(maps, where, _weights, layer.input_layernorm, query_key=query_key),
                Feedforward(layer.mlp, layer.post_attention_layernorm),
            ]
        ends.append(len(steps))
    return Plan({"token": Point(f"{prefix}layers.0", "in")}, [*steps, base.norm], ends, Point(f"{prefix}norm", "out"))


def _bert(net: Any) -> Plan:
    base = net.base_model
    prefix = "" if base is net else f"{net.base_model_prefix}."
    steps: list[Any] = [base.embeddings.LayerNorm]
    ends = [1]
    for i, layer in enumerate(base.encoder.layer):
        attn, out = layer.attention.self, layer.attention.output
        maps = Maps(attn.num_attention_heads, attn.value.weight.T, attn.value.bias, out.dense.weight.T, out.dense.bias)

        def feedforward(x: Tensor, layer: Any = layer) -> Tensor:
            return layer.output.dense(layer.intermediate(x))  # type: ignore[no-any-return]

        def query_key(y: Tensor, attn: Any = attn) -> QueryKey:
            query, key = attn.query, attn.key
            return QueryKey(
                y, attn.num_attention_heads, query.weight.T, query.bias, key.weight.T, key.bias, attn.scaling
            )

        steps += [
            Attention(maps, f"{prefix}encoder.layer.{i}.attention.self", _weights, query_key=query_key),
            out.LayerNorm,
            Feedforward(feedforward),
            layer.output.LayerNorm,
        ]
        ends.append(len(steps))
    embeddings = f"{prefix}embeddings"
    parts = {
        "token": Point(f"{embeddings}.word_embeddings", "out"),
        "position": Point(f"{embeddings}.position_embeddings", "out"),
        "type": Point(f"{embeddings}.token_type_embeddings", "out"),
    }
    last = Point(f"{prefix}encoder.layer.{len(base.encoder.layer) - 1}", "out")
    return Plan(parts, steps, ends, last, frozenset({"position", "type"}))


def _scgpt(net: Any) -> Plan:
    cfg = net.cfg
    d, heads = cfg.width, cfg.n_heads

    def pattern(qkv: Tensor) -> Tensor:
        q, k, _ = qkv[0].view(-1, 3, heads, d // heads).permute(1, 2, 0, 3)
        scores: Tensor = q @ k.transpose(1, 2) * (d // heads) ** -0.5
        return scores.softmax(-1)

    steps: list[Any] = [net.bn] if cfg.batch_norm == "run" else []
    ends = [len(steps)]
    for i, layer in enumerate(net.transformer_encoder.layers):
        attn = layer.self_attn
        maps = Maps(
            heads, attn.Wqkv.weight[2 * d :].T, attn.Wqkv.bias[2 * d :], attn.out_proj.weight.T, attn.out_proj.bias
        )

        def feedforward(x: Tensor, layer: Any = layer) -> Tensor:
            return layer.linear2(nn.functional.relu(layer.linear1(x)))  # type: ignore[no-any-return]

        def query_key(y: Tensor, attn: Any = attn) -> QueryKey:
            (q, k, _), (a, b, _) = attn.Wqkv.weight.split(d), attn.Wqkv.bias.split(d)
            return QueryKey(y, heads, q.T, a, k.T, b, (d // heads) ** -0.5)

        where = f"transformer_encoder.layers.{i}.self_attn.Wqkv"
        both = Attention(maps, where, pattern, query_key=query_key), Feedforward(feedforward)
        norms = layer.norm1, layer.norm2
        steps += [norms[0], both[0], norms[1], both[1]] if cfg.pre_norm else [both[0], norms[0], both[1], norms[1]]
        ends.append(len(steps))
    if cfg.value_style == "scaling":
        parts = {"gene": Point("bn" if cfg.batch_norm == "run" else "transformer_encoder.layers.0", "in")}
    else:
        parts = {"gene": Point("encoder", "out"), "value": Point("value_encoder", "out")}
    return Plan(parts, steps, ends, Point(f"transformer_encoder.layers.{cfg.n_layers - 1}", "out"))


PLANS: dict[str, Callable[[Any], Plan]] = {
    "GPTNeoXPreTrainedModel": _gpt_neox,
    "GPT2PreTrainedModel": _gpt2,
    "Gemma2PreTrainedModel": _gemma2,
    "LlamaPreTrainedModel": _llama,
    "BertPreTrainedModel": _bert,
    "ScgptNet": _scgpt,
}
