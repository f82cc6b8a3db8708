"""What training minimises, and every gradient of it, against dense products and autograd in float64, for every kind.

The reference computes all pre-activations, makes dense codes by sorting or comparing, decodes with a dense product and
leaves the derivatives to autograd; where a kind defines a derivative of its own (the step of JumpReLU), so does it.
"""

from __future__ import annotations

import pytest
import torch

from cellglass.dictionaries.kinds.archetypal import ArchetypalConfig
from cellglass.dictionaries.kinds.batchtopk import BatchTopKConfig
from cellglass.dictionaries.kinds.crosslayer import CrossLayerConfig
from cellglass.dictionaries.kinds.gated import GatedConfig
from cellglass.dictionaries.kinds.jumprelu import JumpReLUConfig
from cellglass.dictionaries.kinds.matryoshka import MatryoshkaConfig
from cellglass.dictionaries.kinds.matryoshka_batchtopk import MatryoshkaBatchTopKConfig
from cellglass.dictionaries.kinds.topk import TopKConfig
from cellglass.dictionaries.registry import KINDS, trained
from cellglass.dictionaries.sparse_ops import products
from cellglass.dictionaries.sparse_ops.selection import LargestOfRow
from cellglass.dictionaries.training.revival import auxiliary_loss
from cellglass.vocabulary import JOINT

N, D_IN, D_OUT, M, K = 24, 7, 5, 90, 3
CONFIGS = {
    "topk": lambda **o: TopKConfig(D_IN, M, K, **o),
    "batchtopk": lambda **o: BatchTopKConfig(D_IN, M, K, **o),
    "jumprelu": lambda **o: JumpReLUConfig(D_IN, M, K, bandwidth=0.8, weight=0.7, **o),
    "gated": lambda **o: GatedConfig(D_IN, M, K, **o),
    "matryoshka": lambda **o: MatryoshkaConfig(D_IN, M, K, (10, 30, M), (1, 2, K), **o),
    "matryoshka_batchtopk": lambda **o: MatryoshkaBatchTopKConfig(D_IN, M, K, (10, 30, M), **o),
    "archetypal": lambda **o: ArchetypalConfig(D_IN, M, K, n_points=11, **o),
    "crosslayer": lambda **o: CrossLayerConfig(3 * D_IN, 3 * M, K, n_layers=3, d_out=3 * D_OUT),
}
ROLES = {"autoencoder": {}, "transcoder": {"d_out": D_OUT}, "with skip": {"d_out": D_OUT, "skip": True}}
BY_GRADIENT = [kind for kind in trained() if KINDS[kind].learn is None]
CASES = [(kind, role) for kind in BY_GRADIENT for role in ROLES] + [(kind, "transcoder") for kind in JOINT]


def made(kind: str, role: str):
    """A dictionary in float64 with random weights of every kind, and rows for it."""
    noise = torch.Generator().manual_seed(3)
    config = CONFIGS[kind](**ROLES[role])
    dictionary = KINDS[kind].cls(config).double()
    with torch.no_grad():
        for name, weight in [*dictionary.named_parameters(), *dictionary.named_buffers()]:
            if weight.ndim:
                weight.copy_(torch.randn(weight.shape, generator=noise, dtype=torch.float64))
            if name == "threshold":
                weight.copy_(weight.abs() + 1.5)
            if name in ("gate_bias",):
                weight.sub_(3)
            if name == "pressure":
                weight.copy_(torch.tensor([0.3, K], dtype=torch.float64))
            if name in ("scale", "scale_out"):
                weight.copy_(weight.abs() + 1)
        if kind == "archetypal":
            dictionary.normalise_decoder()
    u = torch.randn(N, dictionary.d_in, generator=noise, dtype=torch.float64)
    target = torch.randn(N, dictionary.d_out, generator=noise, dtype=torch.float64) if role != "autoencoder" else u
    return dictionary.requires_grad_(True), u, target


def scores_of(d, u):
    return (u - d.bias if not d.is_transcoder else u) @ d.encoder.T


def top(p: torch.Tensor, k: int) -> torch.Tensor:
    """Mask of the k largest of each row."""
    return p >= p.sort(dim=1, descending=True).values[:, k - 1 : k]


def mse(out, target):
    return ((out - target) ** 2).sum() / target.numel()


def dense_loss(d, u, target):
    """The loss of each kind from dense matrices; gives the last level's codes too."""
    extra = d.bias + (u @ d.skip.T if d.config.skip else 0)
    if d.kind == "crosslayer":
        m, codes = d.per_layer, []
        total = d.bias.expand(N, -1).clone()
        for layer in range(3):
            rows = slice(layer * m, (layer + 1) * m)
            p = u[:, layer * D_IN : (layer + 1) * D_IN] @ d.encoder[rows].T + d.encoder_bias[rows]
            f = torch.where(top(p, K), p.relu(), 0)
            total = total + torch.cat([torch.zeros(N, layer * D_OUT), f @ getattr(d, f"decoder_{layer}")], 1)
            codes.append(f)
        return mse(total, target), torch.cat(codes, 1)
    q = scores_of(d, u)
    if d.kind == "gated":
        gate = q + d.gate_bias
        f = torch.where(gate > 0, (d.log_magnitude.exp() * q + d.encoder_bias).relu(), 0)
        alone = gate.relu() @ d.decoder.detach() + d.bias.detach() + (u @ d.skip.detach().T if d.config.skip else 0)
        penalty = mse(alone, target) + 0.3 * gate.relu().sum() / (N * d.d_out)
        return mse(f @ d.decoder + extra, target) + penalty, f
    p = q + d.encoder_bias
    if d.kind == "jumprelu":
        bar, eps = d.threshold.detach(), 0.8
        window = ((p - bar).abs() < eps / 2).double()
        step = (p > bar).double().detach() - (window / eps).detach() * (d.threshold - bar)
        f = p * (p > bar) - bar * (window / eps).detach() * (d.threshold - bar)
        active = step.sum() / N
        return mse(f @ d.decoder + extra, target) + 0.7 * (active / K - 1) ** 2, f
    if d.kind in ("batchtopk", "matryoshka_batchtopk"):
        least = p.relu().flatten().sort(descending=True).values[N * K - 1]
        f = torch.where((p >= least) & (p > 0), p, 0)
        if d.kind == "batchtopk":
            return mse(f @ d.decoder + extra, target), f
        errors = [mse(f[:, :size] @ d.decoder[:size] + extra, target) for size in d.config.prefixes]
        return sum(errors) / len(errors), f
    decoder = d.mixing @ d.points if d.kind == "archetypal" else d.decoder
    levels = zip(d.config.prefixes, d.config.prefix_k, strict=True) if d.kind == "matryoshka" else [(M, K)]
    errors = []
    for size, k in levels:
        f = torch.where(top(p[:, :size], k), p[:, :size].relu(), 0)
        errors.append(mse(f @ decoder[:size] + extra, target))
    return sum(errors) / len(errors), f


