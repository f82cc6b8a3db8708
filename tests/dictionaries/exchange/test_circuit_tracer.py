"""circuit-tracer's formulas, computed slowly from the files alone, against what cellglass computes; what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from cellglass.dictionaries.base import Codes
from cellglass.dictionaries.exchange import (
    cross_layer_thresholds,
    write_circuit_tracer,
    write_circuit_tracer_cross_layer,
)
from cellglass.dictionaries.exchange.plain import build, plain_of
from cellglass.dictionaries.kinds.crosslayer import CrossLayerConfig, CrossLayerTranscoder
from cellglass.errors import InputError

KINDS = ("batchtopk", "matryoshka_batchtopk", "jumprelu")
LAYERS, D, M, K = 3, 5, 8, 2


def published(file: Path, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features and outputs of one layer's file, in float64."""
    w = {name: value.astype(np.float64) for name, value in load_file(file).items()}
    p = x @ w["W_enc"].T + w["b_enc"]
    f = p * (p > w.get("activation_function.threshold", 0))
    out = f @ w["W_dec"] + w["b_dec"]
    return f, out + x @ w["W_skip"].T if "W_skip" in w else out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["square", "skip"])
def test_circuit_tracer_computes_from_our_files_what_we_compute(draw, kind, form, x, dense, tmp_path) -> None:
    layers = [draw(kind, form, seed) for seed in range(LAYERS)]
    write_circuit_tracer(layers, tmp_path / "set", model_name='a "model"', scan="s")
    assert (tmp_path / "set" / "config.yaml").read_text() == (
        'model_kind: "transcoder_set"\nmodel_name: "a \\"model\\""\nfeature_input_hook: "mlp.hook_in"\n'
        'feature_output_hook: "mlp.hook_out"\nscan: "s"\n'
    )
    for number, layer in enumerate(layers):
        codes, out = published(tmp_path / "set" / f"layer_{number}.safetensors", x.numpy())
        ours = layer.encode(x)
        assert (codes > 0).any()
        np.testing.assert_allclose(dense(ours), codes, atol=1e-5)
        np.testing.assert_allclose(layer.decode(ours, x).numpy(), out, atol=1e-5)


def test_relu_needs_no_threshold(draw, tmp_path) -> None:
    dictionary = draw("batchtopk", "square")
    dictionary.threshold.zero_()
    write_circuit_tracer([dictionary], tmp_path / "set")
    assert sorted(load_file(tmp_path / "set" / "layer_0.safetensors")) == ["W_dec", "W_enc", "b_dec", "b_enc"]
    assert "model_name" not in (tmp_path / "set" / "config.yaml").read_text()


def test_what_circuit_tracer_does_not_have_is_refused(draw, tmp_path) -> None:
    good = draw("jumprelu", "square")
    narrow = CrossLayerTranscoder(CrossLayerConfig(2 * D, 2 * M, 1, 2, d_out=2 * D))
    for layers, message in (
        ([], "no transcoder was given"),
        ([good, draw("jumprelu")], "layer 1: is an autoencoder"),
        ([good, draw("topk", "square")], "layer 1: .* kind 'topk' cannot be written; train one of kind batchtopk"),
        ([draw("gated", "square")], "layer 0: .* kind 'gated'"),
        ([draw("jumprelu", "transcoder")], "layer 0: reads width 10 and writes width 7"),
        ([narrow], "kind 'crosslayer' cannot be written"),
    ):
        with pytest.raises(InputError, match=message):
            write_circuit_tracer(layers, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_layers_of_unequal_size_are_refused(draw, tmp_path) -> None:
    good = draw("batchtopk", "square")
    plain = plain_of(good, "here")
    half = {name: getattr(plain, name)[:12] for name in ("encoder", "encoder_bias", "decoder")}
    small = build(replace(plain, **half, extra={"threshold": plain.extra["threshold"][:12]}), "here")
    with pytest.raises(InputError, match=r"layer_1.safetensors: has 12 latents of width 10, but layer_0.* has 24"):
        write_circuit_tracer([good, small], tmp_path / "set")


@pytest.fixture
def cross() -> CrossLayerTranscoder:
    transcoder = CrossLayerTranscoder(CrossLayerConfig(LAYERS * D, LAYERS * M, K, LAYERS, d_out=LAYERS * D))
    noise = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(v.shape, generator=noise) for name, v in transcoder.state_dict().items()}
    for name in ("scale", "scale_out"):
        weights[name] = (0.5 + weights[name].view(LAYERS, D)[:, 0].abs()).repeat_interleave(D)
    transcoder.load_state_dict(weights)
    return transcoder.freeze()


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.randn(50, LAYERS * D, generator=torch.Generator().manual_seed(1))


