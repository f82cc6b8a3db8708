import dataclasses
import logging
import os
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from cellglass import models
from cellglass.errors import InputError


def train_with_scvi_tools(cells, folder, setup, kind="SCVI", prefix=None, **options):
    """Fit for two epochs with scvi-tools itself, save with its own save, and return its latent representation."""
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        import scvi

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        adata = cells.to_anndata()
        made = getattr(scvi.model, kind)
        made.setup_anndata(adata, **setup)
        model = made(adata, n_latent=5, n_hidden=12, **options)
        model.train(2, accelerator="cpu", enable_progress_bar=False, logger=False, enable_checkpointing=False)
        model.save(str(folder), overwrite=True, prefix=prefix)
        return model.get_latent_representation()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))  # Lightning writes where it is run


SAVED = {
    "plain": ({}, {}),
    "batch": ({"batch_key": "donor"}, {}),
    "covariates": (
        {"batch_key": "donor", "categorical_covariate_keys": ["lab"]},
        {"encode_covariates": True, "n_layers": 2},
    ),
    "norms": ({"batch_key": "lab"}, {"use_layer_norm": "both", "use_batch_norm": "none", "gene_likelihood": "nb"}),
    "labels": ({"labels_key": "donor"}, {"dispersion": "gene-label"}),
    "continuous": ({"batch_key": "donor", "continuous_covariate_keys": ["age", "depth"]}, {"n_layers": 2}),
    "continuous encoded": (
        {"continuous_covariate_keys": ["age"], "categorical_covariate_keys": ["lab"]},
        {"encode_covariates": True, "n_layers": 2},
    ),
}


def aged(cells):
    """The cells with two columns of numbers, one of them as text."""
    age = np.random.default_rng(3).normal(size=cells.n_cells)
    obs = cells.obs.assign(age=age, depth=[str(i) for i in range(cells.n_cells)])
    return dataclasses.replace(cells, obs=obs.astype({"depth": float}))


@pytest.mark.parametrize("name", SAVED)
def test_a_model_saved_by_scvi_tools_gives_its_latents(make_cells, tmp_path, name):
    cells = aged(make_cells(n_cells=60))
    setup, options = SAVED[name]
    expected = train_with_scvi_tools(cells, tmp_path / "saved", setup, **options)
    model = models.load(tmp_path / "saved")
    np.testing.assert_allclose(model.activations(cells, ["z"])["z"].numpy(), expected, rtol=1e-5, atol=1e-5)
    assert model.genes.equals(cells.genes.index)
    model.save(tmp_path / "ours")
    assert models.load(tmp_path / "ours").fingerprint() == model.fingerprint()


def test_a_training_history_is_left_behind(cells, tmp_path):
    expected = train_with_scvi_tools(cells, tmp_path / "saved", {})
    path = tmp_path / "saved" / "model.pt"
    saved = torch.load(path, weights_only=False)
    saved["attr_dict"]["history_"] = {"elbo": pd.DataFrame({"elbo": [1.0, 2.0]}, index=pd.Index([0, 1], name="epoch"))}
    torch.save(saved, path)
    found = models.load(tmp_path / "saved").activations(cells, ["z"])["z"]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


class Malicious:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("hidden_in", ["beside", "history", "weights"])
def test_a_malicious_file_is_refused_and_not_run(cells, tmp_path, hidden_in):
    train_with_scvi_tools(cells, tmp_path / "saved", {})
    path, trace = tmp_path / "saved" / "model.pt", tmp_path / "it-ran"
    saved = torch.load(path, weights_only=False)
    bomb = Malicious(f"touch {trace}")
    target = {"beside": saved, "history": saved["attr_dict"], "weights": saved["model_state_dict"]}[hidden_in]
    target["history_"] = bomb
    torch.save(saved, path)
    with pytest.raises(InputError, match=r"is refused: it would run \w+\.system") as error:
        models.load(tmp_path / "saved")
    assert "\n" not in str(error.value)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # an ordinary reader would have run it
    assert trace.exists()


def test_what_is_not_supported_is_named(cells, tmp_path):
    cases = {
        "latent_distribution='ln'": ({}, {"latent_distribution": "ln"}),
        "log_variational=False": ({}, {"log_variational": False}),
    }
    for message, (setup, options) in cases.items():
        train_with_scvi_tools(cells, tmp_path / "saved", setup, **options)
        with pytest.raises(InputError, match=f"{message}.*does not support"):
            models.load(tmp_path / "saved")


