"""The network against a reference by plain loops, written from the published description, token by token."""

import math

import pytest
import torch

from cellglass.errors import InputError
from cellglass.models.scgpt.config import ScgptConfig
from cellglass.models.scgpt.net import ScgptNet

STYLES = {
    "as published": {},
    "pre-norm": {"pre_norm": True},
    "category": {"value_style": "category", "n_values": 53, "pad_value": 51, "mask_value": 52},
    "scaling": {"value_style": "scaling"},
    "batch norm": {"batch_norm": "run"},
    "batch norm idle": {"batch_norm": "idle"},
    "zero probability": {"zero_probability": True},
    "other widths": {"hidden": 40, "n_heads": 2, "n_layers": 3},
}


def network(**options):
    cfg = ScgptConfig(**{"n_tokens": 40, "width": 24, "n_layers": 2, "n_heads": 4, "hidden": 24, **options})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ScgptNet(cfg).eval()
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():  # norms that do something, and a running variance above 0
                tensor.copy_(torch.rand(tensor.shape) + 0.3 if "var" in name else torch.randn(tensor.shape) * 0.4)
    return net


def cells(cfg, lengths=(9, 4, 1)):
    generator = torch.Generator().manual_seed(1)
    ids = [torch.randint(1, cfg.n_tokens, (n,), generator=generator) for n in lengths]
    values = [torch.randint(0, cfg.n_bins, (n,), generator=generator).float() for n in lengths]
    for value in values:
        value[0] = cfg.pad_value
    return ids, values


def padded(ids, values, cfg):
    t = max(map(len, ids))
    mask = torch.tensor([[i < len(row) for i in range(t)] for row in ids])
    wide_ids, wide_values = torch.full(mask.shape, cfg.pad_id), torch.full(mask.shape, float(cfg.pad_value))
    for i, (row, value) in enumerate(zip(ids, values, strict=True)):
        wide_ids[i, : len(row)], wide_values[i, : len(row)] = row, value
    return wide_ids, wide_values, mask


# -- the reference -----------------------------------------------------------------------------------------------------


class Reference:
    """One cell at a time, one token at a time, in float64, from a state dict with the published names."""

    def __init__(self, cfg, state):
        self.cfg = cfg
        self.w = {name: tensor.double() for name, tensor in state.items()}

    def linear(self, name, x):
        rows, bias = self.w[f"{name}.weight"], self.w.get(f"{name}.bias")
        out = [sum(float(a) * float(b) for a, b in zip(row, x, strict=True)) for row in rows]
        return torch.tensor(out, dtype=torch.float64) + (0 if bias is None else bias)

    def norm(self, name, x):
        mean = x.sum() / len(x)
        variance = ((x - mean) ** 2).sum() / len(x)
        return (x - mean) / torch.sqrt(variance + 1e-5) * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def gene(self, token):
        return self.norm("encoder.enc_norm", self.w["encoder.embedding.weight"][token])

    def embed(self, token, value):
        gene = self.gene(token)
        if self.cfg.value_style == "scaling":
            x = gene * float(value)
        elif self.cfg.value_style == "category":
            x = gene + self.norm("value_encoder.enc_norm", self.w["value_encoder.embedding.weight"][int(value)])
        else:
            hidden = torch.relu(self.linear("value_encoder.linear1", [min(float(value), 512.0)]))
            x = gene + self.norm("value_encoder.norm", self.linear("value_encoder.linear2", hidden))
        if self.cfg.batch_norm == "run":
            x = (x - self.w["bn.running_mean"]) / torch.sqrt(self.w["bn.running_var"] + 6.1e-5)
            x = x * self.w["bn.weight"] + self.w["bn.bias"]
        return x

    def attention(self, name, xs):
        d, heads = self.cfg.width, self.cfg.n_heads
        size = d // heads
        qkv = [self.linear(f"{name}.Wqkv", x) for x in xs]
        out = []
        for i in range(len(xs)):
            joined = torch.zeros(d, dtype=torch.float64)
            for h in range(heads):
                part = slice(h * size, (h + 1) * size)
                q = qkv[i][:d][part]
                scores = [float(q @ qkv[j][d : 2 * d][part]) / math.sqrt(size) for j in range(len(xs))]
                weights = [math.exp(score - max(scores)) for score in scores]
                for j, weight in enumerate(weights):
                    joined[part] += weight / sum(weights) * qkv[j][2 * d :][part]
            out.append(self.linear(f"{name}.out_proj", joined))
        return out

    def layer(self, name, xs):
        def mlp(x):
            return self.linear(f"{name}.linear2", torch.relu(self.linear(f"{name}.linear1", x)))

        if self.cfg.pre_norm:
            xs = [self.norm(f"{name}.norm1", x) for x in xs]
            xs = [x + a for x, a in zip(xs, self.attention(f"{name}.self_attn", xs), strict=True)]
            xs = [self.norm(f"{name}.norm2", x) for x in xs]
            return [x + mlp(x) for x in xs]
        added = self.attention(f"{name}.self_attn", xs)
        xs = [self.norm(f"{name}.norm1", x + a) for x, a in zip(xs, added, strict=True)]
        return [self.norm(f"{name}.norm2", x + mlp(x)) for x in xs]

    def hidden(self, ids, values):
        xs = [self.embed(int(token), value) for token, value in zip(ids, values, strict=True)]
        for i in range(self.cfg.n_layers):
            xs = self.layer(f"transformer_encoder.layers.{i}", xs)
        return xs

    def three(self, name, x):
        for k in (0, 2):
            x = self.linear(f"{name}.{k}", x)
            x = torch.where(x > 0, x, 0.01 * x)
        return float(self.linear(f"{name}.4", x)[0])

    def expression(self, x):
        value = self.three("decoder.fc", x)
        return value * (1 / (1 + math.exp(-self.three("decoder.zero_logit", x))) if self.cfg.zero_probability else 1)

    def from_cell(self, cell, token):
        query = 1 / (1 + torch.exp(-self.linear("mvc_decoder.gene2query", self.gene(token))))
        value = float(self.linear("mvc_decoder.W", query) @ cell)
        if self.cfg.zero_probability:
            value /= 1 + math.exp(-float(self.linear("mvc_decoder.W_zero_logit", query) @ cell))
        return value


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_every_output_equals_the_reference_by_plain_loops(style):
    net = network(**STYLES[style])
    reference = Reference(net.cfg, net.state_dict())
    ids, values = cells(net.cfg)
    with torch.no_grad():
        found = net(*padded(ids, values, net.cfg))
        read = net.from_cell(found.hidden[:, 0], torch.tensor([3, 7, 11]))
    for i, (row, value) in enumerate(zip(ids, values, strict=True)):
        hidden = reference.hidden(row, value)
        for j, x in enumerate(hidden):
            torch.testing.assert_close(found.hidden[i, j].double(), x, rtol=1e-5, atol=1e-5)
            assert float(found.expression[i, j]) == pytest.approx(reference.expression(x), rel=1e-5, abs=1e-5)
        for column, token in enumerate((3, 7, 11)):
            expected = reference.from_cell(hidden[0], token)
            assert float(read[i, column]) == pytest.approx(expected, rel=1e-5, abs=2e-5)


