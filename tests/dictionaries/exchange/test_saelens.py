"""SAELens's formulas, computed slowly from the files alone, against what cellglass computes; and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from cellglass import dictionaries
from cellglass.dictionaries.exchange import read_saelens, write_saelens, write_sparsify
from cellglass.errors import InputError

D, M, OUT = 6, 14, 4


def published(folder: Path, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Feature activations and outputs of SAELens's architectures, row by row in float64, from the files."""
    cfg = json.loads((folder / "cfg.json").read_text())
    w = {name: value.astype(np.float64) for name, value in load_file(folder / "sae_weights.safetensors").items()}
    name, norms = cfg["architecture"], np.linalg.norm(w["W_dec"], axis=1)
    codes, outs = [], []
    for row in x.astype(np.float64):
        v = row - w["b_dec"] if cfg["apply_b_dec_to_input"] else row
        if name == "gated":
            opened = v @ w["W_enc"] + w["b_gate"] > 0
            f = opened * np.maximum(v @ (w["W_enc"] * np.exp(w["r_mag"])) + w["b_mag"], 0)
        else:
            p = v @ w["W_enc"] + w["b_enc"]
            f = np.maximum(p, 0)
            if name == "topk":
                p = p * norms if cfg["rescale_acts_by_decoder_norm"] else p
                f = np.zeros_like(p)
                for j in np.argsort(p)[-cfg["k"] :]:
                    f[j] = max(p[j], 0)
            elif "jumprelu" in name:
                f = f * (p > w["threshold"])
        out = (f / norms if cfg.get("rescale_acts_by_decoder_norm") else f) @ w["W_dec"] + w["b_dec"]
        codes.append(f)
        outs.append(out + w["W_skip"] @ row if "W_skip" in w else out)
    return np.array(codes), np.array(outs)


def drawn(folder: Path, architecture: str, /, **options: object) -> Path:
    """A folder of SAELens with random weights, written without cellglass."""
    noise = np.random.default_rng(3)
    out = OUT if "transcoder" in architecture else D
    shapes = {"W_enc": (D, M), "W_dec": (M, out), "b_dec": (out,)}
    shapes |= {"b_gate": (M,), "b_mag": (M,), "r_mag": (M,)} if architecture == "gated" else {"b_enc": (M,)}
    if "jumprelu" in architecture:
        shapes["threshold"] = (M,)
    if "skip" in architecture:
        shapes["W_skip"] = (out, D)
    cfg = {
        "architecture": architecture,
        "d_in": D,
        "d_sae": M,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": "transcoder" not in architecture,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.54.12"},
    }
    if "transcoder" in architecture:
        cfg["d_out"] = OUT
    if architecture == "topk":
        cfg |= {"k": 3, "rescale_acts_by_decoder_norm": False}
    folder.mkdir()
    (folder / "cfg.json").write_text(json.dumps(cfg | options))
    weights = {name: noise.normal(size=shape).astype(np.float32) * 0.5 for name, shape in shapes.items()}
    save_file(weights, folder / "sae_weights.safetensors")
    return folder


def test_saelens_computes_from_our_files_what_we_compute(draw, case, x, dense, tmp_path) -> None:
    kind, form = case
    dictionary = draw(kind, form)
    if form != "autoencoder" and kind not in ("batchtopk", "matryoshka_batchtopk", "jumprelu"):
        with pytest.raises(InputError, match=rf"no transcoder that selects as kind '{kind}' does; train one of"):
            write_saelens(dictionary, tmp_path / "s")
        return
    write_saelens(dictionary, tmp_path / "s", metadata={"hook_name": "z"})
    assert json.loads((tmp_path / "s" / "cfg.json").read_text())["metadata"]["hook_name"] == "z"
    codes, out = published(tmp_path / "s", x.numpy())
    ours = dictionary.encode(x)
    np.testing.assert_allclose(dense(ours), codes, atol=1e-5)
    np.testing.assert_allclose(dictionary.decode(ours, x).numpy(), out, atol=1e-5)
    again = read_saelens(tmp_path / "s")
    assert again.kind == {"archetypal": "topk", "consensus": "jumprelu"}.get(kind, kind)
    assert again.config == dictionary.config or again.kind != kind
    codes_again = again.encode(x)
    np.testing.assert_allclose(dense(ours), dense(codes_again), atol=5e-6)
    np.testing.assert_allclose(dictionary.decode(ours, x).numpy(), again.decode(codes_again, x).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("standard", {}),
        ("standard", {"apply_b_dec_to_input": False}),
        ("topk", {}),
        ("topk", {"apply_b_dec_to_input": False}),
        ("topk", {"rescale_acts_by_decoder_norm": True}),
        ("jumprelu", {}),
        ("jumprelu", {"reshape_activations": "hook_z"}),
        ("gated", {}),
        ("gated", {"apply_b_dec_to_input": False}),
        ("transcoder", {}),
        ("skip_transcoder", {}),
        ("jumprelu_transcoder", {}),
        ("jumprelu_skip_transcoder", {}),
    ],
)
def test_we_compute_from_saelens_files_what_saelens_computes(architecture, options, dense, tmp_path) -> None:
    folder = drawn(tmp_path / "s", architecture, **options)
    x = np.random.default_rng(4).normal(size=(50, D)).astype(np.float32)
    dictionary = read_saelens(folder)
    codes, out = published(folder, x)
    ours = dictionary.encode(torch.from_numpy(x))
    assert (codes > 0).any()
    np.testing.assert_allclose(dense(ours), codes, atol=2e-6)
    np.testing.assert_allclose(dictionary.decode(ours, torch.from_numpy(x)).numpy(), out, atol=5e-6)