def test_circuit_tracer_decodes_a_cross_layer_transcoder_as_we_do(cross, rows, tmp_path) -> None:
    bars = cross_layer_thresholds(cross, rows)
    write_circuit_tracer_cross_layer(cross, tmp_path / "clt", thresholds=bars)
    assert 'model_kind: "cross_layer_transcoder"' in (tmp_path / "clt" / "config.yaml").read_text()
    read = {p.name: load_file(p) for p in (tmp_path / "clt").glob("*.safetensors")}
    x = rows.numpy().astype(np.float64).reshape(len(rows), LAYERS, D)
    codes, out = np.zeros((len(rows), LAYERS, M)), np.zeros((len(rows), LAYERS, D))
    for source in range(LAYERS):
        w = read[f"W_enc_{source}.safetensors"]
        p = x[:, source] @ w[f"W_enc_{source}"].T + w[f"b_enc_{source}"]
        codes[:, source] = p * (p > w[f"threshold_{source}"])
        out[:, source] += w[f"b_dec_{source}"]
        decoder = read[f"W_dec_{source}.safetensors"][f"W_dec_{source}"]
        assert decoder.shape == (M, LAYERS - source, D)
        for step in range(LAYERS - source):
            out[:, source + step] += codes[:, source] @ decoder[:, step]
    flat = codes.reshape(len(rows), -1)
    p = cross.preactivations(rows)
    np.testing.assert_allclose(flat, torch.where(p > bars, p, 0.0).numpy(), atol=1e-5)
    ours = Codes(torch.arange(LAYERS * M).expand(len(rows), -1), torch.from_numpy(flat).float(), LAYERS * M)
    np.testing.assert_allclose(out.reshape(len(rows), -1), cross.decode(ours).numpy(), atol=1e-5)


def test_thresholds_keep_k_latents_of_each_layer_on_average(cross, rows) -> None:
    bars = cross_layer_thresholds(cross, rows)
    active = (cross.preactivations(rows) > bars).view(len(rows), LAYERS, M).sum(2).float().mean(0)
    assert active.tolist() == [K] * LAYERS


def test_a_cross_layer_transcoder_that_does_not_fit_is_refused(cross, tmp_path) -> None:
    for bars in (torch.zeros(3), -torch.ones(LAYERS * M), torch.full((LAYERS * M,), float("nan"))):
        with pytest.raises(InputError, match=r"thresholds of shape .* do not fit"):
            write_circuit_tracer_cross_layer(cross, tmp_path / "clt", thresholds=bars)
    other = CrossLayerTranscoder(CrossLayerConfig(LAYERS * D, LAYERS * M, K, LAYERS, d_out=LAYERS * 4))
    with pytest.raises(InputError, match="read width 5 and write width 4"):
        write_circuit_tracer_cross_layer(other, tmp_path / "clt", thresholds=torch.zeros(LAYERS * M))
    write_circuit_tracer_cross_layer(cross, tmp_path / "clt", thresholds=torch.zeros(LAYERS * M))
    assert sorted(load_file(tmp_path / "clt" / "W_enc_0.safetensors")) == ["W_enc_0", "b_dec_0", "b_enc_0"]