def test_values_above_512_are_clamped():
    net = network()
    ids, mask = torch.tensor([[4, 5]]), torch.ones(1, 2, dtype=torch.bool)
    with torch.no_grad():
        outputs = [net(ids, torch.tensor([[1.0, value]]), mask).hidden for value in (512.0, 9000.0, 511.0)]
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_a_cell_reads_its_own_genes_or_one_list_for_all():
    net = network()
    cell, ids = torch.randn(3, 24), torch.arange(12).reshape(3, 4)
    with torch.no_grad():
        own, shared = net.from_cell(cell, ids), net.from_cell(cell, torch.arange(12))
    for i in range(3):
        torch.testing.assert_close(own[i], shared[i, 4 * i : 4 * i + 4])


def test_names_are_those_of_the_published_state_dict():
    names = set(network(n_layers=1, zero_probability=True, batch_norm="idle", n_classes=5).state_dict())
    expected = {"encoder.embedding.weight", "flag_encoder.weight", "mvc_decoder.W.weight"}
    both = [
        "encoder.enc_norm", "value_encoder.linear1", "value_encoder.linear2", "value_encoder.norm", "bn",
        *(f"transformer_encoder.layers.0.{part}" for part in ("linear1", "linear2", "norm1", "norm2")),
        *(f"transformer_encoder.layers.0.self_attn.{part}" for part in ("Wqkv", "out_proj")),
        *(f"decoder.{head}.{k}" for head in ("fc", "zero_logit") for k in (0, 2, 4)),
        *(f"cls_decoder._decoder.{k}" for k in (0, 2, 3, 5)), "cls_decoder.out_layer",
        "mvc_decoder.gene2query", "mvc_decoder.W_zero_logit",
    ]  # fmt: skip
    expected |= {f"{name}.{what}" for name in both for what in ("weight", "bias")}
    assert names == expected | {f"bn.{what}" for what in ("running_mean", "running_var", "num_batches_tracked")}


def test_classes_are_read_off_the_cell():
    net = network(n_classes=5, n_layers_cls=2)
    cell, reference = torch.randn(24), Reference(net.cfg, net.state_dict())
    hidden = torch.relu(reference.linear("cls_decoder._decoder.0", cell))
    expected = reference.linear("cls_decoder.out_layer", reference.norm("cls_decoder._decoder.2", hidden))
    torch.testing.assert_close(net.cls_decoder(cell[None])[0].double(), expected, rtol=1e-5, atol=1e-5)


def test_without_a_cell_head_nothing_is_read_off_a_cell():
    with pytest.raises(InputError, match="no mvc_decoder"):
        network(mvc=False).from_cell(torch.zeros(1, 24), torch.tensor([1]))