def test_damaged_files_are_refused(make_model, cells, tmp_path):
    (tmp_path / "torch").mkdir()
    torch.save({"weights": torch.zeros(2)}, tmp_path / "torch" / "model.pt")
    with pytest.raises(InputError, match="no model that scvi-tools"):
        models.load(tmp_path / "torch")
    (tmp_path / "torch" / "model.pt").write_bytes(b"not a torch file")
    with pytest.raises(InputError, match=r"model\.pt"):
        models.load(tmp_path / "torch")
    model, _ = make_model("batch", cells)
    model.save(tmp_path / "ours")
    weights = tmp_path / "ours" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(InputError, match="is damaged"):
        models.load(tmp_path / "ours")
    cfg = tmp_path / "ours" / "cfg.json"
    model.save(tmp_path / "ours")
    for before, after, message in (
        ('"n_hidden": 12', '"n_hidden": 13', "do not fit"),
        ('"n_layers": 1', '"n_layers": 2', "do not fit"),
        ('"n_genes": 25', '"n_genes": 24', "do not fit"),
        ('"symbols"', '"words"', "is damaged"),
    ):
        text = cfg.read_text()
        assert before in text
        cfg.write_text(text.replace(before, after))
        with pytest.raises(InputError, match=message):
            models.load(tmp_path / "ours")
        cfg.write_text(text)
    models.load(tmp_path / "ours")


def test_continuous_covariates_enter_the_decoder_and_must_be_numbers(make_cells, tmp_path):
    """What the decoder gives is what scvi-tools' own module gives for the same z, batch and numbers."""
    import scvi

    cells = aged(make_cells(n_cells=60))
    train_with_scvi_tools(cells, tmp_path / "saved", *SAVED["continuous"][:1], **SAVED["continuous"][1])
    model = models.load(tmp_path / "saved")
    z = model.activations(cells, ["z"])["z"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = scvi.model.SCVI.load(str(tmp_path / "saved"), cells.to_anndata()).module.eval()
    batch = torch.from_numpy(model.covariates[2].codes(cells))[:, None]
    numbers = torch.from_numpy(cells.obs[["age", "depth"]].to_numpy(np.float32))
    with torch.no_grad():
        library = torch.zeros(cells.n_cells, 1)
        expected = theirs.generative(z=z, library=library, batch_index=batch, cont_covs=numbers)["px"].scale
    np.testing.assert_allclose(model.decode("z", z, cells, library=1.0).numpy(), expected.numpy(), atol=1e-6)
    site = "decoder.hidden.1"
    cell, gene, count = np.array([0, 5]), np.array([3, 4]), np.array([9, 0], np.float32)
    fast = model.perturbed_activations(cells, site, cell, gene, count)
    plain = model.perturbed_activations_plain(cells, site, cell, gene, count)
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-5)
    for changed, message in (
        (cells.obs.drop(columns="age"), "fitted with obs column 'age', which is not there"),
        (cells.obs.assign(age=np.nan), "obs column 'age' has 60 values that are no numbers"),
        (cells.obs.assign(age="old"), "values that are no numbers"),
    ):
        with pytest.raises(InputError, match=message):
            model.activations(dataclasses.replace(cells, obs=changed), [site])


def test_the_encoder_of_scanvi_is_read_and_the_rest_is_named(make_cells, tmp_path, caplog):
    cells = make_cells(n_cells=60)
    setup = {"labels_key": "donor", "unlabeled_category": "bo", "batch_key": "lab"}
    expected = train_with_scvi_tools(cells, tmp_path / "saved", setup, kind="SCANVI", prefix="run1_")
    model = models.load(tmp_path / "saved")
    assert "run1_model.pt: not read, since no site needs it: " in caplog.text
    assert "classifier (SCANVI's classifier of labels)" in caplog.text
    np.testing.assert_allclose(model.activations(cells, ["z"])["z"].numpy(), expected, rtol=1e-5, atol=1e-5)
    model.save(tmp_path / "ours")
    assert models.load(tmp_path / "ours").fingerprint() == model.fingerprint()


def test_a_prefix_an_older_layout_and_a_pointer(make_model, cells, tmp_path):
    expected = train_with_scvi_tools(cells, tmp_path / "saved", {}, prefix="b_")
    one = models.load(tmp_path / "saved")
    np.testing.assert_allclose(one.activations(cells, ["z"])["z"].numpy(), expected, rtol=1e-5, atol=1e-5)
    (tmp_path / "saved" / "a_model.pt").write_bytes((tmp_path / "saved" / "b_model.pt").read_bytes())
    with pytest.raises(InputError, match=r"several models \(a_model.pt, b_model.pt\); name the file of one"):
        models.load(tmp_path / "saved")
    assert models.load(tmp_path / "saved" / "b_model.pt").fingerprint() == one.fingerprint()
    old = tmp_path / "old"
    old.mkdir()
    for name in ("model_params.pt", "attr.pkl", "var_names.csv"):
        (old / name).write_text("")
    with pytest.raises(InputError, match=r"scvi-tools before 0.15; convert it with: python .*convert_legacy_save\('"):
        models.load(old)
    pointer = tmp_path / "pointer"
    pointer.mkdir()
    (pointer / "model.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n")
    bare = tmp_path / "bare"
    bare.mkdir()
    torch.save({"encoder.embedding.weight": torch.ones(2, 2)}, bare / "best_model.pt")
    with pytest.raises(InputError, match=r"holds encoder.embedding.weight; if it is a scGPT, its args.json and vocab"):
        models.load(bare)
    with pytest.raises(InputError, match=r"model.pt is a Git LFS pointer.*lfs pull"):
        models.load(pointer)
