"""sparsify's formulas, computed slowly from the files alone, against what cellglass computes; and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from cellglass.dictionaries.exchange import read_sparsify, write_saelens, write_sparsify
from cellglass.errors import InputError

D, M = 6, 12


def published(folder: Path, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latent activations and outputs of sparsify, row by row in float64, from cfg.json and the weights."""
    cfg = json.loads((folder / "cfg.json").read_text())
    w = {name: value.astype(np.float64) for name, value in load_file(folder / "sae.safetensors").items()}
    codes, outs = [], []
    for row in x.astype(np.float64):
        v = row if cfg["transcode"] else row - w["b_dec"]
        p = np.maximum(w["encoder.weight"] @ v + w["encoder.bias"], 0)
        f = np.zeros_like(p)
        for j in np.argsort(p)[-cfg["k"] :]:
            f[j] = p[j]
        out = f @ w["W_dec"] + w["b_dec"]
        codes.append(f)
        outs.append(out + w["W_skip"] @ row if cfg["skip_connection"] else out)
    return np.array(codes), np.array(outs)


def drawn(folder: Path, **options: object) -> Path:
    """A folder of sparsify with random weights, written without cellglass."""
    noise = np.random.default_rng(3)
    cfg = {
        "activation": "topk",
        "expansion_factor": 2,
        "normalize_decoder": True,
        "num_latents": 0,
        "k": 3,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": D,
    } | options
    shapes = {"encoder.weight": (M, D), "encoder.bias": (M,), "W_dec": (M, D), "b_dec": (D,)}
    shapes |= {"W_skip": (D, D)} if cfg["skip_connection"] else {}
    folder.mkdir()
    (folder / "cfg.json").write_text(json.dumps(cfg))
    weights = {name: noise.normal(size=shape).astype(np.float32) * 0.5 for name, shape in shapes.items()}
    save_file(weights, folder / "sae.safetensors")
    return folder


@pytest.mark.parametrize("kind", ["topk", "matryoshka", "archetypal"])
@pytest.mark.parametrize("form", ["autoencoder", "square", "skip"])
def test_sparsify_computes_from_our_files_what_we_compute(draw, kind, form, x, dense, tmp_path) -> None:
    dictionary = draw(kind, form)
    write_sparsify(dictionary, tmp_path / "s")
    codes, out = published(tmp_path / "s", x.numpy())
    ours = dictionary.encode(x)
    np.testing.assert_allclose(dense(ours), codes, atol=1e-5)
    np.testing.assert_allclose(dictionary.decode(ours, x).numpy(), out, atol=1e-5)
    again = read_sparsify(tmp_path / "s")
    assert again.config == dictionary.config or kind == "archetypal"
    codes_again = again.encode(x)
    np.testing.assert_allclose(dense(ours), dense(codes_again), atol=5e-6)
    np.testing.assert_allclose(dictionary.decode(ours, x).numpy(), again.decode(codes_again, x).numpy(), atol=1e-5)


@pytest.mark.parametrize("transcode", [False, True])
@pytest.mark.parametrize("skip_connection", [False, True])
def test_we_compute_from_sparsify_files_what_sparsify_computes(transcode, skip_connection, dense, tmp_path) -> None:
    folder = drawn(tmp_path / "s", transcode=transcode, skip_connection=skip_connection)
    x = np.random.default_rng(4).normal(size=(50, D)).astype(np.float32)
    dictionary = read_sparsify(folder)
    assert (dictionary.is_transcoder, dictionary.config.skip) == (transcode or skip_connection, skip_connection)
    codes, out = published(folder, x)
    ours = dictionary.encode(torch.from_numpy(x))
    np.testing.assert_allclose(dense(ours), codes, atol=2e-6)
    np.testing.assert_allclose(dictionary.decode(ours, torch.from_numpy(x)).numpy(), out, atol=5e-6)


def test_normalize_decoder_says_whether_rows_have_norm_1(draw, tmp_path) -> None:
    write_sparsify(draw("topk"), tmp_path / "s")
    cfg = json.loads((tmp_path / "s" / "cfg.json").read_text())
    assert (cfg["normalize_decoder"], cfg["num_latents"]) == (False, 24)
    folder = drawn(tmp_path / "t", num_latents=M)
    weights = load_file(folder / "sae.safetensors")
    weights["W_dec"] /= np.linalg.norm(weights["W_dec"], axis=1, keepdims=True)
    save_file(weights, folder / "sae.safetensors")
    write_sparsify(read_sparsify(folder), tmp_path / "u")
    assert json.loads((tmp_path / "u" / "cfg.json").read_text())["normalize_decoder"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "groupmax"}, r"sparsify's activation 'groupmax'; it reads activation 'topk'"),
        ({"k": 13}, "k is 13"),
        ({"expansion_factor": 3}, r"encoder.weight has shape \(12, 6\), but cfg.json asks for \(18, 6\)"),
        ({"d_in": None}, "d_in is None"),
    ],
)
def test_what_cannot_be_represented_is_named(options, message, tmp_path) -> None:
    with pytest.raises(InputError, match=message):
        read_sparsify(drawn(tmp_path / "s", **options))


def test_what_sparsify_does_not_have_is_refused(draw, tmp_path) -> None:
    for kind in ("batchtopk", "matryoshka_batchtopk", "jumprelu", "gated"):
        with pytest.raises(InputError, match=rf"the k largest of each row, so kind '{kind}'"):
            write_sparsify(draw(kind), tmp_path / "s")
    with pytest.raises(InputError, match="reads 10 and writes 7"):
        write_sparsify(draw("topk", "transcoder"), tmp_path / "s")
    write_saelens(draw("topk"), tmp_path / "other")
    with pytest.raises(InputError, match=r"has no sae.safetensors.*sae_weights.safetensors"):
        read_sparsify(tmp_path / "other")