@pytest.mark.parametrize("crowded", [False, True])
@pytest.mark.parametrize(("kind", "role"), CASES)
def test_loss_and_gradients_equal_dense_autograd(kind: str, role: str, crowded: bool, monkeypatch) -> None:
    monkeypatch.setattr(products, "_DENSE_SHARE", 0.0 if crowded else 1.0)
    d, u, target = made(kind, role)
    wanted, codes = dense_loss(d, u, target)
    weights = dict(d.named_parameters())
    reference = torch.autograd.grad(wanted, weights.values(), allow_unused=True)
    losses = d.training_loss(u, target, d.choose(u, d.training_rules(N)))
    found = torch.autograd.grad(losses.total, weights.values(), allow_unused=True)
    assert float((losses.total - wanted).detach().abs()) < 1e-10
    for name, a, b in zip(weights, found, reference, strict=True):
        assert (a is None) == (b is None), name
        if a is not None:
            assert float((a - b).abs().max()) < 1e-10, name
    moved = [name for name, g in zip(weights, found, strict=True) if g is not None and bool(g.abs().sum() > 0)]
    assert {"encoder", "encoder_bias", "bias"} <= set(moved)
    dense = losses.pattern.dense(losses.activation)
    assert float((dense - codes.detach()).abs().max()) < 1e-10


@pytest.mark.parametrize(("kind", "role"), CASES)
def test_the_loss_of_dead_latents_equals_dense_autograd(kind: str, role: str) -> None:
    d, u, target = made(kind, role)
    losses = d.training_loss(u, target, d.choose(u, d.training_rules(N)))
    dead = torch.arange(1, d.n_latents, 4)
    (chosen,) = d.choose(u, [LargestOfRow(4, 0, d.n_latents, only=dead)])
    with torch.no_grad():
        p = d.scores(u)
    mask = torch.zeros(N, d.n_latents, dtype=torch.bool)
    mask[:, dead] = top(p[:, dead], 4)
    dense = d.scores(u)
    f = torch.where(mask, dense.relu(), 0)
    if kind == "crosslayer":
        rows = [torch.nn.functional.pad(d.written(layer), (layer * D_OUT, 0)) for layer in range(3)]
        out = f @ torch.cat(rows)
    else:
        out = f @ (d.mixing @ d.points if kind == "archetypal" else d.decoder)
    wanted = mse(out, -losses.residual) / losses.residual.square().mean()
    weights = dict(d.named_parameters())
    reference = torch.autograd.grad(wanted, weights.values(), allow_unused=True)
    loss = auxiliary_loss(d, u, losses.residual, chosen)
    found = torch.autograd.grad(loss, weights.values(), allow_unused=True)
    assert float((loss - wanted).detach().abs()) < 1e-10
    for name, a, b in zip(weights, found, reference, strict=True):
        nothing = a is None or not bool(a.abs().sum() > 0)
        if nothing:
            assert b is None or not bool(b.abs().sum() > 0), name
        else:
            assert float((a - b).abs().max()) < 1e-10, name


def test_a_narrow_product_chooses_alone_and_values_are_exact() -> None:
    d, u, _ = made("topk", "autoencoder")
    d, u = d.float(), u.float()
    (chosen,) = d.choose(u, d.rules(), torch.bfloat16)
    p = d.scores(u).detach()
    rows = chosen.pattern.row.long()
    assert torch.allclose(chosen.value, p[rows, chosen.pattern.latent.long()], atol=1e-5)
    (full,) = d.choose(u, d.rules())
    same = {(int(r), int(j)) for r, j in zip(rows, chosen.pattern.latent, strict=True)}
    other = {(int(r), int(j)) for r, j in zip(full.pattern.row, full.pattern.latent, strict=True)}
    assert len(same & other) > 0.9 * len(other)


def test_a_choice_does_not_depend_on_the_blocks(monkeypatch) -> None:
    from cellglass.dictionaries import sparse

    for kind in BY_GRADIENT:
        d, u, _ = made(kind, "autoencoder")
        whole = d.choose(u, d.training_rules(N))
        monkeypatch.setattr(sparse, "BLOCK_FLOATS", 5 * M)
        pieces = d.choose(u, d.training_rules(N))
        monkeypatch.undo()
        for a, b in zip(whole, pieces, strict=True):
            assert torch.equal(a.pattern.start, b.pattern.start)
            assert torch.allclose(a.pattern.dense(a.value), b.pattern.dense(b.value), atol=1e-12)
