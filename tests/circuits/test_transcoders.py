"""Sets of transcoders: saved and read, of one model alone, and for circuit-tracer where it can hold them."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from cellglass.circuits import Transcoders, load_transcoders
from cellglass.circuits.transcoders import fingerprint_of
from cellglass.dictionaries import BatchTopK, BatchTopKConfig, TopK, TopKConfig
from cellglass.errors import InputError


def some(kind=TopK, config=TopKConfig, layers=2, **options):
    noise = torch.Generator().manual_seed(0)
    made = []
    for _ in range(layers):
        one = kind(config(16, 24, 4, d_out=16, **options))
        for name, tensor in one.state_dict().items():
            tensor.copy_(torch.rand(tensor.shape, generator=noise) if "scale" in name or "thr" in name
                         else torch.randn(tensor.shape, generator=noise))  # fmt: skip
        made.append(one.freeze())
    return tuple(made)


@pytest.mark.parametrize("skip", [False, True])
def test_what_is_saved_is_read_back(skip, tmp_path) -> None:
    one = Transcoders("scgpt", "abc", 2, some(skip=skip), 7, "type", ("c1", "c2"), {"cells": 3})
    one.save(tmp_path / "t")
    again = load_transcoders(tmp_path / "t")
    about = ("model_kind", "fingerprint", "n_layers", "seed", "labels", "held_out", "training")
    for name in (*about, "kind", "k", "skip"):
        assert getattr(again, name) == getattr(one, name)
    assert (again.n_latents, again.width, len(again), again.is_crosslayer) == (24, 16, 2, False)
    x = torch.randn(9, 16)
    for layer in range(2):
        for a, b in zip(again[layer].encode(x), one[layer].encode(x), strict=True):
            assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))
    with pytest.raises(InputError, match="no layer 2; these transcoders have layers 0 to 1"):
        again[2]
    with pytest.raises(InputError, match="one for each layer"):
        again.crosslayer  # noqa: B018


def test_a_cross_layer_one_is_one_for_all_layers(cells, make_model, make_exact, tmp_path) -> None:
    exact = make_exact(make_model("scgpt", cells), crosslayer=True)
    exact.save(tmp_path / "t")
    again = load_transcoders(tmp_path / "t")
    assert again.is_crosslayer
    assert again[0] is again[1] is again.crosslayer
    assert (again.n_latents, again.width, again.k) == (12, 16, 12)
    with pytest.raises(InputError, match="give inputs"):
        again.export_circuit_tracer(tmp_path / "x")
    again.export_circuit_tracer(tmp_path / "x", inputs=torch.randn(30, 32))
    assert set(load_file(tmp_path / "x" / "W_dec_0.safetensors")) == {"W_dec_0"}


def test_they_belong_to_a_network_whatever_genes_it_reads(cells, make_model, make_exact) -> None:
    model = make_model("scgpt", cells)
    exact = make_exact(model)
    assert exact.check(model) is model
    fewer = model.for_cells(cells.select_genes(range(10)))
    assert fewer.fingerprint() != model.fingerprint()
    assert exact.check(fewer) is fewer
    other = make_model("scgpt", cells)
    assert fingerprint_of(other) == fingerprint_of(model)
    with torch.no_grad():
        other.net.encoder.embedding.weight[0, 0] += 1
    with pytest.raises(InputError, match=r"belong to another model .*cellglass circuits train"):
        exact.check(other)


def test_for_circuit_tracer_thresholds_go_and_topk_does_not(tmp_path) -> None:
    made = some(BatchTopK, BatchTopKConfig)
    Transcoders("cell2sentence", "f", 2, made).export_circuit_tracer(tmp_path / "x", model_name="c2s")
    held = load_file(tmp_path / "x" / "layer_1.safetensors")
    x = torch.randn(5, 16)
    p = x @ held["W_enc"].T + held["b_enc"]
    f = torch.where(p > held["activation_function.threshold"], p, 0.0)
    codes = made[1].encode(x)
    torch.testing.assert_close(f @ held["W_dec"] + held["b_dec"], made[1].decode(codes), atol=1e-3, rtol=1e-3)
    with pytest.raises(InputError, match="ReLU and JumpReLU alone"):
        Transcoders("cell2sentence", "f", 2, some()).export_circuit_tracer(tmp_path / "y")


def test_what_is_no_set_of_transcoders_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="2 layers; give one for each"):
        Transcoders("scgpt", "f", 2, some(layers=1))
    with pytest.raises(InputError, match="differ in kind"):
        Transcoders("scgpt", "f", 2, some(layers=1) + some(BatchTopK, BatchTopKConfig, layers=1))
    with pytest.raises(InputError, match="an autoencoder is no transcoder"):
        Transcoders("scgpt", "f", 1, (TopK(TopKConfig(16, 24, 4)),))
    with pytest.raises(InputError, match="no transcoders are here"):
        load_transcoders(tmp_path)
    (tmp_path / "work").mkdir()
    with pytest.raises(InputError, match="has not ended; run the same command again"):
        load_transcoders(tmp_path)
    Transcoders("scgpt", "f", 2, some()).save(tmp_path / "t")
    index = tmp_path / "t" / "transcoders.json"
    content = json.loads(index.read_text())
    for change, message in (
        ({"schema_version": 9}, "has schema version 9"),
        ({"format": "x"}, "is no list of cellglass's transcoders"),
        ({"layers": None}, "is damaged"),
        ({"layers": [0, 1, 2]}, "no dictionary is here"),
    ):
        index.write_text(json.dumps(content | change))
        with pytest.raises(InputError, match=message):
            load_transcoders(tmp_path / "t")