def test_relu_is_written_as_relu_again(tmp_path) -> None:
    for architecture in ("standard", "transcoder", "skip_transcoder"):
        dictionary = read_saelens(drawn(tmp_path / architecture, architecture))
        assert dictionary.kind == "jumprelu"
        write_saelens(dictionary, tmp_path / "again")
        assert json.loads((tmp_path / "again" / "cfg.json").read_text())["architecture"] == architecture
        first, second = (load_file(tmp_path / p / "sae_weights.safetensors") for p in (architecture, "again"))
        assert sorted(first) == sorted(second)
        for name, value in first.items():
            np.testing.assert_allclose(value, second[name], atol=1e-7)


def test_a_negative_threshold_is_one_of_zero_as_in_saelens(dense, tmp_path) -> None:
    folder = drawn(tmp_path / "s", "jumprelu")
    x = np.random.default_rng(4).normal(size=(50, D)).astype(np.float32)
    assert load_file(folder / "sae_weights.safetensors")["threshold"].min() < 0
    np.testing.assert_allclose(
        dense(read_saelens(folder).encode(torch.from_numpy(x))), published(folder, x)[0], atol=2e-6
    )


@pytest.mark.parametrize("training", ["batchtopk", "matryoshka_batchtopk"])
def test_a_jumprelu_that_was_trained_as_batchtopk_is_one(training, tmp_path) -> None:
    details = {"k": 3.4} | ({"matryoshka_widths": [5, M]} if "matryoshka" in training else {})
    metadata = {
        "sae_lens_version": "6.54.12",
        "training_architecture": training,
        "training_architecture_details": details,
    }
    folder = drawn(tmp_path / "s", "jumprelu", metadata=metadata)
    assert read_saelens(folder).kind == "jumprelu"
    path = folder / "sae_weights.safetensors"
    save_file({**load_file(path), "threshold": np.full(M, 0.3, np.float32)}, path)
    dictionary = read_saelens(folder)
    assert (dictionary.kind, dictionary.config.k) == (training, 3)
    assert float(dictionary.threshold) == pytest.approx(0.3)
    assert getattr(dictionary.config, "prefixes", None) == ((5, M) if "matryoshka" in training else None)


def test_a_checkpoint_of_batchtopk_is_read_with_its_threshold(dense, tmp_path) -> None:
    folder = drawn(tmp_path / "s", "topk", architecture="batchtopk", rescale_acts_by_decoder_norm=True)
    path = folder / "sae_weights.safetensors"
    weights = load_file(path)
    save_file({**weights, "topk_threshold": np.array(0.4)}, path)
    dictionary = read_saelens(folder)
    x = np.random.default_rng(4).normal(size=(50, D)).astype(np.float32)
    p = ((x - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]) * np.linalg.norm(weights["W_dec"], axis=1)
    np.testing.assert_allclose(dense(dictionary.encode(torch.from_numpy(x))), p * (p > 0.4), atol=2e-6)


def test_activations_that_were_scaled_in_training(dense, tmp_path) -> None:
    folder = drawn(tmp_path / "s", "topk")
    scaled = drawn(tmp_path / "t", "topk", normalize_activations="expected_average_only_in")
    with pytest.raises(InputError, match=r"the factor is not in the folder; give it as activation_scale"):
        read_saelens(scaled)
    x = torch.randn(20, D, generator=torch.Generator().manual_seed(2))
    plain, other = read_saelens(folder), read_saelens(scaled, activation_scale=2.5)
    codes, others = plain.encode(2.5 * x), other.encode(x)
    np.testing.assert_allclose(dense(codes), dense(others), atol=2e-6)
    np.testing.assert_allclose(plain.decode(codes).numpy() / 2.5, other.decode(others).numpy(), atol=2e-6)


def test_configs_before_version_6(dense, tmp_path) -> None:
    x = np.random.default_rng(4).normal(size=(20, D)).astype(np.float32)
    for old, architecture in (
        ({"activation_fn_str": "relu", "normalize_activations": False}, "standard"),
        ({"activation_fn": "topk", "activation_fn_kwargs": {"k": 4}, "normalize_activations": None}, "topk"),
    ):
        folder = drawn(tmp_path / architecture, architecture)
        cfg = json.loads((folder / "cfg.json").read_text()) | {"k": 4}
        (folder / "cfg.json").write_text(json.dumps(cfg))
        expected = published(folder, x)[0]
        for name in ("architecture", "metadata", "k", "rescale_acts_by_decoder_norm"):
            cfg.pop(name, None)
        (folder / "cfg.json").write_text(json.dumps(cfg | old))
        np.testing.assert_allclose(dense(read_saelens(folder).encode(torch.from_numpy(x))), expected, atol=2e-6)
        for wrong, message in (
            ({"activation_fn": "tanh-relu"}, "activation function 'tanh-relu'"),
            ({"finetuning_scaling_factor": True}, "finetuning_scaling_factor"),
            ({"normalize_activations": True}, "give it as activation_scale"),
        ):
            (folder / "cfg.json").write_text(json.dumps(cfg | old | wrong))
            with pytest.raises(InputError, match=message):
                read_saelens(folder)


def test_names_of_older_weights(dense, tmp_path) -> None:
    folder = drawn(tmp_path / "s", "jumprelu")
    path = folder / "sae_weights.safetensors"
    weights = load_file(path)
    weights["threshold"] = np.abs(weights["threshold"])
    save_file(weights, path)
    x = np.random.default_rng(4).normal(size=(20, D)).astype(np.float32)
    expected = published(folder, x)[0]
    old = {name: value for name, value in weights.items() if name != "threshold"}
    old |= {"log_threshold": np.log(weights["threshold"]), "scaling_factor": np.ones(M, np.float32)}
    save_file(old, path)
    np.testing.assert_allclose(dense(read_saelens(folder).encode(torch.from_numpy(x))), expected, atol=2e-6)
    save_file(old | {"scaling_factor": np.full(M, 2, np.float32)}, path)
    with pytest.raises(InputError, match="holds scaling_factor too"):
        read_saelens(folder)


def test_a_transcoder_of_scaled_activations_is_refused(tmp_path) -> None:
    folder = drawn(tmp_path / "s", "transcoder", normalize_activations="expected_average_only_in")
    assert read_saelens(folder, activation_scale=1.0).kind == "jumprelu"
    with pytest.raises(InputError, match="a transcoder of scaled activations"):
        read_saelens(folder, activation_scale=2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture": "abstopk"}, r"architecture 'abstopk'; it reads standard, topk"),
        ({"architecture": "temporal"}, "'temporal'"),
        ({"architecture": "matching_pursuit"}, "'matching_pursuit'"),
        ({"normalize_activations": "layer_norm"}, "'layer_norm' cannot be represented: each row"),
        ({"normalize_activations": "constant_norm_rescale"}, "'constant_norm_rescale' cannot be represented"),
        ({"normalize_activations": "covariance_whitening"}, "fold_activation_whitening"),
        ({"normalize_activations": "new"}, "'new' cannot be represented"),
        ({"k": 99}, "k is 99"),
        ({"k": None}, "k is None"),
        ({"metadata": [1], "activation_fn": "gelu"}, "activation function 'gelu'"),
        ({"d_sae": 15}, r"W_enc has shape \(6, 14\), but cfg.json asks for \(6, 15\)"),
        ({"d_in": "6"}, "d_in is '6'"),
        ({"architecture": "jumprelu"}, "lacks threshold"),
        ({"architecture": "skip_transcoder", "d_out": 6}, "lacks W_skip"),
    ],
)
def test_what_cannot_be_represented_is_named(options, message, tmp_path) -> None:
    folder = drawn(tmp_path / "s", "topk", **options)
    with pytest.raises(InputError, match=message):
        read_saelens(folder)


def test_other_folders_are_told_from_saelens(draw, x, tmp_path) -> None:
    draw("topk").save(tmp_path / "own")
    with pytest.raises(InputError, match=r"cellglass.dictionaries.load"):
        read_saelens(tmp_path / "own")
    write_sparsify(draw("topk"), tmp_path / "other")
    with pytest.raises(InputError, match=r"has no sae_weights.safetensors.*sae.safetensors"):
        read_saelens(tmp_path / "other")
    with pytest.raises(InputError, match="kind 'neurons' cannot be written for SAELens"):
        write_saelens(dictionaries.fit("neurons", x), tmp_path / "new")
    with pytest.raises(InputError, match="metadata cannot be written as JSON"):
        write_saelens(draw("topk"), tmp_path / "new", metadata={"hook_name": x})
    assert not (tmp_path / "new").exists()
